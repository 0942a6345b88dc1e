"""An attention encoder, after "Scaling Is All You Need" (section 3.4.1, figure 3).

Self-attention across agents; then cross-attention from a few latents, computed from the ego token, to the agents and to
every other set in turn; dense residual blocks are the trunks of actor and critic. Sizes, latents and the normalisation
before each layer are our choice: the paper only gives totals of 0.75M, 2.5M and 25M weights.

`encode` and `decide` are called inside a flax module, to which their layers belong.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from teacher.network.config import ACTIVATIONS, DTYPES, NetworkConfig
from teacher.network.features import Features

AGENTS = "others"
"""The set whose elements attend to each other, together with the ego token."""


def masked_softmax(
    scores: Float[Array, "*batch elements"], mask: Bool[Array, "*#batch elements"]
) -> Float[Array, "*batch elements"]:
    """Softmax over the elements that exist; 0, without gradient, for those that do not."""
    kept = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    raised = jnp.exp(kept - jax.lax.stop_gradient(jnp.max(kept, axis=-1, keepdims=True))) * mask
    return raised / jnp.maximum(jnp.sum(raised, axis=-1, keepdims=True), 1e-9)


def normalised(inputs: Array, dtype: DTypeLike) -> Array:
    """Layer normalisation without weights, since the layer that follows can scale and shift."""
    return nn.LayerNorm(use_scale=False, use_bias=False, dtype=dtype)(inputs)


def dense(inputs: Array, width: int, dtype: DTypeLike, name: str | None = None, bias: bool = True) -> Array:
    """A layer of the calling module: [..., features] -> [..., width].

    Leading axes are flattened for the matrix product, because XLA's CPU backend differentiates it faster that way.
    """
    layer = nn.Dense(width, use_bias=bias, dtype=dtype, name=name)
    return layer(inputs.reshape(-1, inputs.shape[-1])).reshape(*inputs.shape[:-1], width)


class Attention(nn.Module):
    """Multi-head attention; a query without any existing element gets the bias of the last layer."""

    heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, queries: Array, elements: Array, mask: Array) -> Array:
        """[..., queries, width] and [..., elements, width] with mask [..., elements] -> [..., queries, width]."""
        width = queries.shape[-1]

        def project(name: str, tokens: Array) -> Array:
            projected = dense(tokens, width, self.dtype, name, bias=False)
            return projected.reshape(*tokens.shape[:-1], self.heads, width // self.heads)

        query, key = project("query", queries), project("key", elements)
        scores = jnp.einsum("...qhd,...khd->...hqk", query, key, preferred_element_type=jnp.float32)
        weights = masked_softmax(scores / math.sqrt(width // self.heads), mask[..., None, None, :])
        mixed = jnp.einsum("...hqk,...khd->...qhd", weights.astype(self.dtype), project("value", elements))
        return dense(mixed.reshape(queries.shape), width, self.dtype, "out")


class Residual(nn.Module):
    """A residual block: layer normalisation and an MLP of one hidden layer, added to the inputs."""

    hidden: int
    activation: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """[..., width] -> [..., width]."""
        widened = ACTIVATIONS[self.activation](dense(normalised(inputs, self.dtype), self.hidden, self.dtype))
        return inputs + dense(widened, inputs.shape[-1], self.dtype, "out")


class AttentionLayer(nn.Module):
    """Attention and then a feed-forward layer, each added to the queries."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, queries: Array, elements: Array, mask: Array) -> Array:
        """As `Attention`."""
        sizes, dtype = self.config.perceiver, DTYPES[self.config.dtype]
        attention = Attention(sizes.heads, dtype, name="attention")
        attended = queries + attention(normalised(queries, dtype), normalised(elements, dtype), mask)
        hidden = sizes.widening * sizes.width
        return Residual(hidden, self.config.activation, dtype, name="feed_forward")(attended)


class Token(nn.Module):
    """The token of an element: an MLP of two layers, the last one linear."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """[..., features] -> [..., width]."""
        width, dtype = self.config.perceiver.width, DTYPES[self.config.dtype]
        return dense(ACTIVATIONS[self.config.activation](dense(inputs, width, dtype)), width, dtype, "out")


def encode(config: NetworkConfig, features: Features) -> Array:
    """The latents after cross-attention, concatenated: [..., latents * width]."""
    sizes, dtype = config.perceiver, DTYPES[config.dtype]
    own = Token(config, name="own")(jnp.concatenate(features.flat, axis=-1))
    sets = {}
    for name, (elements, mask) in features.sets.items():
        there = jnp.where(mask[..., None], elements, 0.0)  # masked elements may hold any number
        sets[name] = Token(config, name=f"token_{name}")(there), mask
    others = sets.pop(AGENTS, None)
    agents, mask = own[..., None, :], jnp.ones((*own.shape[:-1], 1), bool)
    if others is not None:
        agents = jnp.concatenate([agents, others[0]], axis=-2)
        mask = jnp.concatenate([mask, others[1]], axis=-1)
    for layer in range(sizes.agent_layers):
        agents = AttentionLayer(config, name=f"agents_{layer}")(agents, agents, mask)
    latents = nn.Dense(sizes.latents * sizes.width, dtype=dtype, name="latents")(agents[..., 0, :])
    latents = latents.reshape(*own.shape[:-1], sizes.latents, sizes.width)
    for number in range(sizes.rounds):
        for name, (tokens, there) in {AGENTS: (agents, mask), **sets}.items():
            latents = AttentionLayer(config, name=f"look_{name}_{number}")(latents, tokens, there)
    return latents.reshape(*own.shape[:-1], sizes.latents * sizes.width)


def decide(config: NetworkConfig, encoded: Array) -> Array:
    """Dense residual blocks: [..., latents * width] -> [..., head_width]."""
    sizes, dtype = config.perceiver, DTYPES[config.dtype]
    hidden = nn.Dense(sizes.head_width, dtype=dtype, name="enter")(normalised(encoded, dtype))
    for number in range(sizes.head_blocks):
        block = Residual(sizes.head_width, config.activation, dtype, name=f"block_{number}")
        hidden = block(hidden)
    return normalised(hidden, dtype)
