"""A parked car blocks the lane.

Geometry: a straight road of two lanes of 3.5 m; a parked car stands in the middle of the first agent's lane, 100 m from
the road's start. In the variant `lane_beside` both lanes go the same way and the agent is in the right one; in
`oncoming` the other lane goes the other way.
Random: sizes and speeds (6 to 9 m/s), where the agent starts (35 to 60 m before the parked car), and the traffic in the
other lane: none to two cars beside or behind it, or one to three oncoming cars that start 30 to 110 m beyond the parked
car, at least 15 m from each other; behind the last one the lane is free.
Passes: the agent reaches its goal 60 m beyond the parked car within 45 s, and no agent collides or leaves the road.
`waits` means that the agent has not arrived and nothing else happened: safe, but not a pass.
"""

from __future__ import annotations

import numpy as np

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, at_end, crashes, unfinished
from teacher.probes.maps import ROAD_M, roads
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, random_car

VARIANTS = ("lane_beside", "oncoming")
OBSTACLE_M = 100.0
_GOALS_M = (OBSTACLE_M + 25.0, OBSTACLE_M + 60.0)  # none of them at the parked car
_ONCOMING_GOAL_M = ROAD_M - 60.0
_START_M, _SPEED_MPS = (35.0, 60.0), (6.0, 9.0)
_ONCOMING_M = (30.0, 110.0)  # beyond the parked car
_MIN_SPACING_M = 15.0  # between the centres of two others


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A trial; even numbers have the lane beside, odd ones oncoming traffic."""
    beside = number % 2 == 0
    road = roads()["two_lanes" if beside else "two_way"]
    own, other = (path(road, lane) for lane in (("right", "left") if beside else ("east", "west")))
    start_m = OBSTACLE_M - generator.uniform(*_START_M)
    ego = Driver(own, start_m, generator.uniform(*_SPEED_MPS), _GOALS_M, random_car(generator))
    obstacle = Driver(own, OBSTACLE_M, 0.0, _GOALS_M, random_car(generator), parked=True)
    if beside:
        places = generator.uniform(start_m - 30.0, start_m + 5.0, generator.integers(0, 3))
    else:
        places = ROAD_M - OBSTACLE_M - generator.uniform(*_ONCOMING_M, generator.integers(1, 4))
    goals = _GOALS_M if beside else (_ONCOMING_GOAL_M,)
    others = [
        Driver(other, float(place), generator.uniform(*_SPEED_MPS), goals, random_car(generator))
        for place in _apart(places)
    ]
    return Trial(road.name, (ego, obstacle, *others), VARIANTS[0 if beside else 1])


def _apart(places: np.ndarray) -> list[float]:
    """The positions (arc lengths) without those that are too close to the next one ahead."""
    kept: list[float] = []
    for place in sorted(places.tolist(), reverse=True):
        if not kept or kept[-1] - place >= _MIN_SPACING_M:
            kept.append(place)
    return kept


def judge(run: ProbeRun) -> ProbeEvents:
    """`collided`, `left_road` and `waits`."""
    return crashes(run) | {"waits": at_end(run, unfinished(run) & ~run.through[:, 0])}


PROBE = Probe("blocked_lane", 45.0, draw, judge, window=((95.0, 0.0), 150.0, 0.16))
