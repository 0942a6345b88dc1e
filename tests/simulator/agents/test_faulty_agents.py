"""Blind agents and agents that brake suddenly: what they do, and that training and metrics leave them out."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.agents import faulty_agents
from simulator.agents.controllers import assign_controllers
from simulator.config import SimulatorConfig
from simulator.conventions import CAR, COAST, PEDESTRIAN
from simulator.dynamics.bicycle import MIN_ACCELERATION
from simulator.metrics.summary import summarise
from simulator.rollout import needs_reset
from simulator.state import BLIND, IDM, NO_FAULT, PARKED, POLICY, SUDDEN_BRAKING, WorldState
from simulator.step import move

Build = Callable[..., WorldState]


def with_faults(state: WorldState, faults: list[int]) -> WorldState:
    scenario = state.scenario.replace(fault=jnp.asarray(faults, jnp.int32), has_faults=True)
    return state.replace(scenario=scenario, spawned=jnp.asarray(faults) == NO_FAULT)


def test_sudden_braking_comes_in_intervals_without_reversing_and_only_with_the_fault(
    open_field: Build, small: SimulatorConfig
) -> None:
    """Two minutes of coasting at 10 m/s; after an interval the braking agent is set to 10 m/s again by hand."""
    state = with_faults(open_field([0.0, 0.0], [0.0, 50.0], [10.0, 10.0]), [SUDDEN_BRAKING, NO_FAULT])
    run = jax.jit(lambda s: move(s, jnp.full(2, COAST), small))
    braking = jax.jit(lambda s: faulty_agents.brakes_suddenly(s, small))
    braked, slowest = [], 10.0
    for number in range(480):
        now = bool(braking(state)[0])
        after = run(state)
        assert float(after.speed[1]) == 10.0
        assert float(after.speed[0]) >= 0.0
        if now:
            assert float(after.speed[0]) <= float(state.speed[0])
            slowest = min(slowest, float(after.speed[0]))
        else:
            after = after.replace(speed=jnp.full(2, 10.0), acceleration=jnp.zeros(2))
        braked.append(now)
        state = after.replace(step=jnp.int32(number + 1))
    changes = np.flatnonzero(np.diff(np.array(braked).astype(int)) == 1)
    assert 3 <= len(changes) <= 12, "an interval every 10 to 30 s"
    longest = max(map(len, "".join("x" if b else " " for b in braked).split()))
    assert faulty_agents.BRAKING_S[0] - 0.3 <= longest * small.timestep_s <= faulty_agents.BRAKING_S[1] + 0.3
    assert slowest < 10.0 + 1.5 * MIN_ACCELERATION + 3.0, "as hard as it can"


def test_intervals_differ_between_agents_and_episodes_and_are_the_same_in_a_fork(
    open_field: Build, small: SimulatorConfig
) -> None:
    state = with_faults(open_field([0.0] * 6, [50.0 * i for i in range(6)], [5.0] * 6), [SUDDEN_BRAKING] * 6)
    braking = jax.jit(lambda s, k: faulty_agents.brakes_suddenly(s.replace(step=k), small))

    def pattern(world: WorldState) -> np.ndarray:
        return np.stack([braking(world, jnp.int32(k)) for k in range(0, 240, 2)])

    one, same = pattern(state), pattern(state)
    np.testing.assert_array_equal(one, same)
    assert len({column.tobytes() for column in one.T}) == 6
    other = pattern(state.replace(scenario=state.scenario.replace(light_phase=jnp.asarray(0.37))))
    assert not np.array_equal(one, other)


def test_blind_agents_observe_no_others(open_field: Build) -> None:
    state = with_faults(open_field([0.0] * 3, [0.0, 5.0, 10.0], [5.0] * 3), [BLIND, SUDDEN_BRAKING, NO_FAULT])
    seen, mask = faulty_agents.hide_others_from_blind(state, jnp.ones((3, 2, 4)), jnp.ones((3, 2), bool))
    np.testing.assert_array_equal(mask.any(axis=1), [False, True, True])
    np.testing.assert_array_equal(seen.any(axis=(1, 2)), [False, True, True])


def test_they_count_neither_in_metrics_nor_for_a_reset(open_field: Build, small: SimulatorConfig) -> None:
    """Both faulty agents crash; the other drives on: no collision is counted and the world goes on."""
    state = with_faults(open_field([0.0] * 3, [0.0, 5.0, 10.0], [5.0] * 3), [BLIND, SUDDEN_BRAKING, NO_FAULT])
    crashed = state.replace(collisions=jnp.array([1, 1, 0]), active=jnp.array([False, False, True]))
    batch = jax.tree.map(lambda leaf: leaf[None], crashed)
    metrics = summarise(batch, 0, 0.0)
    assert metrics.agents == 1
    assert metrics.collision_rate == 0.0
    assert not needs_reset(batch, small).any()
    sound = batch.replace(active=jnp.array([[True, True, False]]))
    assert needs_reset(sound, small).all(), "faulty agents do not keep a world alive"


def test_shares_of_controllers_hold_on_average() -> None:
    shares = {"idm": 0.2, "parked": 0.15, "crashed": 0.1, "blind": 0.05, "braker": 0.1}
    config = SimulatorConfig(**{f"{name}_share": share for name, share in shares.items()})
    kind = jnp.full(20_000, CAR)
    assigned = jax.jit(partial(assign_controllers, config=config))(jax.random.key(2), kind)
    found = {
        "idm": assigned.control == IDM,
        "parked": (assigned.control == PARKED) & ~assigned.crashed,
        "crashed": (assigned.control == PARKED) & assigned.crashed,
        "blind": assigned.fault == BLIND,
        "braker": assigned.fault == SUDDEN_BRAKING,
    }
    for name, share in shares.items():
        assert float(found[name].mean()) == pytest.approx(share, abs=0.012), name  # four standard deviations
    assert not (assigned.fault[assigned.control != POLICY]).any(), "only agents driven by policy have faults"
    walkers = assign_controllers(jax.random.key(2), jnp.full(500, PEDESTRIAN), config)
    assert not (walkers.control == PARKED).any()
    plain = assign_controllers(jax.random.key(2), kind, SimulatorConfig())
    assert not (plain.control.any() | plain.fault.any())


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="must not exceed 1"):
        SimulatorConfig(idm_share=0.6, parked_share=0.6)
    with pytest.raises(ValueError, match="braker_share"):
        SimulatorConfig(braker_share=-0.1)
