"""The road maps of the probes. Right-hand traffic; x is east, y north, in metres.

| map | what it is |
|---|---|
| `crossing` | a crossing of four arms at right angles, one lane each way, without signs or lights |
| `stops` | the same with a stop sign on every arm |
| `signals` | the same with traffic lights; both arms of a street share a phase |
| `signals_wide` | the same, with a second lane eastwards to the right of the first, which no stop line crosses |
| `narrowing` | two lanes eastwards that become one |
| `two_way` | a straight road with one lane each way |
| `two_lanes` | a straight road with two lanes, both eastwards |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from teacher.probes.road import PROBE_LANE_WIDTH_M, Lane, Line, StopLine, build_road_map

PROBE_ARM_M = 170.0
"""Distance of the outer ends of a crossing's arms from its centre: a route reaches 60 m beyond its last goal."""
BOX_M = 9.0
"""Distance of the inner ends of the arms from the centre: left turns have a radius of 10.75 m, right turns of 7.25
m."""
BOX_START_M = PROBE_ARM_M - BOX_M
"""Arc length on a path that starts at the outer end of an arm where the crossing (and the arm's stop line) begins."""
BEYOND_CROSSING_M = BOX_START_M + 2 * BOX_M + 50.0
"""Arc length of the goal of agents that cross: about 50 m beyond the crossing."""
ARMS = ("west", "south", "east", "north")
"""Counter-clockwise. Each has a lane `<arm>_in` to the crossing and a lane `<arm>_out`; turns are `<arm>_to_<arm>`."""
TAPER_M = 50.0
"""Length over which the right lane of `narrowing` merges into the left one, from x = 0 on."""
ROAD_M = 240.0
"""Length of the straight roads, from x = 0 on."""


@cache
def roads() -> Mapping[str, RoadMap]:
    """All maps by name."""
    signals = [StopLine(f"{arm}_in", StopKind.TRAFFIC_LIGHT, n % 2) for n, arm in enumerate(ARMS)]
    signs = [StopLine(f"{arm}_in", StopKind.STOP_SIGN) for arm in ARMS]
    maps = [
        build_road_map("crossing", _crossing(), paint=_arm_paint()),
        build_road_map("stops", _crossing(), signs, _arm_paint()),
        build_road_map("signals", _crossing(), signals, _arm_paint()),
        build_road_map("signals_wide", _wide(_crossing()), signals, [*_arm_paint(), *_wide_paint()]),
        _narrowing(),
        _two_way(),
        _two_lanes(),
    ]
    return MappingProxyType({road.name: road for road in maps})


def straight(arm: str) -> tuple[str, str, str]:
    """The lanes of a path from an arm straight on."""
    return _through(arm, 2)


def left_turn(arm: str) -> tuple[str, str, str]:
    """The lanes of a path from an arm that turns left."""
    return _through(arm, 3)


def right_turn(arm: str) -> tuple[str, str, str]:
    """The lanes of a path from an arm that turns right."""
    return _through(arm, 1)


def _through(arm: str, steps: int) -> tuple[str, str, str]:
    out = ARMS[(ARMS.index(arm) + steps) % 4]
    return f"{arm}_in", f"{arm}_to_{out}", f"{out}_out"


def _crossing() -> list[Lane]:
    lanes = []
    for number, arm in enumerate(ARMS):  # built as the west arm, then rotated
        turn = number * np.pi / 2
        others = [ARMS[(number + step) % 4] for step in (1, 2, 3)]
        into = np.array([[-PROBE_ARM_M, -PROBE_LANE_WIDTH_M / 2], [-BOX_M, -PROBE_LANE_WIDTH_M / 2]])
        ways = {
            others[0]: _arc(np.array([-BOX_M, -BOX_M]), BOX_M - PROBE_LANE_WIDTH_M / 2, np.pi / 2, 0.0),
            others[1]: np.array([[-BOX_M, -PROBE_LANE_WIDTH_M / 2], [BOX_M, -PROBE_LANE_WIDTH_M / 2]]),
            others[2]: _arc(np.array([-BOX_M, BOX_M]), BOX_M + PROBE_LANE_WIDTH_M / 2, -np.pi / 2, 0.0),
        }
        names = tuple(f"{arm}_to_{other}" for other in others)
        lanes.append(Lane(f"{arm}_in", _turned(into, turn), names))
        lanes.append(Lane(f"{arm}_out", _turned(-into[::-1] * [-1.0, 1.0], turn)))
        for other, line in ways.items():
            lanes.append(Lane(f"{arm}_to_{other}", _turned(line, turn), (f"{other}_out",), in_junction=True))
    return lanes


def _wide(lanes: list[Lane]) -> list[Lane]:
    """The lanes with a second lane eastwards, right of the first."""
    right = {"west_in": "second_in", "west_to_east": "second_through", "east_out": "second_out"}
    first = [dataclasses.replace(lane, right=right.get(lane.name)) for lane in lanes]
    second = [
        Lane(
            right[lane.name],
            lane.centre - [0.0, PROBE_LANE_WIDTH_M],
            tuple(right[name] for name in lane.leads_to if name in right),
            left=lane.name,
            in_junction=lane.in_junction,
        )
        for lane in lanes
        if lane.name in right
    ]
    return [*first, *second]


def _narrowing() -> RoadMap:
    share = np.linspace(0.0, 1.0, 51)
    ease = share * share * (3.0 - 2.0 * share)
    taper = np.column_stack([TAPER_M * share, -PROBE_LANE_WIDTH_M * (1.0 - ease)])
    lanes = [
        Lane("left_in", _along_x(-150.0, 0.0, 0.0), ("left_on",), right="right_in"),
        Lane("right_in", _along_x(-150.0, 0.0, -PROBE_LANE_WIDTH_M), ("right_on",), left="left_in"),
        Lane("left_on", _along_x(0.0, TAPER_M, 0.0), ("out",)),
        Lane("right_on", taper, ("out",)),
        Lane("out", _along_x(TAPER_M, TAPER_M + 150.0, 0.0)),
    ]
    paint = [(_along_x(-150.0, 0.0, -PROBE_LANE_WIDTH_M / 2), MarkingType.DASHED_WHITE)]
    return build_road_map("narrowing", lanes, paint=paint)


def _two_way() -> RoadMap:
    lanes = [
        Lane("east", _along_x(0.0, ROAD_M, -PROBE_LANE_WIDTH_M / 2)),
        Lane("west", _along_x(ROAD_M, 0.0, PROBE_LANE_WIDTH_M / 2)),
    ]
    return build_road_map("two_way", lanes, paint=[(_along_x(0.0, ROAD_M, 0.0), MarkingType.DASHED_YELLOW)])


def _two_lanes() -> RoadMap:
    lanes = [
        Lane("left", _along_x(0.0, ROAD_M, 0.0), right="right"),
        Lane("right", _along_x(0.0, ROAD_M, -PROBE_LANE_WIDTH_M), left="left"),
    ]
    paint = [(_along_x(0.0, ROAD_M, -PROBE_LANE_WIDTH_M / 2), MarkingType.DASHED_WHITE)]
    return build_road_map("two_lanes", lanes, paint=paint)


def _arm_paint() -> list[tuple[Line, MarkingType]]:
    middle = _along_x(-PROBE_ARM_M, -BOX_M, 0.0)
    return [(_turned(middle, n * np.pi / 2), MarkingType.DOUBLE_YELLOW) for n in range(4)]


def _wide_paint() -> list[tuple[Line, MarkingType]]:
    spans = ((-PROBE_ARM_M, -BOX_M), (BOX_M, PROBE_ARM_M))
    return [(_along_x(start, end, -PROBE_LANE_WIDTH_M), MarkingType.DASHED_WHITE) for start, end in spans]


def _along_x(start: float, end: float, y: float) -> Line:
    return np.array([[start, y], [end, y]])


def _arc(centre: Float[np.ndarray, " 2"], radius: float, start: float, end: float) -> Line:
    """Points at `radius` around a centre, between two angles (rad)."""
    angle = np.linspace(start, end, 19)
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _turned(line: Line, angle: float) -> Line:
    """The line rotated about the origin by ``angle`` (rad), counter-clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    return line @ np.array([[cos, sin], [-sin, cos]])
