"""Time to collision by hand arithmetic: projections at constant velocity, 0.3, 0.6 and 0.9 s ahead."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from simulator.metrics.time_to_collision import violates_time_to_collision

LANE = -1.75
EAST, WEST, NORTH = 0.0, np.pi, np.pi / 2
LENGTH = 4.0


def soon(junction: Any, *agents: tuple[float, float, float, float], aside: bool = False) -> list[bool]:
    """Agents that violate the rule; ``aside``: others beside them count too."""
    state = junction.world(*agents)
    touching = jnp.zeros((len(state.yaw), len(state.yaw)), bool)
    found = violates_time_to_collision(state, touching, jnp.full(len(state.yaw), aside))
    return np.asarray(found).tolist()[: len(agents)]


@pytest.mark.parametrize(("gap_m", "violated"), [(8.9, True), (9.1, False)])
def test_two_cars_closing_at_ten_metres_per_second(junction: Any, gap_m: float, violated: bool) -> None:
    """In 0.9 s they close 9 m."""
    behind, ahead = (0.0, LANE, EAST, 14.0), (LENGTH + gap_m, LANE, EAST, 4.0)
    assert soon(junction, behind, ahead) == [violated, False], "the one in front sees nobody ahead"
    oncoming = (LENGTH + gap_m, LANE, WEST, 5.0)
    assert soon(junction, (0.0, LANE, EAST, 5.0), oncoming) == [violated, violated]


def test_between_two_moments_nobody_looks(junction: Any) -> None:
    """A crossing car is in the way for 0.5 s around 0.45 s from now, when a second car is still 3 m short of it."""
    crossing = (7.0, LANE - 8.0, NORTH, 20.0)
    assert soon(junction, (0.0, LANE, EAST, 8.0), crossing) == [False, False]
    slower = (9.0, LANE - 8.0, NORTH, 9.0)  # there at 0.9 s
    assert soon(junction, (0.0, LANE, EAST, 8.0), slower)[0]


def test_who_stands_violates_nothing(junction: Any) -> None:
    assert soon(junction, (0.0, LANE, EAST, 0.0), (10.0, LANE, WEST, 10.0)) == [False, True]


def test_neighbours_count_for_whoever_is_between_lanes_or_in_a_junction(junction: Any) -> None:
    drift = np.deg2rad(10.0)  # 1.7 m/s to the left at 10 m/s: the flanks touch within 0.6 s
    pair = (0.0, LANE, EAST, 10.0), (0.0, LANE - 2.8, drift, 10.0)
    assert soon(junction, *pair) == [False, False]
    assert soon(junction, *pair, aside=True) == [True, True]


def test_other_levels_and_absent_agents_are_nobody(junction: Any) -> None:
    state = junction.world((0.0, LANE, EAST, 10.0), (10.0, LANE, EAST, 0.0))
    none = jnp.zeros((4, 4), bool)
    aside = jnp.zeros(4, bool)
    assert violates_time_to_collision(state, none, aside)[0]
    above = state.replace(position=state.position.at[1, 2].set(6.0))
    assert not violates_time_to_collision(above, none, aside)[0]
    gone = state.replace(present=state.present.at[1].set(False))
    assert not violates_time_to_collision(gone, none, aside)[0]


def test_the_step_counts_it(junction: Any) -> None:
    """From 12 m behind at 10 m/s: 1 m a step, so 2.9 m or more are to go, violated from 8.9 m until the crash."""
    state, events = junction.coast(junction.world((0.0, LANE, EAST, 10.0), (16.0, LANE, EAST, 0.0)), 15)
    noted = [bool(step.driving_quality.ttc_violation[0]) for step in events]
    # After step n the gap is 12 - n; 9 m and less is reached by step 3, up to rounding, and 0 m by step 12.
    assert noted[3:11] == [True] * 8
    assert noted[:2] == [False] * 2
    assert not any(noted[12:])
    assert int(state.driving_quality.ttc_violation_steps[0]) == sum(noted)
    assert int(state.driving_quality.ttc_violation_steps[1]) == 0
