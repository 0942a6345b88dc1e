"""Baselines move the agents that count and nobody else, and `step` judges them as it judges a policy's."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.agents.baselines import CONSTANT_VELOCITY, IDM_BASELINE, NO_BASELINE, with_baseline
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST, HARDEST_BRAKING
from simulator.metrics.summary import agent_metrics
from simulator.state import IDM, PARKED, POLICY, WorldState
from simulator.step import step

AGENTS = 3
Build = Callable[..., WorldState]
Advance = Callable[[WorldState, int], tuple[WorldState, Any]]


@pytest.fixture(scope="module")
def field(open_field: Build) -> Build:
    """Agents on an open field by their control; those driven by a policy are active and count."""

    def build(x: list[float], y: list[float], speed: list[float], control: list[int], baseline: str) -> Any:
        state = open_field(x, y, speed, [0.3] * AGENTS)
        controls = jnp.asarray(control, jnp.int32)
        state = state.replace(active=controls == POLICY, spawned=controls == POLICY)
        scenario = state.scenario.replace(control=controls, has_idm=IDM in control)
        state = with_baseline(state.replace(scenario=scenario), baseline)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)

    return build


@pytest.fixture(scope="module")
def advance(towns: RoadAtlas, small: SimulatorConfig) -> Advance:
    """One step in which everybody gets the same action; far from any road nobody departs from one."""
    config = dataclasses.replace(small, num_agents=AGENTS, offroad_margin_m=1e6)
    return jax.jit(lambda state, action: step(state, jnp.full(AGENTS, action), towns, config))


def test_constant_velocity_goes_straight_on_whatever_the_action(field: Build, advance: Advance) -> None:
    state = field([0, 0, 0], [0, 20, 40], [10.0, 4.0, 0.0], [POLICY] * AGENTS, CONSTANT_VELOCITY)
    after = state
    for action in (COAST, HARDEST_BRAKING, HARDEST_BRAKING, COAST):
        after, events = advance(after, action)
    moved = np.asarray(after.position - state.position)
    expected = np.array([10.0, 4.0, 0.0])[:, None] * [
        np.cos(0.3),
        np.sin(0.3),
        0.0,
    ]  # in four steps of 0.25 s
    np.testing.assert_allclose(moved, expected, atol=2e-3)
    np.testing.assert_array_equal(after.speed, state.speed)
    np.testing.assert_array_equal(after.yaw, state.yaw)
    np.testing.assert_allclose(after.distance_m, [10.0, 4.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(after.route_m, [10.0, 4.0, 0.0], atol=2e-3)
    assert not events.collision.any()


def test_only_agents_that_count_are_driven(field: Build, advance: Advance) -> None:
    """The second agent is active but does not count, as a blind one: its actions count."""
    state = field([0, 0, 0], [0, 20, 40], [10.0] * AGENTS, [POLICY, POLICY, PARKED], CONSTANT_VELOCITY)
    state = state.replace(spawned=state.spawned.at[1].set(False))
    for _ in range(4):
        state, _ = advance(state, HARDEST_BRAKING)
    assert float(state.speed[0]) == 10.0
    assert float(state.speed[1]) < 9.0
    given_back = with_baseline(state, NO_BASELINE)
    for _ in range(4):
        given_back, _ = advance(given_back, HARDEST_BRAKING)
    assert float(given_back.speed[0]) < 9.0


def test_a_crash_of_a_baseline_counts_and_ends_its_drive(field: Build, advance: Advance) -> None:
    """8 m between two boxes of 4 m at 10 m/s: contact after 0.8 s, so in the fourth step."""
    cos, sin = np.cos(0.3), np.sin(0.3)
    state = field(
        [0, 12 * cos, 0], [0, 12 * sin, 40], [10.0, 0, 0], [POLICY, PARKED, PARKED], CONSTANT_VELOCITY
    )
    happened = []
    for _ in range(6):
        state, events = advance(state, COAST)
        happened.append(bool(events.collision[0]))
    assert happened == [False, False, False, True, False, False]
    assert int(state.collisions[0]) == 1
    assert not state.active[0]
    assert float(state.distance_m[0]) == pytest.approx(10.0)
    rested = state.position
    state, _ = advance(state, COAST)
    np.testing.assert_array_equal(state.position, rested)
    assert float(agent_metrics(state)["failure_rate"].value[0]) == 1.0


def test_the_intelligent_driver_model_drives_alike_as_a_baseline(field: Build, advance: Advance) -> None:
    """A follower behind a slow leader, both to goals 60 m ahead: the same places as with control IDM, but counted."""
    cos, sin = np.cos(0.3), np.sin(0.3)
    place = ([0, 20 * cos, 0], [0, 20 * sin, 60], [10.0, 2.0, 0.0])
    model = field(*place, [IDM, IDM, PARKED], NO_BASELINE)
    judged = field(*place, [POLICY, POLICY, PARKED], IDM_BASELINE)
    both = [
        state.replace(scenario=state.scenario.replace(goal_m=jnp.full((AGENTS, 1), 60.0)))
        for state in (model, judged)
    ]
    arrivals = np.zeros(AGENTS, int)
    for _ in range(80):
        (one, _), (other, events) = (advance(state, HARDEST_BRAKING) for state in both)
        both = [one, other]
        arrivals += np.asarray(events.arrived)
        if not arrivals.any():  # the judged leader arrives 2 m before the other vanishes
            np.testing.assert_allclose(one.position, other.position, atol=3e-3)
    np.testing.assert_array_equal(arrivals, [1, 1, 0])
    np.testing.assert_array_equal(both[1].present, [False, False, True])
    np.testing.assert_allclose(both[1].distance_m[:2], [58.0, 58.0], atol=4.0)  # goals have a radius of 2 m
    assert not both[0].distance_m.any()
    np.testing.assert_array_equal(agent_metrics(both[1])["goal_rate"].value[:2], [1.0, 1.0])


def test_a_crashed_agent_of_the_model_stays_when_the_other_is_gone(field: Build, advance: Advance) -> None:
    """With control IDM it would drive on (tested with the model); judged, it is a wreck for good."""
    state = field([0, 3, 0], [0, 1.5, 40], [5.0, 0, 0], [POLICY, PARKED, PARKED], IDM_BASELINE)
    crashed, events = advance(state, COAST)
    assert bool(events.collision[0])
    alone = crashed.replace(present=crashed.present.at[1].set(False))
    after, _ = advance(alone, COAST)
    np.testing.assert_array_equal(after.position, alone.position)
    assert not after.active[0]


def test_an_unknown_baseline_is_refused(field: Build) -> None:
    state = field([0, 0, 0], [0, 20, 40], [0.0] * AGENTS, [POLICY] * AGENTS, NO_BASELINE)
    with pytest.raises(
        ValueError, match="baseline 'autopilot' is unknown; expected one of constant_velocity, idm"
    ):
        with_baseline(state, "autopilot")
