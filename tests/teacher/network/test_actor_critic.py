"""The network does not care about the order of elements, about padding, or about leading axes."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from teacher.config import from_dict
from teacher.network.actor_critic import (
    NetworkConfig,
    PerceiverConfig,
    TeacherNetwork,
    count_parameters,
    init_params,
    masked_max,
    sample_actions,
    sort_features,
)
from teacher.observation.observe import OBSERVATIONS, example_observation
from teacher.policy import load_policy


class Seen(NamedTuple):
    """A small observation with two sets, and a number for the critic alone."""

    ego: Any  # [agents, 5]
    others: Any  # [agents, 6, 4]
    others_mask: Any  # [agents, 6]
    lanes_set: Any  # [agents, 3, 2]
    lanes_mask: Any  # [agents, 3]
    goal: Any  # [agents, 2]
    critic_remaining: Any  # [agents, 1]


SIZES = PerceiverConfig(width=16, heads=2, agent_layers=1, latents=2, head_width=16, head_blocks=1)
SMALL = NetworkConfig(flat_widths=(16,), set_widths=(8, 8), trunk_widths=(32, 16), perceiver=SIZES)
NETWORKS = {
    "deep_sets": TeacherNetwork(SMALL),
    "deep_sets shared": TeacherNetwork(dataclasses.replace(SMALL, shared_encoder=True)),
    "perceiver shared": TeacherNetwork(dataclasses.replace(SMALL, encoder="perceiver", shared_encoder=True)),
}


@pytest.fixture(scope="module")
def seen() -> Seen:
    rng = np.random.default_rng(0)
    shapes = {"ego": (7, 5), "others": (7, 6, 4), "lanes_set": (7, 3, 2), "goal": (7, 2)}
    shapes["critic_remaining"] = (7, 1)
    values = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    others_mask = jnp.asarray(rng.random((7, 6)) < 0.6).at[0].set(False)  # one agent is alone
    return Seen(**values, others_mask=others_mask, lanes_mask=jnp.asarray(rng.random((7, 3)) < 0.6))


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request) -> TeacherNetwork:
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def apply(network):
    return jax.jit(network.apply)  # compiled once per shape: op by op, each test would take seconds


@pytest.fixture(scope="module")
def gradients(network):
    """Gradients of a function of the logits, and of one of the value."""

    def both(params, seen):
        of_policy = jax.grad(lambda params: jnp.sum(network.apply(params, seen)[0] ** 2))(params)
        of_value = jax.grad(lambda params: jnp.sum(network.apply(params, seen)[1] ** 2))(params)
        return of_policy["params"], of_value["params"]

    return jax.jit(both)


@pytest.fixture(scope="module")
def params(network, seen):
    # larger weights than at the start, so that differences would show
    return jax.jit(lambda key: jax.tree.map(lambda leaf: leaf * 3.0, init_params(network, seen, key)))(
        jax.random.key(0)
    )


def test_fields_are_sorted_by_their_names(seen):
    features = sort_features(seen)
    assert [part.shape for part in features.flat] == [(7, 5), (7, 2)]
    assert [part.shape for part in features.critic] == [(7, 1)]
    assert {name: part.shape for name, (part, _) in features.sets.items()} == {
        "others": (7, 6, 4),
        "lanes": (7, 3, 2),
    }
    without = sort_features(seen._replace(critic_remaining=None))
    assert without.critic == []
    assert len(without.flat) == 2


def test_a_set_for_the_critic_alone_is_refused():
    class Wrong(NamedTuple):
        ego: Any = np.zeros((1, 2))
        critic_rivals: Any = np.zeros((1, 3, 2))
        critic_rivals_mask: Any = np.zeros((1, 3), bool)

    with pytest.raises(ValueError, match=r"critic_rivals is a set; expected .* flat"):
        sort_features(Wrong())


def test_order_of_elements_does_not_matter(apply, seen, params, rng):
    order = rng.permutation(6)
    shuffled = seen._replace(others=seen.others[:, order], others_mask=seen.others_mask[:, order])
    lanes = seen._replace(lanes_set=seen.lanes_set[:, ::-1], lanes_mask=seen.lanes_mask[:, ::-1])
    for same in (shuffled, lanes):
        np.testing.assert_allclose(apply(params, seen)[0], apply(params, same)[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(apply(params, seen)[1], apply(params, same)[1], rtol=1e-4, atol=1e-4)


def test_elements_that_are_present_matter(apply, seen, params):
    everywhere = seen._replace(others_mask=jnp.ones((7, 6), bool), lanes_mask=jnp.ones((7, 3), bool))
    other = everywhere._replace(others=everywhere.others.at[:, 2].set(5.0))
    lane = everywhere._replace(lanes_set=everywhere.lanes_set.at[:, 2].set(5.0))
    for changed in (other, lane):
        assert np.abs(apply(params, everywhere)[0] - apply(params, changed)[0]).min(axis=0).max() > 1e-4


def test_what_lies_behind_the_mask_does_not_matter(apply, gradients, seen, params):
    garbage = seen._replace(
        others=jnp.where(seen.others_mask[..., None], seen.others, 1e6),
        lanes_set=jnp.where(seen.lanes_mask[..., None], seen.lanes_set, -1e6),
    )
    for one, other in zip(apply(params, seen), apply(params, garbage)):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        jax.tree.leaves(gradients(params, seen)), jax.tree.leaves(gradients(params, garbage))
    ):
        np.testing.assert_array_equal(one, other)


def test_nothing_to_see_is_no_trouble(apply, gradients, seen, params):
    nothing = seen._replace(
        others_mask=jnp.zeros_like(seen.others_mask), lanes_mask=jnp.zeros_like(seen.lanes_mask)
    )
    for part in jax.tree.leaves((apply(params, nothing), gradients(params, nothing))):
        assert np.isfinite(part).all()
    assert np.ptp(apply(params, nothing)[0], axis=0).max() > 1e-3  # the flat features still count


def test_more_padding_changes_nothing(apply, seen, params):
    padded = seen._replace(
        others=jnp.pad(seen.others, ((0, 0), (0, 3), (0, 0))),
        others_mask=jnp.pad(seen.others_mask, ((0, 0), (0, 3))),
    )
    np.testing.assert_allclose(apply(params, seen)[0], apply(params, padded)[0], rtol=1e-4, atol=1e-4)


def test_any_leading_axes(apply, seen, params):
    batched = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), seen)
    logits, value = apply(params, batched)
    assert logits.shape == (2, 7, 12)
    assert value.shape == (2, 7)
    np.testing.assert_allclose(logits[0], apply(params, seen)[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(value[1][::-1], apply(params, seen)[1], rtol=1e-4, atol=1e-4)


def test_one_tower_alone_gives_the_same(network, apply, seen, params):
    @jax.jit
    def alone(params, seen):
        return tuple(network.apply(params, seen, method=method) for method in ("policy", "value"))

    for one, both in zip(alone(params, seen), apply(params, seen)):
        np.testing.assert_allclose(one, both, rtol=1e-4, atol=1e-4)


def test_what_actor_and_critic_share_is_the_encoder_or_nothing(network, gradients, seen, params):
    of_policy, of_value = gradients(params, seen)
    assert ("encoder" in of_value) == network.config.shared_encoder
    assert all((leaf == 0).all() for leaf in jax.tree.leaves((of_value["actor"], of_policy["critic"])))
    if network.config.shared_encoder:
        assert any((leaf != 0).any() for leaf in jax.tree.leaves(of_policy["encoder"]))
        assert any((leaf != 0).any() for leaf in jax.tree.leaves(of_value["encoder"]))


def test_the_policy_does_not_see_what_is_for_the_critic(apply, seen, params):
    late = seen._replace(critic_remaining=seen.critic_remaining + 3.0)
    (logits, value), (late_logits, late_value) = apply(params, seen), apply(params, late)
    np.testing.assert_array_equal(logits, late_logits)
    assert (np.abs(value - late_value) > 1e-3).all()


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


def test_bfloat16_layers_give_float32_answers(network, apply, seen, getkey):
    low = TeacherNetwork(dataclasses.replace(network.config, dtype="bfloat16"))
    params = jax.jit(lambda key: init_params(low, seen, key))(getkey())
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    rough, exact = jax.jit(low.apply)(params, seen)[1], apply(params, seen)[1]
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact, atol=0.2)
    assert np.abs(rough - exact).max() > 1e-5  # it did compute in fewer digits


@pytest.mark.parametrize(("name", "millions"), [("gigaflow", 6.0), ("base", 2.7), ("cpu", 0.15)])
def test_the_shipped_sizes_are_what_they_say(repository, name, millions):
    network = yaml.safe_load((repository / "configs" / "teacher" / f"{name}.yaml").read_text())["network"]
    params = weights_of(from_dict(NetworkConfig, network, name))
    assert count_parameters(params) / 1e6 == pytest.approx(millions, rel=0.05)
    assert count_parameters(params["actor"]) == pytest.approx(count_parameters(params["critic"]), rel=0.03)
    assert set(params) == {"actor", "critic"}


def weights_of(config: NetworkConfig) -> Any:
    """Shapes of a network's weights for the lean observation."""
    network = TeacherNetwork(config)
    observation = example_observation(OBSERVATIONS["lean"])
    return jax.eval_shape(network.init, jax.random.key(0), observation)["params"]


def test_the_shipped_policy_is_read_with_its_own_weights():
    policy = load_policy("pretrained")
    assert policy.network.encoder == "deep_sets"
    tower = policy.params["params"]["actor"]
    assert {"flat", "others", "lanes", "edges", "stops", "trunk", "head"} == set(tower)


@pytest.mark.parametrize(
    "field",
    [
        {"set_widths": ()},
        {"trunk_widths": (0,)},
        {"activation": "sin"},
        {"dtype": "int8"},
        {"encoder": "lstm"},
    ],
)
def test_impossible_values_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"network.{name}="):
        NetworkConfig(**field)
