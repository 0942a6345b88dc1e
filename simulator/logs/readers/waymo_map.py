"""Waymo's map elements, as the Motion data set numbers and names them, to a `RawMap`.

Kinds and their numbers: Waymo Open Motion Dataset, `map.proto` and the table in its tutorial. The JSON of Nocturne and
GPUDrive carries numbers in newer files and only names of coarse kinds in older ones; ScenarioNet carries names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import shapely

from simulator.conventions import GREEN, OFF, RED, YELLOW
from simulator.roads.building.raw_map import RawLane, RawMap, Signal, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import MarkingType, StopKind

SURFACE_STREET_MPS = 13.4
"""30 mph: the JSON carries no limits, and most of Waymo's roads are arterials of San Francisco and Phoenix."""
FREEWAY_MPS = 29.1
"""65 mph."""
WIDEST_CROSSWALK_M = 15.0
"""Waymo also calls whole forecourts of supermarkets, up to 60 m wide, crosswalks; no zebra is wider than this."""
MPH = 0.44704
FREEWAY, BIKE = 1, 3
"""Waymo's numbers of lane types."""
MARKINGS = {
    6: MarkingType.DASHED_WHITE, 7: MarkingType.SOLID_WHITE, 8: MarkingType.DOUBLE_WHITE,
    9: MarkingType.DASHED_YELLOW, 10: MarkingType.DASHED_YELLOW, 11: MarkingType.SOLID_YELLOW,
    12: MarkingType.DOUBLE_YELLOW, 13: MarkingType.DOUBLE_YELLOW,
}  # fmt: skip
"""Road lines by number; 10 is a double dashed line and 13 one that may be crossed from one side."""
MARKING_NAMES = {
    "BROKEN_SINGLE_WHITE": 6, "SOLID_SINGLE_WHITE": 7, "SOLID_DOUBLE_WHITE": 8, "BROKEN_SINGLE_YELLOW": 9,
    "BROKEN_DOUBLE_YELLOW": 10, "SOLID_SINGLE_YELLOW": 11, "SOLID_DOUBLE_YELLOW": 12, "PASSING_DOUBLE_YELLOW": 13,
}  # fmt: skip


@dataclass
class MapElement:
    """One map element."""

    name: str
    kind: str  # lane, road_line, road_edge, crosswalk, driveway, speed_bump, stop_sign
    points: np.ndarray  # [n, 3] m
    number: int | None = None  # Waymo's number of the exact type, where known
    successors: list[str] | None = None
    predecessors: list[str] | None = None
    neighbours: tuple[str | None, str | None] | None = None  # left, right
    limit_mps: float | None = None
    controls: list[str] = field(default_factory=list)  # lanes of a stop sign


def waymo_map(elements: Iterable[MapElement], signals: list[Signal], repairs: Repairs) -> RawMap:
    """The road of a Waymo scene. Bicycle lanes are asphalt but not lanes to drive on."""
    result = RawMap(surface_rule=SurfaceRule.KERBS, signals=signals)
    for element in elements:
        points = element.points
        if element.kind == "lane":
            if element.number == BIKE:
                repairs.add("bicycle lanes taken as asphalt only")
                result.surfaces.append(
                    shapely.buffer(shapely.LineString(points[:, :2]), 0.75, cap_style="flat")
                )
            else:
                result.lanes.append(_lane(element))
        elif element.kind == "road_edge" and len(points) >= 2:
            result.edges.append(points)
        elif element.kind == "road_line" and len(points) >= 2:
            result.markings.append((points, MARKINGS.get(element.number or -1)))
        elif element.kind == "crosswalk" and len(points) >= 3:
            if _narrow(points) > WIDEST_CROSSWALK_M:
                repairs.add("squares drawn as crosswalks left out")
            else:
                result.crosswalks.append(points)
        elif element.kind == "driveway" and len(points) >= 3:
            result.surfaces.append(shapely.make_valid(shapely.Polygon(points[:, :2])))
        elif element.kind == "stop_sign":
            result.signals.append(Signal(StopKind.STOP_SIGN, element.controls, points[0]))
    return result


def _narrow(ring: np.ndarray) -> float:
    """The shorter side (m) of the smallest rectangle around a ring."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shapely.MultiPoint(ring[:, :2])))
    return float(np.linalg.norm(np.diff(corners[:3], axis=0), axis=1).min()) if len(corners) > 3 else 0.0


def _lane(element: MapElement) -> RawLane:
    freeway = FREEWAY_MPS if element.number == FREEWAY else None
    left, right = element.neighbours or (None, None)
    return RawLane(
        element.name, element.points, successors=element.successors, predecessors=element.predecessors,
        left_neighbour=left, right_neighbour=right, neighbours_known=element.neighbours is not None,
        speed_limit_mps=element.limit_mps or freeway,
    )  # fmt: skip


def light_number(name: object) -> int:
    """OFF, GREEN, YELLOW or RED from Waymo's names of a light: arrow or not, flashing or not; unknown is OFF."""
    text = str(name).lower()
    for word, state in (("stop", RED), ("caution", YELLOW), ("go", GREEN)):
        if text.endswith(word):
            return state
    return OFF
