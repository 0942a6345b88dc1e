"""Attention by hand, and what a maximum cannot say."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from teacher.network.actor_critic import (
    NetworkConfig,
    PerceiverConfig,
    TeacherNetwork,
    count_parameters,
    init_params,
)
from teacher.network.perceiver import Attention, masked_softmax
from teacher.observation.observe import OBSERVATIONS, example_observation


def test_softmax_is_over_the_elements_that_exist():
    scores = jnp.log(jnp.asarray([[1.0, 3.0, 500.0], [2.0, 2.0, 4.0], [1.0, 1.0, 1.0]]))
    mask = jnp.asarray([[True, True, False], [True, True, True], [False, False, False]])
    expected = [[0.25, 0.75, 0.0], [0.25, 0.25, 0.5], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(masked_softmax(scores, mask), expected, rtol=1e-6)


def test_softmax_stands_large_scores_and_its_slope_is_finite():
    scores = jnp.asarray([[3e4, -3e4, 3e38]])
    mask = jnp.asarray([[True, True, False]])
    np.testing.assert_array_equal(masked_softmax(scores, mask), [[1.0, 0.0, 0.0]])
    for there in (mask, jnp.zeros_like(mask)):
        slope = jax.grad(lambda scores, mask: masked_softmax(scores, mask)[0, 1])(scores, there)
        assert np.isfinite(slope).all()
        assert slope[0, 2] == 0


def test_attention_is_a_mean_weighted_by_likeness():
    """One head, identity projections: weights e^(q.k / sqrt 2)."""
    eye = {"kernel": jnp.eye(2)}
    params = {"query": eye, "key": eye, "value": eye, "out": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}
    query, elements = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[2.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    out = Attention(1, jnp.float32).apply(
        {"params": params}, query, elements, jnp.asarray([True, True, False])
    )
    first = np.exp(np.sqrt(2.0)) / (np.exp(np.sqrt(2.0)) + 1.0)
    np.testing.assert_allclose(out, [[2.0 * first, 2.0 * (1.0 - first)]], rtol=1e-5)


class Pairs(NamedTuple):
    """A question and labelled answers."""

    ego: Any  # [batch, 4]: which label is asked for, one-hot
    others: Any  # [batch, 4, 5]: label, one-hot, and its answer
    others_mask: Any  # [batch, 4]


def test_it_learns_to_look_where_it_is_asked_to(getkey):
    """The value to learn is the answer beside the label that the flat features ask for."""
    sizes = PerceiverConfig(width=16, heads=2, agent_layers=1, latents=1, head_width=32, head_blocks=1)
    network = TeacherNetwork(NetworkConfig(encoder="perceiver", shared_encoder=True, perceiver=sizes))

    def draw(key):
        ask_key, answer_key, order_key = jax.random.split(key, 3)
        asked = jax.random.randint(ask_key, (128,), 0, 4)
        answer = jax.random.rademacher(answer_key, (128, 4), jnp.float32)
        label = jax.vmap(lambda key: jax.random.permutation(key, 4))(jax.random.split(order_key, 128))
        others = jnp.concatenate([jax.nn.one_hot(label, 4), answer[..., None]], axis=-1)
        wanted = jnp.sum(jnp.where(label == asked[:, None], answer, 0.0), axis=-1)
        return Pairs(jax.nn.one_hot(asked, 4), others, jnp.ones((128, 4), bool)), wanted

    def error(params, batch):
        return jnp.mean((network.apply(params, batch[0], method="value") - batch[1]) ** 2)

    optimiser = optax.adam(5e-3)

    @jax.jit
    def train(key):
        key, params_key, test_key = jax.random.split(key, 3)
        params = init_params(network, draw(test_key)[0], params_key)

        def step(carry, key):
            params, state = carry
            gradient = jax.grad(error)(params, draw(key))
            change, state = optimiser.update(gradient, state)
            return (optax.apply_updates(params, change), state), None

        (params, _), _ = jax.lax.scan(step, (params, optimiser.init(params)), jax.random.split(key, 250))
        return error(params, draw(test_key))

    assert train(getkey()) < 0.2  # always answering 0 costs 1


@pytest.mark.parametrize(
    ("width", "heads", "head_width", "millions"),
    [(64, 4, 224, 0.75), (128, 8, 384, 2.5), (512, 8, 896, 25.0)],
)
def test_the_documented_sizes_are_the_papers(width, heads, head_width, millions):
    sizes = PerceiverConfig(width=width, heads=heads, head_width=head_width)
    network = TeacherNetwork(NetworkConfig(encoder="perceiver", shared_encoder=True, perceiver=sizes))
    observation = example_observation(OBSERVATIONS["lean"])
    params = jax.eval_shape(partial(network.init, jax.random.key(0)), observation)
    assert count_parameters(params) / 1e6 == pytest.approx(millions, rel=0.05)
    assert set(params["params"]) == {"encoder", "actor", "critic"}


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ({"latents": 0}, "perceiver.latents=0"),
        ({"width": 30, "heads": 4}, "width=30 must be a multiple of .*heads=4"),
    ],
)
def test_impossible_sizes_are_refused_by_name(field, sentence):
    with pytest.raises(ValueError, match=sentence):
        PerceiverConfig(**field)
