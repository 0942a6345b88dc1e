"""Stop lines and their phase groups from the stop zones of a map.

A stop zone names the lanes *inside* a junction that a signal controls. Vehicles must stop before the junction, so each
zone is traced back to the lanes that enter it (the approach), and one line is laid across the end of these lanes.
Approaches of a junction with lights whose headings differ by about 0 or 180 degrees share a phase group. Where a source
has lights for all approaches of a junction but one (in Town05 and Town10HD), that approach gets a light too: vehicles
from there would otherwise meet crossing traffic that has a green light.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from simulator.roads.road_map import StopKind

_log = logging.getLogger(__name__)
GROUP_ANGLE_RAD = np.deg2rad(45.0)
"""Headings closer than this (modulo half a turn) share a phase group."""
ADJACENT_M = 1.0
"""Boundaries of adjacent approach lanes coincide within this distance."""
ADJACENT_COS = 0.8
"""Least cosine between the headings of adjacent approach lanes."""

Station = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # centre, left, right [n, 3], yaw [n]
Line = tuple[np.ndarray, np.ndarray, float]  # left end [3], right end [3], yaw


def derive_stop_lines(
    stations: Sequence[Station],
    raw_junction: Sequence[object],
    predecessors: Sequence[Sequence[int]],
    zones: Sequence[tuple[StopKind, list[int]]],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Stop lines of all zones.

    Args:
        stations: Stations of every lane.
        raw_junction: Junction of every lane by the identifier of the source, None outside junctions.
        predecessors: Predecessors of every lane.
        zones: (kind, lanes) of every stop zone.

    Returns:
        The stop-line fields of `RoadMap`, and `lane_junction` [lanes] with lit junctions numbered first.
    """
    approaches = _approaches(raw_junction, predecessors, zones)
    _complete_lit(approaches, raw_junction, predecessors)
    lit = sorted({junction for (junction, kind) in approaches if kind == StopKind.TRAFFIC_LIGHT}, key=str)
    others = sorted({j for j in raw_junction if j is not None} - set(lit), key=str)
    number = {junction: index for index, junction in enumerate([*lit, *others])}
    rows: list[tuple[Line, int, int, int]] = []
    groups = np.ones(len(lit), np.int32)
    for (junction, kind), ends in sorted(approaches.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        lines = [_line(stations, run) for run in _adjacent_runs(stations, sorted(ends))]
        if kind == StopKind.TRAFFIC_LIGHT:
            phases = phase_groups(np.array([line[2] for line in lines]))
            groups[number[junction]] = phases.max() + 1
            rows += [(line, kind, number[junction], int(p)) for line, p in zip(lines, phases, strict=True)]
        else:
            rows += [(line, kind, -1, 0) for line in lines]
    lane_junction = np.array([-1 if j is None else number[j] for j in raw_junction], np.int32)
    return stop_line_fields(rows, groups), lane_junction


def phase_groups(headings_rad: np.ndarray) -> np.ndarray:
    """Phase group [approaches] of each approach: headings that are equal modulo half a turn, within GROUP_ANGLE_RAD,
    share one."""
    axes: list[float] = []
    groups = np.zeros(len(headings_rad), np.int32)
    for index, heading in enumerate(headings_rad):
        # |angle| modulo pi, folded to [0, pi/2], is how far two roads are from being parallel.
        apart = [abs((heading - axis + np.pi / 2) % np.pi - np.pi / 2) for axis in axes]
        if apart and min(apart) < GROUP_ANGLE_RAD:
            groups[index] = int(np.argmin(apart))
        else:
            groups[index] = len(axes)
            axes.append(float(heading))
    return groups


def _approaches(
    raw_junction: Sequence[object],
    predecessors: Sequence[Sequence[int]],
    zones: Sequence[tuple[StopKind, list[int]]],
) -> dict[tuple[object, int], set[tuple[int, bool]]]:
    """(junction, kind) -> {(lane, at_end)}: the lane ends at which vehicles must stop before each controlled junction.

    at_end is False only for a junction lane without predecessors: vehicles stop at its start.
    """
    result: dict[tuple[object, int], set[tuple[int, bool]]] = {}
    for number, (kind, members) in enumerate(zones):
        for lane in members:
            junction = raw_junction[lane]
            if junction is None:  # the zone names the approach itself
                result.setdefault((f"zone {number}", kind), set()).add((lane, True))
                continue
            entries = _entries(lane, junction, raw_junction, predecessors)
            result.setdefault((junction, kind), set()).update(entries)
    return result


def _complete_lit(
    approaches: dict[tuple[object, int], set[tuple[int, bool]]],
    raw_junction: Sequence[object],
    predecessors: Sequence[Sequence[int]],
) -> None:
    """Add lanes that enter a lit junction without any signal or sign to its lit approaches, in place."""
    for junction in [junction for junction, kind in approaches if kind == StopKind.TRAFFIC_LIGHT]:
        inside = [lane for lane, owner in enumerate(raw_junction) if owner == junction]
        entering = {(p, True) for lane in inside for p in predecessors[lane] if raw_junction[p] != junction}
        guarded = set().union(*(ends for (owner, _), ends in approaches.items() if owner == junction))
        if entering - guarded:
            lanes = sorted(lane for lane, _ in entering - guarded)
            _log.info(
                "junction %s has lights but lanes %s have no signal; adding lights for them", junction, lanes
            )
            approaches[junction, StopKind.TRAFFIC_LIGHT] |= entering - guarded


def _entries(
    lane: int, junction: object, raw_junction: Sequence[object], predecessors: Sequence[Sequence[int]]
) -> set[tuple[int, bool]]:
    """The lanes outside a junction from which a lane in it can be reached, as (lane, at_end)."""
    seen, queue, entries = {lane}, [lane], set()
    while queue:
        current = queue.pop()
        if not predecessors[current]:
            entries.add((current, False))
        for before in predecessors[current]:
            if raw_junction[before] != junction:
                entries.add((before, True))
            elif before not in seen:
                seen.add(before)
                queue.append(before)
    return entries


def _adjacent_runs(
    stations: Sequence[Station], ends: Sequence[tuple[int, bool]]
) -> list[list[tuple[int, bool]]]:
    """Partition approach lanes into runs of adjacent lanes, each ordered from left to right."""
    runs = []
    pending = list(ends)
    while pending:
        run = [pending.pop(0)]
        while _extend_run(stations, run, pending):
            pass
        runs.append(run)
    return runs


def _extend_run(
    stations: Sequence[Station], run: list[tuple[int, bool]], pending: list[tuple[int, bool]]
) -> bool:
    """Move every pending lane that adjoins an end of the run to that end, in place; whether any did."""
    extended = False
    for candidate in list(pending):
        left, right, yaw = _end(stations, *candidate)
        first, last = _end(stations, *run[0]), _end(stations, *run[-1])
        if np.cos(yaw - first[2]) < ADJACENT_COS:
            continue
        if np.linalg.norm(right - first[0]) < ADJACENT_M:
            run.insert(0, candidate)
        elif np.linalg.norm(left - last[1]) < ADJACENT_M:
            run.append(candidate)
        else:
            continue
        pending.remove(candidate)
        extended = True
    return extended


def _end(stations: Sequence[Station], lane: int, at_end: bool) -> Line:
    """Left end, right end and heading of a lane's last (or first) station."""
    row = -1 if at_end else 0
    _, left, right, yaw = stations[lane]
    return left[row], right[row], float(yaw[row])


def _line(stations: Sequence[Station], run: list[tuple[int, bool]]) -> Line:
    """One line across a run of adjacent lanes."""
    first, last = _end(stations, *run[0]), _end(stations, *run[-1])
    return first[0], last[1], first[2]


def stop_line_fields(rows: Sequence[tuple[Line, int, int, int]], groups: np.ndarray) -> dict[str, np.ndarray]:
    """Stop-line fields of `RoadMap`: rows of (line, kind, junction, phase group), and the groups of each junction."""
    ends = [[line[0], line[1]] for line, *_ in rows]
    return {
        "stop_line_xyz": np.array(ends, np.float32).reshape(len(rows), 2, 3),
        "stop_line_yaw": np.array([line[2] for line, *_ in rows], np.float32),
        "stop_line_kind": np.array([row[1] for row in rows], np.int32),
        "stop_line_junction": np.array([row[2] for row in rows], np.int32),
        "stop_line_group": np.array([row[3] for row in rows], np.int32),
        "junction_groups": groups.astype(np.int32),
    }
