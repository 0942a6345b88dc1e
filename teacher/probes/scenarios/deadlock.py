"""Four agents meet at an unmarked crossing; somebody has to go first.

Geometry: the unmarked crossing, one agent from each arm, each going straight on.
Random: sizes, speeds (5 to 8 m/s), moments of arrival at the crossing if nobody braked (within 0.6 s of each other, 3
to 5 s after the start).
Passes: everybody drives 50 m beyond the crossing within 45 s, and nobody collides or leaves the road. An independent
replication of GIGAFLOW's training met drivers that wait for each other for ever; `deadlock` counts that.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import Run
from teacher.probes.judging import Events, crashes, holdups
from teacher.probes.maps import ARM_M, ARMS, BOX_M, roads, straight
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_BOX_AT_M = ARM_M - BOX_M
_GOAL_M = _BOX_AT_M + 2 * BOX_M + 50.0
_SPEED_MPS, _ARRIVAL_S, _SPREAD_S = (5.0, 8.0), (3.0, 5.0), 0.3


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A trial; `number` does not matter."""
    arrival_s = generator.uniform(*_ARRIVAL_S)
    drivers = []
    for arm in ARMS:
        speed, size = generator.uniform(*_SPEED_MPS), random_car(generator)
        front_m = _BOX_AT_M - speed * (arrival_s + generator.uniform(-_SPREAD_S, _SPREAD_S))
        start_m = front_m - 0.5 * size[0]
        line = path(roads()["crossing"], *straight(arm))
        drivers.append(Driver(line, start_m, speed, goals_to(_GOAL_M, start_m), size))
    return Trial("crossing", tuple(drivers), "straight on")


def judge(run: Run) -> Events:
    """What went wrong."""
    return crashes(run) | holdups(run)


PROBE = Probe("deadlock", 45.0, draw, judge, window=((0.0, 0.0), 110.0, 0.9))
