"""Waymo's map elements as a `RawMap`.

Kinds and their numbers: Waymo Open Motion Dataset, `map.proto` and the table in its tutorial. The JSON of Nocturne and
GPUDrive has numbers in newer files and only names of coarse kinds in older ones; ScenarioNet has names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import shapely

from simulator.conventions import GREEN, OFF, RED, YELLOW
from simulator.roads.building.raw_map import RawLane, RawMap, Signal, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import MarkingType, StopKind

SURFACE_STREET_MPS = 13.4
"""30 mph: the JSON has no limits, and most of Waymo's roads are arterials of San Francisco and Phoenix."""
FREEWAY_MPS = 29.1
"""65 mph."""
WIDEST_CROSSWALK_M = 15.0
"""Wider "crosswalks" are left out: Waymo uses the type for forecourts up to 60 m wide too."""
MPH = 0.44704
LONGEST_KIND = 40
"""Longer names of kinds are cut in messages."""
BIKE_LANE_WIDTH_M = 1.5
FREEWAY, BIKE = 1, 3
"""Waymo's numbers of lane types."""
MARKINGS = {
    6: MarkingType.DASHED_WHITE, 7: MarkingType.SOLID_WHITE, 8: MarkingType.DOUBLE_WHITE,
    9: MarkingType.DASHED_YELLOW, 10: MarkingType.DASHED_YELLOW, 11: MarkingType.SOLID_YELLOW,
    12: MarkingType.DOUBLE_YELLOW, 13: MarkingType.DOUBLE_YELLOW,
}  # fmt: skip
"""Marking types by Waymo's number; 10 is a double dashed line and 13 one that may be crossed from one side."""
MARKING_NAMES = {
    "BROKEN_SINGLE_WHITE": 6, "SOLID_SINGLE_WHITE": 7, "SOLID_DOUBLE_WHITE": 8, "BROKEN_SINGLE_YELLOW": 9,
    "BROKEN_DOUBLE_YELLOW": 10, "SOLID_SINGLE_YELLOW": 11, "SOLID_DOUBLE_YELLOW": 12, "PASSING_DOUBLE_YELLOW": 13,
}  # fmt: skip


@dataclass
class MapElement:
    """One map element."""

    name: str
    kind: str  # a key of _RULES; other kinds are left out
    points: np.ndarray  # [n, 3] m
    number: int | None = None  # Waymo's number of the exact type, where known
    successors: list[str] | None = None
    predecessors: list[str] | None = None
    neighbours: tuple[str | None, str | None] | None = None  # left, right
    limit_mps: float | None = None
    controls: list[str] = field(default_factory=list)  # lanes of a stop sign


def waymo_map(elements: Iterable[MapElement], signals: list[Signal], repairs: Repairs) -> RawMap:
    """The map of a Waymo scene. Bicycle lanes are drivable area but not lanes. What has no place in a `RoadMap`, or too
    few points for one, is remarked."""
    result = RawMap(surface_rule=SurfaceRule.KERBS, signals=signals)
    for element in elements:
        rule = _RULES.get(element.kind)
        if rule is None or rule.add is None:
            repairs.remark(f"map elements of kind {element.kind[:LONGEST_KIND]!a} left out")
        elif len(element.points) < rule.least_points:
            repairs.remark(f"map elements of kind {element.kind!a} with too few points left out")
        else:
            rule.add(result, element, repairs)
    return result


def _raw_lane(element: MapElement) -> RawLane:
    freeway = FREEWAY_MPS if element.number == FREEWAY else None
    left, right = element.neighbours or (None, None)
    return RawLane(
        element.name, element.points, successors=element.successors, predecessors=element.predecessors,
        left_neighbour=left, right_neighbour=right, neighbours_known=element.neighbours is not None,
        speed_limit_mps=element.limit_mps or freeway,
    )  # fmt: skip


def _add_lane(result: RawMap, element: MapElement, repairs: Repairs) -> None:
    if element.number == BIKE and len(element.points) > 1:
        repairs.add("bicycle lanes taken as asphalt only")
        line = shapely.LineString(element.points[:, :2])
        result.surfaces.append(shapely.buffer(line, BIKE_LANE_WIDTH_M / 2, cap_style="flat"))
    else:
        result.lanes.append(_raw_lane(element))


def _add_crosswalk(result: RawMap, element: MapElement, repairs: Repairs) -> None:
    if _width_m(element.points) > WIDEST_CROSSWALK_M:
        repairs.add("squares drawn as crosswalks left out")
    else:
        result.crosswalks.append(element.points)


def _add_edge(result: RawMap, element: MapElement, _: Repairs) -> None:
    result.edges.append(element.points)


def _add_marking(result: RawMap, element: MapElement, _: Repairs) -> None:
    result.markings.append((element.points, MARKINGS.get(element.number or -1)))


def _add_driveway(result: RawMap, element: MapElement, _: Repairs) -> None:
    result.surfaces.append(shapely.make_valid(shapely.Polygon(element.points[:, :2])))


def _add_stop_sign(result: RawMap, element: MapElement, _: Repairs) -> None:
    result.signals.append(Signal(StopKind.STOP_SIGN, element.controls, element.points[0]))


@dataclass(frozen=True)
class _Rule:
    """How one kind of element enters a map; elements with fewer points are left out."""

    least_points: int
    add: Callable[[RawMap, MapElement, Repairs], None] | None  # None: the kind is left out


_RULES = {
    "lane": _Rule(1, _add_lane),
    "road_edge": _Rule(2, _add_edge),
    "road_line": _Rule(2, _add_marking),
    "crosswalk": _Rule(3, _add_crosswalk),
    "driveway": _Rule(3, _add_driveway),
    "stop_sign": _Rule(1, _add_stop_sign),
    "speed_bump": _Rule(3, None),  # a `RoadMap` has no speed bumps
}
"""What becomes of each kind of map element."""


def _width_m(ring: np.ndarray) -> float:
    """The shorter side (m) of the smallest rotated rectangle around a ring."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shapely.MultiPoint(ring[:, :2])))
    return float(np.linalg.norm(np.diff(corners[:3], axis=0), axis=1).min()) if len(corners) > 3 else 0.0


def light_number(name: object) -> int:
    """OFF, GREEN, YELLOW or RED from Waymo's name of a light state, of arrows and flashing lights too; OFF for
    unknown names."""
    text = str(name).lower()
    for word, state in (("stop", RED), ("caution", YELLOW), ("go", GREEN)):
        if text.endswith(word):
            return state
    return OFF
