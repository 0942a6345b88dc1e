"""Features of a raw map that no road can be built from: without enough points, broken, far away, or named twice.

They are left out one by one and counted by name, so that the rest of the map is used.
"""

from __future__ import annotations

import numpy as np
import shapely

from simulator.logs.cleaning.clean_tracks import FARTHEST_M
from simulator.roads.building.raw_map import RawLane, RawMap
from simulator.roads.building.repairs import Repairs
from simulator.roads.polylines import arc_length

LONGEST_LINE_M = 20_000.0
"""A longer line leaps back and forth: what is recorded in a minute lies within FARTHEST_M (ours)."""
_SAMPLED = ("lanes", "road edges", "painted lines")
LONGEST_MAP_M = 2_000_000.0
"""All lines of a scene together (ours); they are sampled every metre."""


def leave_out_unusable(source: RawMap, origin: np.ndarray, repairs: Repairs) -> None:
    """Remove what cannot be used from a map, in place; `origin` [3] m is a point amid the traffic, in its frame.

    Raises ValueError for a map whose lines are longer than LONGEST_MAP_M in all.
    """

    def line_is_usable(line: np.ndarray, what: str, least_points: int) -> bool:
        if len(line) < least_points or not np.isfinite(line).all():
            repairs.add(f"{what} without enough finite points left out")
            return False
        if (np.abs(line - origin[: line.shape[1]]) > FARTHEST_M).any():
            repairs.add(f"{what} farther than {FARTHEST_M / 1000:g} km from the traffic left out")
            return False
        if what in _SAMPLED and arc_length(line)[-1] > LONGEST_LINE_M:
            repairs.add(f"{what} longer than {LONGEST_LINE_M / 1000:g} km left out")
            return False
        return True

    source.lanes = _named_once(
        [lane for lane in source.lanes if line_is_usable(lane.centre, "lanes", 1)], repairs
    )
    for lane in source.lanes:
        sides = [side for side in (lane.left, lane.right) if side is not None]
        if not all(line_is_usable(side, "sides of lanes", 2) for side in sides):
            lane.left = lane.right = None
    source.edges = [line for line in source.edges if line_is_usable(line, "road edges", 2)]
    source.markings = [paint for paint in source.markings if line_is_usable(paint[0], "painted lines", 2)]
    source.crosswalks = [ring for ring in source.crosswalks if line_is_usable(ring, "crosswalks", 3)]
    source.walkways = [ring for ring in source.walkways if line_is_usable(ring, "walkways", 3)]
    source.surfaces = [
        area for area in source.surfaces if line_is_usable(shapely.get_coordinates(area), "surfaces", 0)
    ]
    lines = [lane.centre for lane in source.lanes] + source.edges + [line for line, _ in source.markings]
    total = sum(float(arc_length(line)[-1]) for line in lines)
    if total > LONGEST_MAP_M:
        raise ValueError(
            f"lanes, road edges and painted lines are {total / 1000:.0f} km long in all; expected at most "
            f"{LONGEST_MAP_M / 1000:g} km"
        )
    for signal in source.signals:
        if signal.point is not None and not line_is_usable(signal.point[None], "places of signals", 1):
            signal.point = None


def _named_once(lanes: list[RawLane], repairs: Repairs) -> list[RawLane]:
    """The lanes, the second of two with one name under a new one; links lead to the first."""
    seen: set[str] = set()
    for lane in lanes:
        if lane.name in seen:
            repairs.add("lanes with a duplicated identifier renamed")
            lane.name = next(
                name for n in range(2, len(lanes) + 2) if (name := f"{lane.name}/{n}") not in seen
            )
        seen.add(lane.name)
    return lanes
