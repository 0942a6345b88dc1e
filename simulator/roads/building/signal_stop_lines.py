"""Stop lines of a recorded scene, and what their lights showed, from the signals its source names.

A signal names lanes that it controls, or only stands beside the road. One line is laid across each controlled lane
where drivers stop. Signals of one approach (a lane that splits into a turn and a way ahead carries two) share the
line; where they disagree the line shows the most permissive, so that whoever drove on a green arrow ran no red light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.conventions import GREEN, OFF, RED, YELLOW
from simulator.roads.building.raw_map import Signal
from simulator.roads.road_map import StopKind
from simulator.roads.stop_lines import Station, phase_groups, stop_line_fields

SAME_LINE_M, SAME_LINE_RAD = 1.5, np.deg2rad(30.0)
"""Lines whose middles lie this near and whose lanes head alike to this angle are one line."""
SIGN_AHEAD_M = 8.0
"""A sign stands this near to the line it means, along the road ..."""
SIGN_ASIDE_M = 12.0
"""... and this near across it."""
JUNCTION_M = 45.0
"""Lights whose lanes lie in no known junction belong together when they stand this near."""
_PERMISSIVE = {OFF: 0, RED: 1, YELLOW: 2, GREEN: 3}


@dataclass
class _Line:
    left: np.ndarray  # [3] m, end on the left side of the lane
    right: np.ndarray  # [3] m
    yaw: float  # rad, of the lane that it lies across
    kind: StopKind
    junction: object  # the one ahead, as the source calls it, or None
    states: np.ndarray  # [steps] i32, lights.OFF/GREEN/YELLOW/RED

    @property
    def middle(self) -> np.ndarray:
        return (self.left + self.right) / 2

    def meets(self, other: _Line) -> bool:
        """Whether both are one line on the road."""
        near = np.linalg.norm(self.middle - other.middle) < SAME_LINE_M
        return bool(near and np.cos(self.yaw - other.yaw) > np.cos(SAME_LINE_RAD) and self.kind == other.kind)


def signal_stop_lines(
    signals: Sequence[Signal],
    index: dict[str, int],
    stations: Sequence[Station],
    junction: Sequence[object],
    successors: Sequence[Sequence[int]],
    steps: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, int]:
    """Stop-line fields of `RoadMap`, `lane_junction` [lanes], `light_state` [stops, steps], and signals left out.

    index: lane numbers by name; stations: per lane; junction: per lane the source's junction or None.
    """
    lines: list[_Line] = []
    lost = 0
    for signal in signals:
        found = _lines_of(signal, index, stations, junction, successors, steps)
        lost += not found
        for line in found:
            twin = next((known for known in lines if known.meets(line)), None)
            if twin is None:
                lines.append(line)
            else:
                twin.states = _most_permissive(twin.states, line.states)
    fields, lane_junction = _numbered(lines, junction)
    states = np.array([line.states for line in lines], np.int32).reshape(len(lines), steps)
    return fields, lane_junction, states, lost


def _lines_of(
    signal: Signal,
    index: dict[str, int],
    stations: Sequence[Station],
    junction: Sequence[object],
    successors: Sequence[Sequence[int]],
    steps: int,
) -> list[_Line]:
    states = np.full(steps, OFF, np.int32) if signal.states is None else np.asarray(signal.states, np.int32)
    places: list[tuple[int, int, object]] = []  # lane, station, junction ahead
    for lane in [index[name] for name in signal.lanes if name in index]:
        row = 0
        if signal.point is not None:
            row = int(np.argmin(np.linalg.norm(stations[lane][0] - signal.point, axis=1)))
        ahead = junction[lane] if junction[lane] is not None else _junction_after(lane, junction, successors)
        places.append((lane, row, ahead))
    if not signal.lanes and signal.point is not None:
        before = _approach(signal.point, stations, junction, successors)
        if before is not None:
            ahead = _junction_after(before, junction, successors)
            places.append((before, len(stations[before][0]) - 1, ahead))
    return [
        _Line(
            stations[lane][1][row], stations[lane][2][row], float(stations[lane][3][row]), signal.kind, ahead, states
        )
        for lane, row, ahead in places
    ]  # fmt: skip


def _junction_after(lane: int, junction: Sequence[object], successors: Sequence[Sequence[int]]) -> object:
    return next((junction[after] for after in successors[lane] if junction[after] is not None), None)


def _approach(
    sign: np.ndarray,
    stations: Sequence[Station],
    junction: Sequence[object],
    successors: Sequence[Sequence[int]],
) -> int | None:
    """The lane that ends nearest to a sign on its right-hand side, just before a junction."""
    best, nearest = None, np.inf
    for lane, (centre, _, _, yaw) in enumerate(stations):
        if junction[lane] is not None or _junction_after(lane, junction, successors) is None:
            continue
        apart = sign[:2] - centre[-1, :2]
        ahead = apart[0] * np.cos(yaw[-1]) + apart[1] * np.sin(yaw[-1])
        right = apart[0] * np.sin(yaw[-1]) - apart[1] * np.cos(yaw[-1])
        distance = float(np.hypot(ahead, right))
        if abs(ahead) < SIGN_AHEAD_M and 0 < right < SIGN_ASIDE_M and distance < nearest:
            best, nearest = lane, distance
    return best


def _most_permissive(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rank = np.array([_PERMISSIVE[state] for state in range(4)])
    return np.where(rank[first] >= rank[second], first, second)


def _numbered(lines: Sequence[_Line], junction: Sequence[object]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Arrays of all lines; junctions with lights are numbered first, and opposite approaches share a phase group."""
    lights = [number for number, line in enumerate(lines) if line.kind == StopKind.TRAFFIC_LIGHT]
    homes: dict[int, object] = {}
    for number in lights:
        near = [
            homes[other]
            for other in homes
            if np.linalg.norm(lines[other].middle - lines[number].middle) < JUNCTION_M
        ]
        known = lines[number].junction
        homes[number] = known if known is not None else next(iter(near), f"light {number}")
    lit = list(dict.fromkeys(homes.values()))
    others = list(dict.fromkeys(home for home in junction if home is not None and home not in lit))
    number_of = {home: number for number, home in enumerate([*lit, *others])}
    groups, counts = np.zeros(len(lines), np.int32), np.ones(len(lit), np.int32)
    for home in lit:
        mine = [number for number in lights if homes[number] == home]
        groups[mine] = phase_groups(np.array([lines[number].yaw for number in mine]))
        counts[number_of[home]] = groups[mine].max() + 1
    rows = [
        (
            (line.left, line.right, line.yaw),
            line.kind,
            number_of[homes[n]] if n in homes else -1,
            int(groups[n]),
        )
        for n, line in enumerate(lines)
    ]
    lane_junction = np.array([-1 if home is None else number_of[home] for home in junction], np.int32)
    return stop_line_fields(rows, counts), lane_junction
