"""nuPlan's comfort limits, one at a time, on motions whose derivatives are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from simulator.conventions import COAST
from simulator.metrics.comfort import comfortable, history_steps

STEP_S = 0.1
STEPS = 15


Values = np.ndarray | float


def judged(longitudinal: Values, lateral: Values = 0.0, yaw_rate: Values = 0.0) -> bool:
    columns = [np.broadcast_to(column, STEPS) for column in (longitudinal, lateral, yaw_rate)]
    return bool(comfortable(jnp.asarray(np.stack(columns, axis=-1)[None], jnp.float32), STEP_S)[0])


TIME_S = STEP_S * (np.arange(STEPS) - STEPS + 1)  # up to now


def test_longitudinal_acceleration_has_other_limits_for_braking() -> None:
    assert judged(-4.04)
    assert judged(2.39)
    assert not judged(-4.06)
    assert not judged(2.41)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_limits_that_are_the_same_both_ways(sign: float) -> None:
    assert judged(0.0, sign * 4.88)
    assert not judged(0.0, sign * 4.90)
    assert judged(0.0, 0.0, sign * 0.94)
    assert not judged(0.0, 0.0, sign * 0.96)
    for slope, accepted in ((4.12, True), (4.14, False)):  # longitudinal jerk
        assert judged(sign * slope * (TIME_S + 0.4)) is accepted
    for slope, accepted in ((1.92, True), (1.94, False)):  # yaw acceleration; the mean rate stays small
        assert judged(0.0, 0.0, sign * slope * (TIME_S + 0.4)) is accepted


@pytest.mark.parametrize(("slope", "accepted"), [(8.3, True), (8.5, False)])
def test_jerk_is_the_slope_of_the_magnitude(slope: float, accepted: bool) -> None:
    """A lateral acceleration that changes sides at every step has a small mean; its magnitude grows all the same."""
    sides = np.where(np.arange(STEPS) % 2, 1.0, -1.0)
    assert judged(0.0, sides * slope * (TIME_S - TIME_S[0])) is accepted


def test_a_smooth_stop_is_comfortable_and_a_slam_is_not(junction: Any) -> None:
    """15 m/s in a straight line: braking at 2 m/s2 with -4 m/s3 for half a second, or -15 m/s3 until -5 m/s2."""

    def drive(actions: list[int]) -> Any:
        state = junction.world((-60.0, -5.25, 0.0, 15.0))
        for action in actions:
            state, _ = junction.advance(state, jnp.full(state.active.shape, action, jnp.int32))
        return state.driving_quality

    brake, slam = 4, 1  # -4 and -15 m/s3, no lateral jerk
    smooth = drive([COAST] * 20 + [brake] * 5 + [COAST] * 20)
    assert int(smooth.comfortable_steps[0]) == int(smooth.judged_steps[0]) == 45 - STEPS + 1
    hard = drive([COAST] * 20 + [slam] * 4 + [COAST] * 20)
    assert 0 < int(hard.comfortable_steps[0]) < int(hard.judged_steps[0])


def test_nothing_is_judged_before_the_window_is_full(junction: Any) -> None:
    state, events = junction.coast(junction.world((-60.0, -5.25, 0.0, 8.0)), STEPS)
    assert int(state.driving_quality.judged_steps[0]) == 1
    assert not any(bool(step.driving_quality.uncomfortable[0]) for step in events)
    assert history_steps(0.1) == STEPS
    assert history_steps(0.25) == 6
