"""The update learns what is known to be true, is a function of its seed, and compiles once."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.network.actor_critic import NetworkConfig, TeacherNetwork
from teacher.ppo.losses import PPOConfig
from teacher.ppo.rollout import reset_finished
from teacher.ppo.update import MEGA, add_agent_steps, agent_steps, init_state, make_update

NETWORK = NetworkConfig(flat_widths=(16,), set_widths=(8,), trunk_widths=(16,))
CONFIG = PPOConfig(
    rollout_steps=16,
    epochs=8,
    minibatch_size=128,
    keep_fraction=0.5,
    selection="random",
    discount=0.9,
    learning_rate=1e-2,
    schedule="linear",
    entropy_weight=0.0,
)
SAMPLES = 16 * 8 * 8
UPDATES = 30


@functools.cache
def build(environment):
    network = TeacherNetwork(NETWORK, environment.num_actions)
    return network, make_update(environment, network, CONFIG, UPDATES * SAMPLES)


@pytest.fixture(scope="module")
def environment(make_probe):
    return make_probe()


@pytest.fixture(scope="module")
def train(environment, choose_probe):
    def run(name, updates=UPDATES, seed=0, out=False):
        """Network, last state and the metrics of every update."""
        network, update = build(environment)
        state = init_state(environment, network, CONFIG, choose_probe(name, out), seed)
        history = []
        for _ in range(updates):
            state, metrics = update(state, choose_probe(name, out))
            history.append(jax.device_get(metrics))
        return network, state, history

    return run


@pytest.fixture(scope="module")
def judge(environment):
    def look(network, worlds, params):
        """What agents see in `worlds`, how likely they take each action, and what value they expect."""
        observation = environment.observe(None, worlds)
        logits, value = network.apply(params, observation)
        return observation.ego, jax.nn.softmax(logits), value

    return look


def test_constant_reward_has_value_one(train, judge):
    network, state, _ = train("constant")
    _, _, value = judge(network, state.worlds, state.params)
    np.testing.assert_allclose(value, 1.0, atol=0.1)


def test_value_follows_what_is_seen(train, judge):
    network, state, history = train("seen")
    ego, _, value = judge(network, state.worlds, state.params)
    np.testing.assert_allclose(value, ego[..., 0], atol=0.1)
    assert history[-1]["value/explained_variance"] > 0.95


def test_delayed_reward_is_discounted(train, judge, environment, choose_probe):
    network, state, _ = train("delayed")
    later = environment.step(choose_probe("delayed"), state.worlds, jnp.zeros((8, 8), jnp.int32)).state
    seen = set()
    for worlds in (state.worlds, later):
        ego, _, value = judge(network, worlds, state.params)
        np.testing.assert_allclose(value, jnp.where(ego[..., 1] == 0, 0.9, 1.0), atol=0.1)
        seen |= set(np.unique(ego[..., 1]))
    assert seen == {0.0, 1.0}


def test_better_action_is_chosen(train, judge):
    network, state, _ = train("action")
    _, probabilities, value = judge(network, state.worlds, state.params)
    assert float(probabilities[..., 0].min()) > 0.95
    np.testing.assert_allclose(value, 1.0, atol=0.1)


def test_better_action_depends_on_what_is_seen(train, judge):
    network, state, history = train("action and signal")
    ego, probabilities, value = judge(network, state.worlds, state.params)
    right = jnp.where(ego[..., 0] > 0, probabilities[..., 0], probabilities[..., 1])
    assert float(right.min()) > 0.95
    np.testing.assert_allclose(value, 1.0, atol=0.15)
    assert max(row["filter/trained_share"] for row in history) == 0.5


def test_same_seed_same_numbers_and_another_seed_others(train):
    runs = [train("seen", updates=3, seed=seed)[1:] for seed in (1, 1, 2)]
    leaves = [[np.asarray(leaf) for leaf in jax.tree.leaves(state.params)] for state, _ in runs]
    assert all(np.array_equal(one, same) for one, same in zip(leaves[0], leaves[1]))
    assert not all(np.array_equal(one, other) for one, other in zip(leaves[0], leaves[2]))
    np.testing.assert_equal(runs[0][1], runs[1][1])


def test_update_compiles_once(train, environment):
    train("constant", updates=2)
    train("action", updates=2, seed=5)
    assert build(environment)[1]._cache_size() == 1


def test_agents_out_of_play_are_neither_counted_nor_learnt_from(train):
    _, state, history = train("constant", out=True, updates=1)
    assert history[0]["agent_steps"] == agent_steps(state.experience) == SAMPLES * 7 // 8
    np.testing.assert_allclose(history[0]["filter/trained_share"], 0.5 * 8 / 7, rtol=1e-6)
    assert history[0]["reward/total"] == history[0]["reward/probe"] == history[0]["event/over"] == 1.0


def test_observations_computed_again_are_those_that_were_kept(train, environment, choose_probe):
    """Two updates that differ in nothing but memory end in the same weights."""
    _, kept, _ = train("action and signal", updates=2)
    config = dataclasses.replace(CONFIG, recompute_observations=True)
    network = TeacherNetwork(NETWORK, environment.num_actions)
    again = make_update(environment, network, config, UPDATES * SAMPLES)
    state = init_state(environment, network, config, choose_probe("action and signal"), 0)
    for _ in range(2):
        state, _ = again(state, choose_probe("action and signal"))
    for one, other in zip(jax.tree.leaves(kept.params), jax.tree.leaves(state.params)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_stale_actors_with_v_trace_still_learn(environment, choose_probe, judge):
    """Actors that are up to seven updates old; what they gather is corrected for what the learner would do by now.

    Actors of one mind show the learner nothing for eight updates, in which normalised noise may talk it out of what it
    knows: the entropy keeps them trying (without it, two of eight seeds forget half of what they had learnt).
    """
    updates = 32
    config = dataclasses.replace(
        CONFIG, actor_refresh=8, v_trace=True, recompute_observations=True, entropy_weight=0.01
    )
    network = TeacherNetwork(NETWORK, environment.num_actions)
    update = make_update(environment, network, config, updates * SAMPLES)
    state = init_state(environment, network, config, choose_probe("action and signal"), 0)
    for number in range(updates):
        before = jax.device_get(state.acting)
        state, _ = update(state, choose_probe("action and signal"))
        refreshed = (number + 1) % 8 == 0
        kernel = lambda params: np.asarray(params["params"]["actor"]["head"]["kernel"])  # noqa: E731
        assert np.array_equal(kernel(before), kernel(state.acting)) is not refreshed
    ego, probabilities, value = judge(network, state.worlds, state.params)
    right = jnp.where(ego[..., 0] > 0, probabilities[..., 0], probabilities[..., 1])
    assert float(right.min()) > 0.9
    np.testing.assert_allclose(value, 1.0, atol=0.2)


def test_only_finished_worlds_are_reset(make_probe, getkey):
    environment = make_probe(world_age=10)
    worlds = environment.reset(None, jax.random.split(getkey(), 8))
    ages = jnp.asarray([3, 10, 0, 12, 10, 9, 10, 10], jnp.int32)
    signals = worlds.signal.at[:].set(5.0)
    worlds = worlds._replace(age=ages, signal=signals)
    fresh, metrics = jax.jit(lambda key: reset_finished(environment, None, worlds, jnp.asarray(False), key))(
        getkey()
    )
    finished = np.asarray(ages >= 10)
    np.testing.assert_array_equal(fresh.age, np.where(finished, 0, ages))
    np.testing.assert_array_equal(np.asarray(fresh.signal[:, 0] != 5.0), finished)
    assert metrics["episode/finished"] == 5
    assert metrics["episode/signal"] == 5.0


def test_experience_is_counted_beyond_32_bits():
    experience = jnp.asarray([4095, MEGA - 5], jnp.int32)  # 2^32 - 5
    assert (
        agent_steps(add_agent_steps(experience, jnp.asarray(2_000_000, jnp.int32))) == 2**32 - 5 + 2_000_000
    )
