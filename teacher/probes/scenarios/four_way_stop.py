"""An all-way stop: four agents arrive at about the same time.

Geometry: the crossing with a stop sign on every arm, one agent from each.
Random: sizes, speeds (4 to 8 m/s), times of arrival at the line without braking (within 1 s of each other, 3 to 5 s
after the start), and the direction of each agent: straight on (60 %), left or right (20 % each).
Passes: every agent has made a full stop within 4 m before its line (else `ran`), none collides or leaves the road, and
all drive 50 m beyond the crossing within 60 s.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, crashes, deadlocks, first_time
from teacher.probes.maps import (
    ARMS,
    BEYOND_CROSSING_M,
    BOX_START_M,
    left_turn,
    right_turn,
    roads,
    straight,
)
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_SPEED_MPS, _ARRIVAL_S, _SPREAD_S = (4.0, 8.0), (3.0, 5.0), 0.5
_DIRECTIONS, _SHARES = (straight, left_turn, right_turn), (0.6, 0.2, 0.2)


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A random trial; all have one variant."""
    arrival_s = generator.uniform(*_ARRIVAL_S)
    drivers = []
    for arm in ARMS:
        speed, size = generator.uniform(*_SPEED_MPS), random_car(generator)
        front_m = BOX_START_M - speed * (arrival_s + generator.uniform(-_SPREAD_S, _SPREAD_S))
        direction = _DIRECTIONS[generator.choice(len(_DIRECTIONS), p=_SHARES)]
        start_m = front_m - 0.5 * size[0]
        line = path(roads()["stops"], *direction(arm))
        drivers.append(Driver(line, start_m, speed, goals_to(BEYOND_CROSSING_M, start_m), size))
    return Trial("stops", tuple(drivers), "all-way stop")


def judge(run: ProbeRun) -> ProbeEvents:
    """`ran`, `collided`, `left_road`, `deadlock` and `late`."""
    return {"ran": first_time(run, (run.trace.stop_signs > 0).any(axis=2))} | crashes(run) | deadlocks(run)


PROBE = Probe("four_way_stop", 60.0, draw, judge, window=((0.0, 0.0), 110.0, 0.9))
