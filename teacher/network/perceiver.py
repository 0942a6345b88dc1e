"""Attention instead of a maximum, after "Scaling Is All You Need" (section 3.4.1, figure 3).

Agents attend to each other; then a few latents, made from the own token, look at the agents and at every other set in
turn; dense residual blocks make the head of actor and of critic. Sizes, the latents and the normalisation before each
layer are our choice: the paper gives totals of 0.75M, 2.5M and 25M weights only.

`encode` and `decide` are called inside a flax module, whose layers theirs become.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from teacher.network.config import ACTIVATIONS, DTYPES, NetworkConfig
from teacher.network.features import Features

AGENTS = "others"
"""The set whose elements attend to each other, together with the driver itself."""


def masked_softmax(
    scores: Float[Array, "*batch elements"], mask: Bool[Array, "*#batch elements"]
) -> Float[Array, "*batch elements"]:
    """Softmax over the elements that exist; all 0 where none does, and no gradient to those that do not."""
    kept = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    raised = jnp.exp(kept - jax.lax.stop_gradient(jnp.max(kept, axis=-1, keepdims=True))) * mask
    return raised / jnp.maximum(jnp.sum(raised, axis=-1, keepdims=True), 1e-9)


def normalised(inputs: Array, dtype: Any) -> Array:
    """Every token with mean 0 and variance 1. The layer that follows can scale and shift, so this has no weights."""
    return nn.LayerNorm(use_scale=False, use_bias=False, dtype=dtype)(inputs)


def dense(inputs: Array, width: int, dtype: Any, name: str | None = None, bias: bool = True) -> Array:
    """A layer of the calling module: [..., features] -> [..., width].

    Rows are laid out flat for the matrix product, which XLA's CPU backend differentiates faster that way.
    """
    layer = nn.Dense(width, use_bias=bias, dtype=dtype, name=name)
    return layer(inputs.reshape(-1, inputs.shape[-1])).reshape(*inputs.shape[:-1], width)


class Attention(nn.Module):
    """Attention with several heads; a query for which no element exists gets the bias of the last layer."""

    heads: int
    dtype: Any

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
    """inputs + a normalised, widened and narrowed copy of them; for tokens and for the heads alike."""

    hidden: int
    activation: str
    dtype: Any

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
        looked = queries + attention(normalised(queries, dtype), normalised(elements, dtype), mask)
        hidden = sizes.widening * sizes.width
        return Residual(hidden, self.config.activation, dtype, name="feed_forward")(looked)


class Token(nn.Module):
    """What an element says, as a token: two layers, the last one linear."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """[..., features] -> [..., width]."""
        width, dtype = self.config.perceiver.width, DTYPES[self.config.dtype]
        return dense(ACTIVATIONS[self.config.activation](dense(inputs, width, dtype)), width, dtype, "out")


def encode(config: NetworkConfig, features: Features) -> Array:
    """What the latents have seen, side by side: [..., latents * width]."""
    sizes, dtype = config.perceiver, DTYPES[config.dtype]
    own = Token(config, name="own")(jnp.concatenate(features.flat, axis=-1))
    sets = {}
    for name, (elements, mask) in features.sets.items():
        there = jnp.where(mask[..., None], elements, 0.0)  # what is behind a mask may be any number
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
