"""The update learns what is known to be true, is a function of its seed, and compiles once."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.network import NetworkConfig, TeacherNetwork
from teacher.ppo import PPOConfig
from teacher.train import MEGA, add_experience, agent_steps, init_state, make_update, reset_finished

NETWORK = NetworkConfig(flat_widths=(16,), set_widths=(8,), trunk_widths=(16,))
CONFIG = PPOConfig(
    rollout_steps=16,
    epochs=4,
    minibatch_size=256,
    keep_fraction=1.0,
    filter_threshold=0.0,
    discount=0.9,
    learning_rate=1e-2,
    schedule="linear",
    entropy_weight=0.0,
)


def train(probe, config=CONFIG, updates=30, seed=0):
    environment = probe.build()
    network = TeacherNetwork(NETWORK, num_actions=environment.num_actions)
    samples = config.rollout_steps * environment.num_worlds * environment.num_agents
    state = init_state(environment, network, config, (), seed)
    update = make_update(environment, network, config, updates * samples)
    history = []
    for _ in range(updates):
        state, metrics = update(state, ())
        history.append(metrics)
    return environment, network, state, history


def judge(environment, network, state):
    """Observation, action probabilities and value of every agent in the last state."""
    observation = environment.observe((), state.worlds)
    logits, value = network.apply(state.params, observation)
    return observation, jax.nn.softmax(logits), value


def test_constant_reward_has_value_one(probe):
    _, _, value = judge(*train(probe("constant"))[:3])
    np.testing.assert_allclose(value, 1.0, atol=0.1)


def test_value_follows_what_is_seen(probe):
    observation, _, value = judge(*train(probe("seen"))[:3])
    np.testing.assert_allclose(value, observation.ego[..., 0], atol=0.1)


def test_delayed_reward_is_discounted(probe):
    environment, network, state, _ = train(probe("delayed"), CONFIG)
    later = environment.step((), state.worlds, jnp.zeros((8, 8), jnp.int32)).state
    for worlds in (state.worlds, later):
        observation = environment.observe((), worlds)
        value = network.apply(state.params, observation, method="value")
        np.testing.assert_allclose(value, jnp.where(observation.ego[..., 1] == 0, 0.9, 1.0), atol=0.1)


@pytest.mark.parametrize("selection", ["largest", "random"])
def test_better_action_is_chosen(probe, selection):
    config = PPOConfig(**{**CONFIG.__dict__, "keep_fraction": 0.5, "filter_threshold": 0.01, "selection": selection})
    _, probabilities, value = judge(*train(probe("action"), config)[:3])
    assert float(probabilities[..., 0].min()) > 0.95
    np.testing.assert_allclose(value, 1.0, atol=0.1)


def test_better_action_depends_on_what_is_seen(probe):
    observation, probabilities, value = judge(*train(probe("action and signal"))[:3])
    right = jnp.where(observation.ego[..., 0] > 0, probabilities[..., 0], probabilities[..., 1])
    assert float(right.min()) > 0.95
    np.testing.assert_allclose(value, 1.0, atol=0.1)
