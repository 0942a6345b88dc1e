"""A left turn across oncoming traffic, without lights.

Geometry: the unmarked crossing. The first agent comes from the west and turns left; the others come from the east and
drive straight on.
Random: two to four oncoming cars, all sizes and speeds (the turning agent 4 to 8 m/s, the others 7 to 10 m/s), where
the turning agent (15 to 40 m before the crossing) and the first oncoming one (15 to 45 m) start, and the gaps between
the others (8 to 30 m).
Passes: the turning agent reaches its goal 50 m beyond the crossing within 45 s, and no agent collides or leaves the
road.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, at_end, crashes, unfinished
from teacher.probes.maps import BEYOND_CROSSING_M, BOX_START_M, left_turn, roads, straight
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_OWN_MPS, _ONCOMING_MPS = (4.0, 8.0), (7.0, 10.0)
_OWN_M, _FIRST_M, _GAP_M = (15.0, 40.0), (15.0, 45.0), (8.0, 30.0)


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A random trial; all have one variant."""
    road = roads()["crossing"]
    own, oncoming = path(road, *left_turn("west")), path(road, *straight("east"))
    start_m = BOX_START_M - generator.uniform(*_OWN_M)
    goals = goals_to(BEYOND_CROSSING_M, start_m)
    drivers = [Driver(own, start_m, generator.uniform(*_OWN_MPS), goals, random_car(generator))]
    front_m = BOX_START_M - generator.uniform(*_FIRST_M)
    for _ in range(generator.integers(2, 5)):
        size = random_car(generator)
        start_m = front_m - 0.5 * size[0]
        front_m -= size[0] + generator.uniform(*_GAP_M)
        goals = goals_to(BEYOND_CROSSING_M, start_m)
        drivers.append(Driver(oncoming, start_m, generator.uniform(*_ONCOMING_MPS), goals, size))
    return Trial("crossing", tuple(drivers), "left turn")


def judge(run: ProbeRun) -> ProbeEvents:
    """`collided`, `left_road`, and `never_turned`: no crash, but the turning agent has not arrived."""
    return crashes(run) | {"never_turned": at_end(run, unfinished(run) & ~run.through[:, 0])}


PROBE = Probe("unprotected_turn", 45.0, draw, judge, window=((0.0, 0.0), 110.0, 0.9))
