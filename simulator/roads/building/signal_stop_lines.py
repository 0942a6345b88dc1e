"""Stop lines of a logged scene and the states of their lights, from the signals of its source.

A signal names the lanes that it controls, or has only a position beside the road. Each controlled lane gets one line.
Signals of one approach (a lane that splits into a turn and a straight lane has two) share the line; where their states
differ the line takes the most permissive, so that no vehicle that drove on a green arrow ran a red light.
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
"""Lines whose middles and headings differ by less than this are one line."""
SIGN_AHEAD_M = 8.0
"""A sign belongs to a lane end at most this far away along the road ..."""
SIGN_LATERAL_M = 12.0
"""... and this far across it."""
JUNCTION_M = 45.0
"""Lights whose lanes lie in no known junction form one junction when they are this near."""
_PERMISSIVE = {OFF: 0, RED: 1, YELLOW: 2, GREEN: 3}


@dataclass
class _Line:
    left: np.ndarray  # [3] m, end on the left side of the lane
    right: np.ndarray  # [3] m
    yaw: float  # rad, of the lane that it lies across
    kind: StopKind
    junction: object  # junction ahead, by the identifier of the source, or None
    states: np.ndarray  # [steps] i32, OFF, GREEN, YELLOW or RED

    @property
    def middle(self) -> np.ndarray:
        return (self.left + self.right) / 2

    def coincides(self, other: _Line) -> bool:
        """Whether both are the same line on the road."""
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
    """Stop lines of all signals.

    Args:
        signals: Signals of the source.
        index: Lane index by name.
        stations: Stations of every lane.
        junction: Junction of every lane by the identifier of the source, None outside junctions.
        successors: Successors of every lane.
        steps: Number of time steps.

    Returns:
        The stop-line fields of `RoadMap`, `lane_junction` [lanes], `light_state` [stops, steps], and the number of
        signals without a lane to stop on.
    """
    lines: list[_Line] = []
    unplaced = 0
    for signal in signals:
        found = _lines_of(signal, index, stations, junction, successors, steps)
        unplaced += not found
        for line in found:
            same = next((known for known in lines if known.coincides(line)), None)
            if same is None:
                lines.append(line)
            else:
                same.states = _most_permissive(same.states, line.states)
    fields, lane_junction = _numbered(lines, junction)
    states = np.array([line.states for line in lines], np.int32).reshape(len(lines), steps)
    return fields, lane_junction, states, unplaced


def _lines_of(
    signal: Signal,
    index: dict[str, int],
    stations: Sequence[Station],
    junction: Sequence[object],
    successors: Sequence[Sequence[int]],
    steps: int,
) -> list[_Line]:
    states = np.full(steps, OFF, np.int32) if signal.states is None else np.asarray(signal.states, np.int32)
    ends: list[tuple[int, int, object]] = []  # lane, station, junction ahead
    for lane in [index[name] for name in signal.lanes if name in index]:
        row = 0
        if signal.point is not None:
            row = int(np.argmin(np.linalg.norm(stations[lane][0] - signal.point, axis=1)))
        ahead = junction[lane] if junction[lane] is not None else _junction_after(lane, junction, successors)
        ends.append((lane, row, ahead))
    if not signal.lanes and signal.point is not None:
        before = _approach(signal.point, stations, junction, successors)
        if before is not None:
            ahead = _junction_after(before, junction, successors)
            ends.append((before, len(stations[before][0]) - 1, ahead))
    return [
        _Line(
            stations[lane][1][row], stations[lane][2][row], float(stations[lane][3][row]), signal.kind, ahead, states
        )
        for lane, row, ahead in ends
    ]  # fmt: skip


def _junction_after(lane: int, junction: Sequence[object], successors: Sequence[Sequence[int]]) -> object:
    return next((junction[after] for after in successors[lane] if junction[after] is not None), None)


def _approach(
    sign: np.ndarray,
    stations: Sequence[Station],
    junction: Sequence[object],
    successors: Sequence[Sequence[int]],
) -> int | None:
    """The lane that ends before a junction nearest to a sign on its right-hand side; None without one in reach."""
    best, nearest = None, np.inf
    for lane, (centre, _, _, yaw) in enumerate(stations):
        if junction[lane] is not None or _junction_after(lane, junction, successors) is None:
            continue
        apart = sign[:2] - centre[-1, :2]
        ahead = apart[0] * np.cos(yaw[-1]) + apart[1] * np.sin(yaw[-1])
        right = apart[0] * np.sin(yaw[-1]) - apart[1] * np.cos(yaw[-1])
        distance = float(np.hypot(ahead, right))
        if abs(ahead) < SIGN_AHEAD_M and 0 < right < SIGN_LATERAL_M and distance < nearest:
            best, nearest = lane, distance
    return best


def _most_permissive(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rank = np.array([_PERMISSIVE[state] for state in range(4)])
    return np.where(rank[first] >= rank[second], first, second)


def _numbered(lines: Sequence[_Line], junction: Sequence[object]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Stop-line fields of `RoadMap`, and `lane_junction` [lanes]. Junctions with lights are numbered first; opposite
    approaches share a phase group."""
    lights = [number for number, line in enumerate(lines) if line.kind == StopKind.TRAFFIC_LIGHT]
    junction_of: dict[int, object] = {}
    for number in lights:
        near = [
            junction_of[other]
            for other in junction_of
            if np.linalg.norm(lines[other].middle - lines[number].middle) < JUNCTION_M
        ]
        known = lines[number].junction
        junction_of[number] = known if known is not None else next(iter(near), f"light {number}")
    lit = list(dict.fromkeys(junction_of.values()))
    others = list(
        dict.fromkeys(
            identifier for identifier in junction if identifier is not None and identifier not in lit
        )
    )
    number_of = {identifier: number for number, identifier in enumerate([*lit, *others])}
    groups, counts = np.zeros(len(lines), np.int32), np.ones(len(lit), np.int32)
    for identifier in lit:
        mine = [number for number in lights if junction_of[number] == identifier]
        groups[mine] = phase_groups(np.array([lines[number].yaw for number in mine]))
        counts[number_of[identifier]] = groups[mine].max() + 1
    rows = [
        (
            (line.left, line.right, line.yaw),
            line.kind,
            number_of[junction_of[n]] if n in junction_of else -1,
            int(groups[n]),
        )
        for n, line in enumerate(lines)
    ]
    lane_junction = np.array(
        [-1 if identifier is None else number_of[identifier] for identifier in junction], np.int32
    )
    return stop_line_fields(rows, counts), lane_junction
