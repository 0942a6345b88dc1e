"""An all-way stop: four agents arrive at about the same time.

Geometry: the crossing with a stop sign's line on every arm, one agent from each.
Random: sizes, speeds (4 to 8 m/s), moments of arrival at the line if nobody braked (within 1 s of each other, 3 to 5 s
after the start), and what everybody wants: straight on (60 %), left or right (20 % each).
Passes: whoever crosses has stood still within 4 m before its line (`ran`: somebody has not), nobody collides or leaves
the road, and everybody drives 50 m beyond the crossing within 60 s.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import Run
from teacher.probes.judging import Events, crashes, first, holdups
from teacher.probes.maps import ARM_M, ARMS, BOX_M, left_turn, right_turn, roads, straight
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_LINE_M = ARM_M - BOX_M
_GOAL_M = _LINE_M + 2 * BOX_M + 50.0
_SPEED_MPS, _ARRIVAL_S, _SPREAD_S = (4.0, 8.0), (3.0, 5.0), 0.5
_WANTS, _SHARES = (straight, left_turn, right_turn), (0.6, 0.2, 0.2)


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A trial; `number` does not matter."""
    arrival_s = generator.uniform(*_ARRIVAL_S)
    drivers = []
    for arm in ARMS:
        speed, size = generator.uniform(*_SPEED_MPS), random_car(generator)
        front_m = _LINE_M - speed * (arrival_s + generator.uniform(-_SPREAD_S, _SPREAD_S))
        wants = _WANTS[generator.choice(len(_WANTS), p=_SHARES)]
        start_m = front_m - 0.5 * size[0]
        line = path(roads()["stops"], *wants(arm))
        drivers.append(Driver(line, start_m, speed, goals_to(_GOAL_M, start_m), size))
    return Trial("stops", tuple(drivers), "all-way stop")


def judge(run: Run) -> Events:
    """What went wrong."""
    return {"ran": first(run, (run.trace.stop_signs > 0).any(axis=2))} | crashes(run) | holdups(run)


PROBE = Probe("four_way_stop", 60.0, draw, judge, window=((0.0, 0.0), 110.0, 0.9))
