"""What can go wrong in a trial, as moments: [trials] f64, s after the start, infinite where it did not happen.

A trial passes where none of its probe's events happened. Events do not exclude each other.

| event | when |
|---|---|
| collided | two boxes overlap |
| left_road | an agent leaves the drivable area |
| ran | an agent runs a red light or a stop sign, by the simulator's rules |
| drove_around | the front passes the watched line's station beside the line, while its light is yellow or red |
| deadlock | at the end somebody is not through, and those have not moved for 5 s, without a crash |
| late | at the end somebody is not through, but moves, without a crash |
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import RED, YELLOW
from simulator.metrics.stop_lines import LINE_REACH
from teacher.probes.drive import Run

Moments = Float[np.ndarray, " trials"]
Events = Mapping[str, Moments]

STUCK_S, STUCK_M = 5.0, 1.0
"""Who has moved less than this in this time stands."""


def passes(events: Events) -> Bool[np.ndarray, " trials"]:
    """Which trials pass."""
    return np.all([np.isinf(moments) for moments in events.values()], axis=0)


def first(run: Run, happens: Bool[np.ndarray, "rows trials"]) -> Moments:
    """The moment at which something is so for the first time."""
    return np.where(happens.any(axis=0), run.time_s[happens.argmax(axis=0)], np.inf)


def at_end(run: Run, happens: Bool[np.ndarray, " trials"]) -> Moments:
    """The last moment where something is found so at the end."""
    return np.where(happens, run.time_s[-1], np.inf)


def crashes(run: Run) -> dict[str, Moments]:
    """`collided` and `left_road`."""
    return {
        "collided": first(run, run.trace.touching.any(axis=2)),
        "left_road": first(run, (run.trace.offroads > 0).any(axis=2)),
    }


def unfinished(run: Run) -> Bool[np.ndarray, " trials"]:
    """Trials without a crash in which not everybody got through."""
    crashed = ~passes(crashes(run))
    return ~crashed & (run.drives & ~run.through).any(axis=1)


def holdups(run: Run) -> dict[str, Moments]:
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
    run: Run,
) -> tuple[Bool[np.ndarray, "rows trials"], Float[np.ndarray, "rows trials"]]:
    """When the first agent's front passes the station of its trial's watched line, and how far aside of the line's
    middle it then is, in half widths."""
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


def lines_run(run: Run) -> dict[str, Moments]:
    """`ran` and `drove_around` of the first agent at the watched line. A light shows what it showed before the step."""
    passing, aside = passes_line(run)
    shut = np.zeros(passing.shape, bool)
    shut[1:] = np.isin(run.trace.colour[:-1], (YELLOW, RED))
    return {
        "ran": first(run, run.trace.red_lights[:, :, 0] > 0),
        "drove_around": first(run, passing & shut & (aside > LINE_REACH)),
    }
