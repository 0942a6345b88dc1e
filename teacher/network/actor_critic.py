"""The teacher's network: actor and critic over one observation, by either of two architectures.

`deep_sets` (GIGAFLOW) and `perceiver` ("Scaling Is All You Need") differ in how they encode an observation and in what
follows the encoding; everything else is here. `features.py` says what an observation is; the network works for any
leading axes and any number of sets, and does not care about the order of a set's elements.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from teacher.network import deep_sets, perceiver
from teacher.network.config import ACTIVATIONS, DTYPES, NetworkConfig, PerceiverConfig
from teacher.network.deep_sets import Perceptron, masked_max
from teacher.network.features import Features, sort_features

__all__ = [
    "ACTIVATIONS",
    "DTYPES",
    "NetworkConfig",
    "PerceiverConfig",
    "TeacherNetwork",
    "count_parameters",
    "init_params",
    "masked_max",
    "sample_actions",
    "sort_features",
]

ARCHITECTURES: dict[str, Any] = {"deep_sets": deep_sets, "perceiver": perceiver}
CRITIC_ONLY_WIDTH = 32
"""Features made of what only the critic sees (our choice)."""
HEAD_SCALES = {"actor": 0.01, "critic": 1.0}  # nearly uniform first actions (the usual PPO start)
LINEAR = ("query", "key", "value", "out", "latents", "enter")
"""Layers that no activation follows: their kernels need half the variance."""


class Encoder(nn.Module):
    """The encoding that actor and critic share."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, features: Features) -> Array:
        """[..., width]."""
        return ARCHITECTURES[self.config.encoder].encode(self.config, features)


class Tower(nn.Module):
    """From features to outputs: one such tower for the actor, another for the critic.

    `judges` says that it is the critic's: what only the critic may see joins the encoding here, behind everything
    that could be shared.
    """

    config: NetworkConfig
    outputs: int
    judges: bool

    @nn.compact
    def __call__(self, features: Features, shared: Array | None) -> Array:
        """Features with leading axes [...] -> [..., outputs] in float32; `shared` is the encoding, if it is shared."""
        config, architecture = self.config, ARCHITECTURES[self.config.encoder]
        encoded = architecture.encode(config, features) if shared is None else shared
        if self.judges and features.critic:
            seen = jnp.concatenate(features.critic, axis=-1)
            layer = Perceptron(
                (CRITIC_ONLY_WIDTH,), config.activation, DTYPES[config.dtype], name="critic_only"
            )
            encoded = jnp.concatenate([encoded, layer(seen)], axis=-1)
        head = nn.Dense(self.outputs, name="head")
        return head(architecture.decide(config, encoded).astype(jnp.float32))


class TeacherNetwork(nn.Module):
    """Actor and critic over the same observation.

    `apply(params, observation)` gives both; `apply(params, observation, method="policy")` and `method="value"`
    run one of them only. Weights come from `init_params`. Observation fields named `critic_...` never reach the policy.
    """

    config: NetworkConfig
    num_actions: int = 12

    def setup(self) -> None:
        self.actor = Tower(self.config, self.num_actions, judges=False)
        self.critic = Tower(self.config, 1, judges=True)
        if self.config.shared_encoder:
            self.encoder = Encoder(self.config)

    def __call__(self, observation: Any) -> tuple[Array, Array]:
        """Logits [..., num_actions] and value [...]."""
        features, shared = self._read(observation)
        return self.actor(features, shared), self.critic(features, shared)[..., 0]

    def policy(self, observation: Any) -> Array:
        """Logits [..., num_actions] of the discrete jerk actions."""
        return self.actor(*self._read(observation))

    def value(self, observation: Any) -> Array:
        """Discounted return [...] that the critic expects from here on."""
        return self.critic(*self._read(observation))[..., 0]

    def _read(self, observation: Any) -> tuple[Features, Array | None]:
        features = sort_features(observation)
        return features, self.encoder(features) if self.config.shared_encoder else None


def init_params(network: TeacherNetwork, observation: Any, key: Key[Array, ""]) -> Any:
    """First weights for observations shaped like `observation` (arrays or shapes); the key is consumed.

    Kernels are normal with variance 2 / inputs (He et al., arXiv 1502.01852), or 1 / inputs where no activation
    follows, heads with variance scale^2 / inputs, biases zero. All numbers are drawn at once: XLA takes seconds to
    compile one draw per kernel.
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
    return math.sqrt((1.0 if path[-2] in LINEAR else 2.0) / shape[0])


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
