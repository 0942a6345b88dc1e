"""The teacher's actor-critic network, with one of two architectures.

`deep_sets` (GIGAFLOW) and `perceiver` ("Scaling Is All You Need") implement the encoder and the trunk; everything else
is here. Observations are described in `features.py`; the network accepts any leading axes and any number of sets, and
is invariant to the order of a set's elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    "Params",
    "PerceiverConfig",
    "TeacherNetwork",
    "count_parameters",
    "critic_value",
    "init_params",
    "logits_and_value",
    "masked_max",
    "policy_logits",
    "sample_actions",
    "sort_features",
]

Params = Mapping[str, Any]
"""Weights by the names of layers, as flax nests them."""
Params = dict[str, Any]
"""Weights of actor and critic: nested dictionaries of float32 arrays (or of their shapes), as flax makes them."""

ARCHITECTURES: dict[str, Any] = {"deep_sets": deep_sets, "perceiver": perceiver}
CRITIC_ONLY_WIDTH = 32
"""Width of the layer over critic-only features (our choice)."""
HEAD_SCALES = {"actor": 0.01, "critic": 1.0}  # a nearly uniform initial policy, as is usual for PPO
LINEAR = ("query", "key", "value", "out", "latents", "enter")
"""Layers without an activation after them: their kernels are initialised with half the variance."""


class Encoder(nn.Module):
    """The encoder shared by actor and critic."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, features: Features) -> Array:
        """The encoding [..., width]."""
        return ARCHITECTURES[self.config.encoder].encode(self.config, features)


class Tower(nn.Module):
    """Encoder, trunk and head of the actor or (with ``is_critic``) of the critic.

    Critic-only features are concatenated to the encoding, after everything that may be shared with the actor.
    """

    config: NetworkConfig
    outputs: int
    is_critic: bool

    @nn.compact
    def __call__(self, features: Features, shared: Array | None) -> Array:
        """Outputs [..., outputs] in float32; ``shared`` is the encoding if actor and critic share it, else None."""
        config, architecture = self.config, ARCHITECTURES[self.config.encoder]
        encoded = architecture.encode(config, features) if shared is None else shared
        if self.is_critic and features.critic:
            critic_only = jnp.concatenate(features.critic, axis=-1)
            layer = Perceptron(
                (CRITIC_ONLY_WIDTH,), config.activation, DTYPES[config.dtype], name="critic_only"
            )
            encoded = jnp.concatenate([encoded, layer(critic_only)], axis=-1)
        head = nn.Dense(self.outputs, name="head")
        return head(architecture.decide(config, encoded).astype(jnp.float32))


class TeacherNetwork(nn.Module):
    """Actor and critic over the same observation.

    `apply(params, observation)` returns logits and value; `method="policy"` and `method="value"` evaluate one of them.
    Weights come from `init_params`. Observation fields named `critic_...` are inputs of the critic only.
    """

    config: NetworkConfig
    num_actions: int = 12

    def setup(self) -> None:
        self.actor = Tower(self.config, self.num_actions, is_critic=False)
        self.critic = Tower(self.config, 1, is_critic=True)
        if self.config.shared_encoder:
            self.encoder = Encoder(self.config)

    def __call__(self, observation: object) -> tuple[Array, Array]:
        """Logits [..., num_actions] and value [...]."""
        features, shared = self._read(observation)
        return self.actor(features, shared), self.critic(features, shared)[..., 0]

    def policy(self, observation: object) -> Array:
        """Logits [..., num_actions] of the discrete jerk actions."""
        return self.actor(*self._read(observation))

    def value(self, observation: object) -> Array:
        """The critic's estimate [...] of the discounted return."""
        return self.critic(*self._read(observation))[..., 0]

    def _read(self, observation: object) -> tuple[Features, Array | None]:
        features = sort_features(observation)
        return features, self.encoder(features) if self.config.shared_encoder else None


def init_params(network: TeacherNetwork, observation: object, key: Key[Array, ""]) -> Params:
    """Initial weights for observations shaped like ``observation`` (arrays or shapes). The key is consumed.

    Kernels are normal with variance 2 / inputs (He et al., arXiv 1502.01852), or 1 / inputs where no activation
    follows, heads with variance scale^2 / inputs, biases zero. All numbers are drawn at once, because XLA takes
    seconds to compile one draw per kernel.
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
    """Standard deviation of the initial values of a weight, by its path of names."""
    if path[-1] != "kernel":
        return 0.0
    if path[-2] == "head":
        return HEAD_SCALES[path[-3]] / math.sqrt(shape[0])
    return math.sqrt((1.0 if path[-2] in LINEAR else 2.0) / shape[0])


def sample_actions(logits: Float[Array, "*batch actions"], key: Key[Array, ""]) -> Int[Array, "*batch"]:
    """Actions drawn from softmax(logits); the key is consumed.

    Inverse-transform sampling: one random number per row, where the Gumbel trick draws one per action.
    """
    batch, actions = logits.shape[:-1], logits.shape[-1]
    triangle = jnp.triu(jnp.ones((actions, actions), logits.dtype))
    cumulative = jax.nn.softmax(logits) @ triangle
    drawn = jax.random.uniform(key, (math.prod(batch),), logits.dtype).reshape(*batch, 1)
    return jnp.sum((drawn >= cumulative[..., :-1]).astype(jnp.int32), axis=-1)


def count_parameters(params: Params) -> int:
    """Number of weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def logits_and_value(network: TeacherNetwork, params: Params, observation: object) -> tuple[Array, Array]:
    """The actor's logits [..., actions] and the critic's value [...], both float32."""
    logits, value = network.apply(params, observation)
    return jnp.asarray(logits), jnp.asarray(value)


def policy_logits(network: TeacherNetwork, params: Params, observation: object) -> Array:
    """The actor's logits [..., actions] alone, float32."""
    return jnp.asarray(network.apply(params, observation, method="policy"))


def critic_value(network: TeacherNetwork, params: Params, observation: object) -> Array:
    """The critic's value [...] alone, float32."""
    return jnp.asarray(network.apply(params, observation, method="value"))
