"""Four agents meet at an unmarked crossing; one of them has to go first.

Geometry: the unmarked crossing, one agent from each arm, each going straight on.
Random: sizes, speeds (5 to 8 m/s), times of arrival at the crossing without braking (within 0.6 s of each other, 3
to 5 s after the start).
Passes: all agents drive 50 m beyond the crossing within 45 s, and none collides or leaves the road. In an independent
replication of GIGAFLOW's training, policies waited for each other forever; `deadlock` counts that.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, crashes, deadlocks
from teacher.probes.maps import ARMS, BEYOND_CROSSING_M, BOX_START_M, roads, straight
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_SPEED_MPS, _ARRIVAL_S, _SPREAD_S = (5.0, 8.0), (3.0, 5.0), 0.3


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A random trial; all have one variant."""
    arrival_s = generator.uniform(*_ARRIVAL_S)
    drivers = []
    for arm in ARMS:
        speed, size = generator.uniform(*_SPEED_MPS), random_car(generator)
        front_m = BOX_START_M - speed * (arrival_s + generator.uniform(-_SPREAD_S, _SPREAD_S))
        start_m = front_m - 0.5 * size[0]
        line = path(roads()["crossing"], *straight(arm))
        drivers.append(Driver(line, start_m, speed, goals_to(BEYOND_CROSSING_M, start_m), size))
    return Trial("crossing", tuple(drivers), "straight on")


def judge(run: ProbeRun) -> ProbeEvents:
    """`collided`, `left_road`, `deadlock` and `late`."""
    return crashes(run) | deadlocks(run)


PROBE = Probe("deadlock", 45.0, draw, judge, window=((0.0, 0.0), 110.0, 0.9))
