"""Two lanes become one.

Geometry: two lanes eastwards; from x = 0 to 50 m the right one moves into the left one; then one lane. Priority is
not regulated.
Random: two to four cars per lane, their sizes, their speeds (5 to 8 m/s), where the first of each lane starts (10 to
30 m before the taper) and the gaps between the others (4 to 12 m).
Passes: all agents drive 40 m beyond the taper within 45 s, and none collides or leaves the road.
"""

from __future__ import annotations

import numpy as np

from simulator.roads.polylines import arc_length
from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, crashes, deadlocks
from teacher.probes.maps import roads
from teacher.probes.probe import Probe
from teacher.probes.road import path
from teacher.probes.starts import Driver, Trial, goals_to, random_car

_APPROACH_M = 150.0  # of both lanes, before the taper
_BEYOND_END_M = 110.0  # from the last goal to the end of the road
_FIRST_M, _GAP_M, _SPEED_MPS = (10.0, 30.0), (4.0, 12.0), (5.0, 8.0)


def draw(generator: np.random.Generator, number: int) -> Trial:
    """A random trial; all have one variant."""
    drivers: list[Driver] = []
    for lane in ("left", "right"):
        line = path(roads()["narrowing"], f"{lane}_in", f"{lane}_on", "out")
        front_m = _APPROACH_M - generator.uniform(*_FIRST_M)
        for _ in range(generator.integers(2, 5)):
            size = random_car(generator)
            start_m = front_m - 0.5 * size[0]
            front_m -= size[0] + generator.uniform(*_GAP_M)
            goals = goals_to(float(arc_length(line)[-1]) - _BEYOND_END_M, start_m)
            drivers.append(Driver(line, start_m, generator.uniform(*_SPEED_MPS), goals, size))
    return Trial("narrowing", tuple(drivers), "merge")


def judge(run: ProbeRun) -> ProbeEvents:
    """`collided`, `left_road`, `deadlock` and `late`."""
    return crashes(run) | deadlocks(run)


PROBE = Probe("bottleneck", 45.0, draw, judge, window=((10.0, 0.0), 150.0, 0.16))
