"""The shared metrics, by hand."""

import json

import jax
import jax.numpy as jnp
import pytest

from simulator.atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.infractions import driving_scores, summarise
from simulator.spawn import reset
from simulator.world import WorldState


@pytest.fixture(scope="module")
def final(towns: RoadAtlas) -> WorldState:
    """Four agents: arrived; halfway with one collision; arrived after a red light; never moved."""
    state = reset(jax.random.key(0), towns, jnp.int32(0), SimulatorConfig(num_agents=4, num_goals=2))
    scenario = state.scenario.replace(
        goal_m=jnp.tile(jnp.array([50.0, 100.0]), (4, 1)), num_goals=jnp.full(4, 2, jnp.int32)
    )
    return state.replace(
        scenario=scenario,
        spawned=jnp.ones(4, bool),
        goal_index=jnp.array([2, 1, 2, 0]),
        best_route_m=jnp.array([100.0, 50.0, 99.0, 0.0]),
        collisions=jnp.array([0, 1, 0, 0]),
        offroads=jnp.zeros(4, jnp.int32),
        red_lights=jnp.array([0, 0, 1, 0]),
        distance_m=jnp.array([100.0, 50.0, 100.0, 0.0]),
    )


def test_driving_score_by_hand(final: WorldState) -> None:
    assert driving_scores(final).tolist() == pytest.approx([1.0, 0.5 * 0.5, 0.7, 0.0])


def test_summary_by_hand(final: WorldState) -> None:
    metrics = summarise(final, agent_steps=40, wall_s=2.0)
    assert metrics.driving_score == pytest.approx((1.0 + 0.25 + 0.7) / 4)
    assert metrics.goal_rate == pytest.approx(0.5)
    assert (metrics.collision_rate, metrics.offroad_rate, metrics.red_light_rate) == (0.25, 0.0, 0.25)
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
