"""The network does not care about the order of elements, about padding, or about leading axes."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.network import (
    NetworkConfig,
    TeacherNetwork,
    count_parameters,
    init_params,
    masked_max,
    sample_actions,
    sort_features,
)


class Seen(NamedTuple):
    """A small observation with two sets."""

    ego: Any  # [agents, 5]
    others: Any  # [agents, 6, 4]
    others_mask: Any  # [agents, 6]
    lanes_set: Any  # [agents, 3, 2]
    lanes_mask: Any  # [agents, 3]
    goal: Any  # [agents, 2]


NETWORK = TeacherNetwork(
    NetworkConfig(flat_widths=(16,), set_widths=(8, 8), trunk_widths=(32, 16)), num_actions=12
)


apply = jax.jit(NETWORK.apply)  # compiled once per shape: op by op, each test would take seconds


@pytest.fixture(scope="module")
def seen() -> Seen:
    rng = np.random.default_rng(0)
    shapes = {"ego": (7, 5), "others": (7, 6, 4), "lanes_set": (7, 3, 2), "goal": (7, 2)}
    values = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    others_mask = jnp.asarray(rng.random((7, 6)) < 0.6).at[0].set(False)  # one agent is alone
    return Seen(**values, others_mask=others_mask, lanes_mask=jnp.asarray(rng.random((7, 3)) < 0.6))


@pytest.fixture(scope="module")
def params(seen):
    # larger weights than at the start, so that differences would show
    return jax.jit(lambda key: jax.tree.map(lambda leaf: leaf * 3.0, init_params(NETWORK, seen, key)))(
        jax.random.key(0)
    )


def test_fields_are_sorted_by_their_names(seen):
    features = sort_features(seen)
    assert [part.shape for part in features.flat] == [(7, 5), (7, 2)]
    assert {name: part.shape for name, (part, _) in features.sets.items()} == {
        "others": (7, 6, 4),
        "lanes": (7, 3, 2),
    }


def test_order_of_elements_does_not_matter(seen, params, rng):
    order = rng.permutation(6)
    shuffled = seen._replace(others=seen.others[:, order], others_mask=seen.others_mask[:, order])
    np.testing.assert_allclose(apply(params, seen)[0], apply(params, shuffled)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(apply(params, seen)[1], apply(params, shuffled)[1], rtol=1e-5, atol=1e-6)


def test_elements_that_are_present_matter(seen, params):
    everywhere = seen._replace(others_mask=jnp.ones((7, 6), bool))
    changed = everywhere._replace(others=everywhere.others.at[:, 2].set(5.0))
    assert np.abs(apply(params, everywhere)[0] - apply(params, changed)[0]).min(axis=0).max() > 1e-4


def test_what_lies_behind_the_mask_does_not_matter(seen, params):
    hidden = jnp.where(seen.others_mask[..., None], seen.others, 1e6)
    garbage = seen._replace(others=hidden)
    for one, other in zip(apply(params, seen), apply(params, garbage)):
        np.testing.assert_array_equal(one, other)

    @jax.jit
    @jax.grad
    def gradient(params, seen):
        logits, value = NETWORK.apply(params, seen)
        return jnp.sum(logits**2) + jnp.sum(value**2)

    for one, other in zip(
        jax.tree.leaves(gradient(params, seen)), jax.tree.leaves(gradient(params, garbage))
    ):
        np.testing.assert_array_equal(one, other)


def test_more_padding_changes_nothing(seen, params):
    padded = seen._replace(
        others=jnp.pad(seen.others, ((0, 0), (0, 3), (0, 0))),
        others_mask=jnp.pad(seen.others_mask, ((0, 0), (0, 3))),
    )
    np.testing.assert_allclose(apply(params, seen)[0], apply(params, padded)[0], rtol=1e-5, atol=1e-5)


def test_any_leading_axes(seen, params):
    batched = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), seen)
    logits, value = apply(params, batched)
    assert logits.shape == (2, 7, 12)
    assert value.shape == (2, 7)
    np.testing.assert_allclose(logits[0], apply(params, seen)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value[1][::-1], apply(params, seen)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "place"), [("policy", 0), ("value", 1)])
def test_one_tower_alone_gives_the_same(seen, params, method, place):
    alone = jax.jit(lambda params, seen: NETWORK.apply(params, seen, method=method))(params, seen)
    np.testing.assert_allclose(alone, apply(params, seen)[place], rtol=1e-5, atol=1e-5)


def test_actor_and_critic_share_nothing(seen, params):
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(NETWORK.apply(params, seen)[1])))(params)["params"]
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient["actor"]))
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient["critic"]))


def test_first_policy_is_nearly_uniform_and_weights_have_their_spread(seen, getkey):
    wide = TeacherNetwork(NetworkConfig(trunk_widths=(256, 256)), 12)
    params = jax.jit(lambda key: init_params(wide, seen, key))(getkey())
    probabilities = jax.nn.softmax(jax.jit(wide.apply)(params, seen)[0])
    np.testing.assert_allclose(probabilities, 1 / 12, rtol=0.1)
    trunk = params["params"]["actor"]["trunk"]["Dense_1"]
    np.testing.assert_allclose(jnp.std(trunk["kernel"]), np.sqrt(2 / 256), rtol=0.03)
    assert (trunk["bias"] == 0).all()
    assert count_parameters(params) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_masked_max_takes_the_largest_and_passes_its_gradient_there():
    values = jnp.asarray([[[1.0, -5.0], [3.0, -2.0], [9.0, 9.0]], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])
    mask = jnp.asarray([[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(masked_max(values, mask), [[3.0, -2.0], [0.0, 0.0]])
    gradient = jax.grad(lambda values: jnp.sum(masked_max(values, mask) * jnp.asarray([2.0, 5.0])))(values)
    expected = np.zeros((2, 3, 2))
    expected[0, 1] = [2.0, 5.0]
    np.testing.assert_array_equal(gradient, expected)


def test_actions_are_drawn_with_their_probabilities(getkey):
    probabilities = np.array([0.5, 0.0, 0.2, 0.3])
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(probabilities) + 1e-30), (100, 400, 4)).astype(jnp.float32)
    drawn = sample_actions(logits, getkey())
    assert drawn.shape == (100, 400)
    assert drawn.dtype == jnp.int32
    shares = np.bincount(np.asarray(drawn).ravel(), minlength=4) / 40_000
    np.testing.assert_allclose(shares, probabilities, atol=0.0125)  # 5 standard deviations
    assert shares[1] == 0


def test_bfloat16_layers_give_float32_answers(seen, getkey):
    full = NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,))
    config = dataclasses.replace(full, dtype="bfloat16")
    params = jax.jit(lambda key: init_params(TeacherNetwork(config), seen, key))(getkey())
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    low, high = (
        TeacherNetwork(config).apply(params, seen)[1],
        TeacherNetwork(full).apply(params, seen)[1],
    )
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, high, atol=0.1)


@pytest.mark.parametrize(
    "field", [{"set_widths": ()}, {"trunk_widths": (0,)}, {"activation": "sin"}, {"dtype": "int8"}]
)
def test_impossible_values_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"network.{name}="):
        NetworkConfig(**field)
