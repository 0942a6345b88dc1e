"""The shared metrics, by hand."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.metrics.driving_quality import initial_driving_quality
from simulator.metrics.summary import DETAILED_METRICS, Metrics, agent_metrics, driving_scores, summarise
from simulator.state import WorldState
from teacher.ppo.environment import finished_metrics


@pytest.fixture(scope="module")
def final(junction: Any) -> WorldState:
    """Four agents: arrived; halfway with one collision; arrived after a red light and a stop sign; never moved."""
    state = junction.world(*[(float(x), -1.75, 0.0, 0.0) for x in (-40, -20, 0, 20)])
    scenario = state.scenario.replace(
        goal_m=jnp.tile(jnp.array([50.0, 100.0]), (4, 1)), num_goals=jnp.full(4, 2, jnp.int32)
    )
    return state.replace(
        scenario=scenario,
        goal_index=jnp.array([2, 1, 2, 0]),
        best_route_m=jnp.array([100.0, 50.0, 99.0, 0.0]),
        collisions=jnp.array([0, 1, 0, 0]),
        red_lights=jnp.array([0, 0, 1, 0]),
        stop_signs=jnp.array([0, 0, 2, 0]),
        distance_m=jnp.array([100.0, 50.0, 100.0, 0.0]),
        driving_quality=None,
    )


def test_driving_score_by_hand(final: WorldState) -> None:
    assert driving_scores(final).tolist() == pytest.approx([1.0, 0.5 * 0.5, 0.7, 0.0])


def test_summary_by_hand(final: WorldState) -> None:
    metrics = summarise(final, agent_steps=40, wall_s=2.0)
    assert metrics.driving_score == pytest.approx((1.0 + 0.25 + 0.7) / 4)
    assert metrics.goal_rate == pytest.approx(0.5)
    assert (metrics.collision_rate, metrics.offroad_rate, metrics.red_light_rate) == (0.25, 0.0, 0.25)
    assert (metrics.failure_rate, metrics.stop_sign_rate) == (0.25, 0.25)
    assert metrics.progress == pytest.approx((1.0 + 0.5 + 1.0) / 4)
    assert metrics.km_per_incident == pytest.approx(0.25)
    assert (metrics.agents, metrics.agent_steps) == (4, 40)
    json.dumps(metrics.to_json())


def test_without_incidents_the_distance_between_them_is_unknown(final: WorldState) -> None:
    assert summarise(final.replace(collisions=jnp.zeros(4, jnp.int32)), 1, 1.0).km_per_incident is None


def test_empty_slots_do_not_count(final: WorldState) -> None:
    only_first = final.replace(spawned=jnp.array([True, False, False, False]))
    assert summarise(only_first, 1, 1.0).driving_score == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no agent was placed"):
        summarise(final.replace(spawned=jnp.zeros(4, bool)), 1, 1.0)


def test_a_failure_is_a_collision_or_a_departure(final: WorldState) -> None:
    both = final.replace(offroads=jnp.array([0, 1, 0, 1]))
    metrics = summarise(both, 1, 1.0)
    assert (metrics.collision_rate, metrics.offroad_rate, metrics.failure_rate) == (0.25, 0.5, 0.5)


def test_what_is_not_known_is_null(final: WorldState) -> None:
    values = summarise(final, 1, 1.0).to_json()
    assert {name for name, value in values.items() if value is None} == {*DETAILED_METRICS, "progress_ratio"}


def test_detailed_metrics_by_hand(junction: Any, final: WorldState) -> None:
    quality = initial_driving_quality(junction.config).replace(
        at_fault=jnp.array([0, 1, 0, 0]),
        failures_to_yield=jnp.array([0, 0, 1, 1]),
        worst_second_m=jnp.array([1.9, 2.0, 6.0, 0.0]),
        ttc_violation_steps=jnp.array([3, 9, 0, 1]),
        judged_steps=jnp.array([10, 10, 10, 0]),
        comfortable_steps=jnp.array([10, 5, 0, 0]),
    )
    metrics = summarise(final.replace(driving_quality=quality), 1, 1.0)
    assert (metrics.at_fault_collision_rate, metrics.yield_rate) == (0.25, 0.5)
    assert (metrics.wrong_way_rate, metrics.direction_compliance) == (
        0.5,
        pytest.approx((1 + 0.5 + 0 + 1) / 4),
    )
    assert metrics.ttc_violation_rate == 0.75
    assert metrics.comfort_rate == pytest.approx(0.5), "the agent that was never judged does not count"
    json.dumps(metrics.to_json())


def test_progress_ratio_by_hand(final: WorldState) -> None:
    """Covered 100, 50, 99 and 0 m of logs of 80, 100, 99 and 1 m: the last one is parked and does not count."""
    logged_m = np.array([80.0, 100.0, 99.0, 1.0], np.float32)
    assert summarise(final, 1, 1.0, logged_m).progress_ratio == pytest.approx((1.25 + 0.5 + 1.0) / 3)
    assert summarise(final, 1, 1.0, np.zeros(4, np.float32)).progress_ratio is None


def test_training_and_evaluation_report_the_same_metrics(junction: Any, final: WorldState) -> None:
    """Under jit, from numpy arrays, and summed up: one definition."""
    worlds = jax.tree.map(
        lambda leaf: jnp.stack([leaf, leaf]),
        final.replace(driving_quality=initial_driving_quality(junction.config)),
    )
    worlds = worlds.replace(spawned=worlds.spawned.at[1, 0].set(False))
    in_training = jax.jit(finished_metrics)(worlds)
    on_host = agent_metrics(jax.tree.map(np.asarray, worlds))
    metrics = summarise(worlds, 1, 1.0).to_json()
    assert set(in_training) == set(on_host) | {"distance_m"}
    assert set(on_host) <= set(Metrics.__dataclass_fields__)
    for name, metric in on_host.items():
        values = np.asarray(metric.or_nan())
        np.testing.assert_allclose(in_training[name], values, rtol=1e-6)
        assert np.isnan(values[1, 0])
        if name == "comfort_rate":  # no step of these agents was evaluated
            assert not metric.known.any()
            assert metrics[name] is None
        else:
            assert metric.known.sum() == 7
            assert metrics[name] == pytest.approx(float(np.nanmean(values)))
