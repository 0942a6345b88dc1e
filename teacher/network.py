"""The teacher's network: permutation-invariant, actor and critic apart (GIGAFLOW, arXiv 2502.03349).

Each of the two reads the same observation through its own weights: an MLP for the flat features, one Deep Sets
encoder per set (an MLP per element, then a maximum over the elements that exist), an MLP trunk, a linear head.

An observation is any dataclass or NamedTuple whose fields follow one rule: a field `name` beside a field
`name_mask` (or `name_set` beside `name_mask`) is a set, [..., elements, features] with its mask [..., elements];
every other field is flat, [..., features], and None where it is not asked for. Fields named `critic_...` are read by
the critic alone. The network works for any leading axes and any number of sets.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "gelu": nn.gelu, "tanh": nn.tanh}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
CRITIC_ONLY = "critic_"
HEAD_SCALES = {"actor": 0.01, "critic": 1.0}  # nearly uniform first actions (the usual PPO start)


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of the network; actor and critic are built alike and share nothing.

    Attributes:
        flat_widths: layers of the MLP over ego, conditioning and route features.
        set_widths: layers of the MLP over each element of a set, before the maximum.
        trunk_widths: layers after everything has been joined.
        activation: `relu`, `gelu` or `tanh`.
        dtype: numbers the layers compute in, `float32` or `bfloat16`; weights are always float32.
    """

    flat_widths: tuple[int, ...] = (64,)
    set_widths: tuple[int, ...] = (32, 32)
    trunk_widths: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("flat_widths", "set_widths", "trunk_widths"):
            widths = getattr(self, name)
            if not widths or any(width < 1 for width in widths):
                raise ValueError(f"network.{name}={list(widths)} must list at least one layer of width >= 1")
        for name, known in (("activation", ACTIVATIONS), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"network.{name}={getattr(self, name)!r} is unknown; try one of {', '.join(known)}"
                )


class Features(NamedTuple):
    """An observation sorted into what each encoder reads."""

    flat: list[Array]  # each [..., features]
    sets: dict[str, tuple[Array, Array]]  # name -> ([..., elements, features], [..., elements] bool)


def sort_features(observation: Any, critic: bool = True) -> Features:
    """Split an observation into flat fields and sets, by the rule in the module's docstring."""
    if dataclasses.is_dataclass(observation):
        names = [field.name for field in dataclasses.fields(observation)]
    else:
        names = list(observation._fields)
    masks = {name.removesuffix("_mask") for name in names if name.endswith("_mask")}
    features = Features(flat=[], sets={})
    for name in names:
        stem = name.removesuffix("_set")
        if name.endswith("_mask"):
            continue
        value = getattr(observation, name)
        if value is None or (name.startswith(CRITIC_ONLY) and not critic):
            continue
        if stem in masks:
            features.sets[stem] = (value, getattr(observation, f"{stem}_mask"))
        else:
            features.flat.append(value)
    return features


@jax.custom_vjp
def masked_max(
    values: Float[Array, "*batch elements features"], mask: Bool[Array, "*batch elements"]
) -> Float[Array, "*batch features"]:
    """The largest value of each feature over the elements that exist; 0 where none does.

    Its gradient goes to every element that attains the maximum (JAX's own rule splits it between ties, which takes
    three more passes over all elements).
    """
    lowest = jnp.asarray(jnp.finfo(values.dtype).min, values.dtype)
    largest = jnp.max(jnp.where(mask[..., None], values, lowest), axis=-2)
    return jnp.where(jnp.any(mask, axis=-1)[..., None], largest, jnp.zeros_like(largest))


def _masked_max_forward(values: Array, mask: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    largest = masked_max(values, mask)
    return largest, (values, mask, largest)


def _masked_max_backward(kept: tuple[Array, Array, Array], gradient: Array) -> tuple[Array, None]:
    values, mask, largest = kept
    attains = (values == largest[..., None, :]) & mask[..., None]
    return jnp.where(attains, gradient[..., None, :], jnp.zeros_like(values)), None


masked_max.defvjp(_masked_max_forward, _masked_max_backward)


class Perceptron(nn.Module):
    """Dense layers, each followed by the activation."""

    widths: Sequence[int]
    activation: str
    dtype: Any

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """[..., features] -> [..., widths[-1]]."""
        hidden = inputs
        for width in self.widths:
            layer = nn.Dense(width, dtype=self.dtype)
            hidden = ACTIVATIONS[self.activation](layer(hidden))
        return hidden


class SetEncoder(nn.Module):
    """Deep Sets: the same MLP for every element, a maximum over elements, then bias and activation.

    The last layer's bias and activation come after the maximum: the same thing for a monotone activation, and it
    saves a pass over all elements. Elements are laid out flat for the matrix products, which XLA's CPU backend
    differentiates twice as fast that way.
    """

    widths: Sequence[int]
    activation: str
    dtype: Any

    @nn.compact
    def __call__(self, elements: Array, mask: Array) -> Array:
        """[..., elements, features] with mask [..., elements] -> [..., widths[-1]]."""
        hidden = elements.reshape(-1, elements.shape[-1])
        if len(self.widths) > 1:
            hidden = Perceptron(self.widths[:-1], self.activation, self.dtype)(hidden)
        last = nn.Dense(self.widths[-1], use_bias=False, dtype=self.dtype)
        pooled = masked_max(last(hidden).reshape(*mask.shape, self.widths[-1]), mask)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.widths[-1],))
        return ACTIVATIONS[self.activation](
            pooled + jnp.broadcast_to(bias.astype(pooled.dtype), pooled.shape)
        )


class Tower(nn.Module):
    """Encoders, trunk and head: one such tower for the actor, another for the critic."""

    config: NetworkConfig
    outputs: int
    critic: bool = False

    @nn.compact
    def __call__(self, observation: Any) -> Array:
        """An observation with leading axes [...] -> [..., outputs] in float32."""
        config, dtype = self.config, DTYPES[self.config.dtype]
        features = sort_features(observation, self.critic)
        flat = jnp.concatenate(features.flat, axis=-1)
        parts = [Perceptron(config.flat_widths, config.activation, dtype, name="flat")(flat)]
        for name, (elements, mask) in features.sets.items():
            parts.append(SetEncoder(config.set_widths, config.activation, dtype, name=name)(elements, mask))
        joined = jnp.concatenate(parts, axis=-1)
        hidden = Perceptron(config.trunk_widths, config.activation, dtype, name="trunk")(joined)
        head = nn.Dense(self.outputs, name="head")
        return head(hidden.astype(jnp.float32))


class TeacherNetwork(nn.Module):
    """Actor and critic over the same observation.

    `apply(params, observation)` gives both; `apply(params, observation, method="policy")` and `method="value"`
    run one tower only. Weights come from `init_params`.
    """

    config: NetworkConfig
    num_actions: int = 12

    def setup(self) -> None:
        self.actor = Tower(self.config, self.num_actions)
        self.critic = Tower(self.config, 1, critic=True)

    def __call__(self, observation: Any) -> tuple[Array, Array]:
        """Logits [..., num_actions] and value [...]."""
        return self.policy(observation), self.value(observation)

    def policy(self, observation: Any) -> Array:
        """Logits [..., num_actions] of the discrete jerk actions."""
        return self.actor(observation)

    def value(self, observation: Any) -> Array:
        """Discounted return [...] that the critic expects from here on."""
        return self.critic(observation)[..., 0]


def init_params(network: TeacherNetwork, observation: Any, key: Key[Array, ""]) -> Any:
    """First weights for observations shaped like `observation` (arrays or shapes); the key is consumed.

    Kernels are normal with variance 2 / inputs (He et al., arXiv 1502.01852), heads with variance scale^2 / inputs,
    biases zero. All numbers are drawn at once: XLA takes seconds to compile one draw per kernel.
    """
    shapes = jax.eval_shape(network.init, jax.random.key(0), observation)
    named, structure = jax.tree_util.tree_flatten_with_path(shapes)
    numbers = jax.random.normal(key, (sum(leaf.size for _, leaf in named),))
    leaves, start = [], 0
    for path, leaf in named:
        drawn = numbers[start : start + leaf.size].reshape(leaf.shape)
        leaves.append(drawn * _spread([str(entry.key) for entry in path], leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(structure, leaves)


def _spread(path: list[str], shape: tuple[int, ...]) -> float:
    """Standard deviation of a new weight."""
    if path[-1] != "kernel":
        return 0.0
    if path[-2] == "head":
        return HEAD_SCALES[path[-3]] / math.sqrt(shape[0])
    return math.sqrt(2.0 / shape[0])


def sample_actions(logits: Float[Array, "*batch actions"], key: Key[Array, ""]) -> Int[Array, "*batch"]:
    """Actions drawn from softmax(logits); the key is consumed.

    By inverting the cumulative distribution: one random number per row, where the Gumbel trick draws one per action.
    """
    batch, actions = logits.shape[:-1], logits.shape[-1]
    triangle = jnp.triu(jnp.ones((actions, actions), logits.dtype))
    cumulative = jax.nn.softmax(logits) @ triangle
    drawn = jax.random.uniform(key, (math.prod(batch),), logits.dtype).reshape(*batch, 1)
    return jnp.sum((drawn >= cumulative[..., :-1]).astype(jnp.int32), axis=-1)


def count_parameters(params: Any) -> int:
    """How many numbers a pytree of weights holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
