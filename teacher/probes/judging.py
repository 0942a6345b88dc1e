"""Failure events of trials: [trials] f64, s after the start, infinite where the event did not happen.

A trial passes if none of its probe's events happened. Events do not exclude each other. A crash is
`collided` or `left_road`.

| event | when |
|---|---|
| collided | two boxes overlap |
| left_road | an agent leaves the drivable area |
| ran | an agent runs a red light or a stop sign, by the simulator's rules |
| drove_around | the front passes the watched line's station beside the line while its light is yellow or red |
| deadlock | at the end some agents have not arrived and have not moved for 5 s; no crash |
| late | at the end some agents have not arrived but move; no crash |
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import RED, YELLOW
from simulator.metrics.stop_line_infractions import LINE_REACH
from teacher.probes.drive import ProbeRun

EventTimes = Float[np.ndarray, " trials"]
ProbeEvents = Mapping[str, EventTimes]

STUCK_S, STUCK_M = 5.0, 1.0
"""An agent that has moved less than STUCK_M in the last STUCK_S stands."""


def passes(events: ProbeEvents) -> Bool[np.ndarray, " trials"]:
    """Mask of the trials that pass."""
    return np.all([np.isinf(times) for times in events.values()], axis=0)


def first_time(run: ProbeRun, happens: Bool[np.ndarray, "rows trials"]) -> EventTimes:
    """The time at which ``happens`` is True for the first time."""
    return np.where(happens.any(axis=0), run.time_s[happens.argmax(axis=0)], np.inf)


def at_end(run: ProbeRun, happens: Bool[np.ndarray, " trials"]) -> EventTimes:
    """The end time where ``happens``, else infinite."""
    return np.where(happens, run.time_s[-1], np.inf)


def crashes(run: ProbeRun) -> dict[str, EventTimes]:
    """`collided` and `left_road`."""
    return {
        "collided": first_time(run, run.trace.touching.any(axis=2)),
        "left_road": first_time(run, (run.trace.offroads > 0).any(axis=2)),
    }


def unfinished(run: ProbeRun) -> Bool[np.ndarray, " trials"]:
    """Mask of the trials without a crash in which not all agents have arrived."""
    crashed = ~passes(crashes(run))
    return ~crashed & (run.drives & ~run.through).any(axis=1)


def deadlocks(run: ProbeRun) -> dict[str, EventTimes]:
    """`deadlock` and `late`."""
    rows = min(round(STUCK_S / run.timestep_s), len(run.time_s) - 1)
    x, y = run.trace.x, run.trace.y
    moved = np.hypot(x[-1] - x[-1 - rows], y[-1] - y[-1 - rows]) > STUCK_M
    waiting = run.drives & ~run.through
    stuck = ~(moved & waiting).any(axis=1)
    return {
        "deadlock": at_end(run, unfinished(run) & stuck),
        "late": at_end(run, unfinished(run) & ~stuck),
    }


def passes_line(
    run: ProbeRun,
) -> tuple[Bool[np.ndarray, "rows trials"], Float[np.ndarray, "rows trials"]]:
    """Whether the first agent's front passes the station of its trial's watched line in each row, and its lateral
    offset from the line's middle, in half widths of the line."""
    x, y, yaw = (values[:, :, 0] for values in (run.trace.x, run.trace.y, run.trace.yaw))
    half = np.array([0.5 * trial.drivers[0].size_m[0] for trial in run.trials])
    past, aside = np.empty_like(x, float), np.empty_like(x, float)
    for number, trial in enumerate(run.trials):
        road = run.roads[trial.road]
        left, right = road.stop_line_xyz[trial.line, :, :2]
        cos, sin = np.cos(road.stop_line_yaw[trial.line]), np.sin(road.stop_line_yaw[trial.line])
        east = x[:, number] + half[number] * np.cos(yaw[:, number]) - 0.5 * (left + right)[0]
        north = y[:, number] + half[number] * np.sin(yaw[:, number]) - 0.5 * (left + right)[1]
        past[:, number] = east * cos + north * sin
        aside[:, number] = np.abs(north * cos - east * sin) / (0.5 * np.linalg.norm(left - right))
    passing = np.zeros(x.shape, bool)
    passing[1:] = (past[:-1] < 0) & (past[1:] >= 0)
    return passing, aside


def lines_run(run: ProbeRun) -> dict[str, EventTimes]:
    """`ran` and `drove_around` of the first agent at the watched line. A step is judged by the signal at its start."""
    passing, aside = passes_line(run)
    closed = np.zeros(passing.shape, bool)
    closed[1:] = np.isin(run.trace.colour[:-1], (YELLOW, RED))
    return {
        "ran": first_time(run, run.trace.red_lights[:, :, 0] > 0),
        "drove_around": first_time(run, passing & closed & (aside > LINE_REACH)),
    }
