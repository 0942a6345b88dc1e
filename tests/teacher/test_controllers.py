"""Agents that a policy does not drive, or drives with something wrong, are no examples to learn from."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from simulator.atlas.load import load_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.rollout import reset_worlds
from simulator.state import BLIND, IDM, NO_FAULT, SUDDEN_BRAKING
from teacher.config import TeacherConfig
from teacher.ppo.environment import finished_metrics, make_environment


def test_only_sound_agents_driven_by_policy_are_learnt_from_and_counted() -> None:
    """Agent 0 is blind, 1 brakes, 2 is driven by the intelligent driver model, the others are sound."""
    simulator = SimulatorConfig(timestep_s=0.25, num_agents=6)
    config = TeacherConfig(maps=("Town02",), num_worlds=16, simulator=simulator)
    environment, atlas = make_environment(config), load_atlas(config.maps)
    plain = jax.jit(partial(reset_worlds, config=simulator, num_worlds=2))(jax.random.key(1), atlas)
    noise = jnp.full((2, 6), NO_FAULT).at[:, 0].set(BLIND).at[:, 1].set(SUDDEN_BRAKING)
    control = jnp.zeros((2, 6), jnp.int32).at[:, 2].set(IDM)
    scenario = plain.scenario.replace(fault=noise, control=control, has_faults=True, has_idm=True)
    driven = plain.present & (control == 0)
    worlds = plain.replace(scenario=scenario, active=driven, spawned=driven & (noise == NO_FAULT))
    transition = jax.jit(environment.step)(atlas, worlds, jnp.full((2, 6), COAST))
    np.testing.assert_array_equal(transition.valid, worlds.spawned)
    assert not transition.valid[:, :3].any()
    assert transition.state.active[:, :2].any(), "the blind and the braking drive"
    np.testing.assert_array_equal(transition.reward[:, 2], 0.0)
    for values in finished_metrics(worlds).values():
        np.testing.assert_array_equal(jnp.isnan(values), ~worlds.spawned)
    look = jax.jit(environment.observe)
    np.testing.assert_array_equal(look(atlas, worlds).others_mask[:, 0].any(axis=-1), [False, False])
    everyone = scenario.replace(fault=jnp.full((2, 6), NO_FAULT))
    sound = look(atlas, worlds.replace(scenario=everyone))
    np.testing.assert_array_equal(look(atlas, worlds).others_mask[:, 1:], sound.others_mask[:, 1:])
    assert sound.others_mask[:, 0].any()
