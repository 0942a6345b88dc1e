"""Configuration of the actor-critic network: architecture, widths and number format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "gelu": nn.gelu, "tanh": nn.tanh}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ENCODERS = ("deep_sets", "perceiver")


@dataclass(frozen=True)
class PerceiverConfig:
    """Sizes of the attention encoder and of the heads after it; read only where `network.encoder` is `perceiver`.

    Attributes:
        width: of every token and latent; a multiple of `heads`.
        heads: attention heads.
        agent_layers: rounds of self-attention across agents.
        rounds: rounds of cross-attention from the latents to every set in turn.
        latents: number of query vectors, all computed from the ego token (our choice: a single query would have only
            one attention weighting per head).
        widening: hidden width of the feed-forward layers, as a multiple of `width`.
        head_width: of the residual blocks of actor and critic.
        head_blocks: number of residual blocks of each.
    """

    width: int = 64
    heads: int = 4
    agent_layers: int = 2
    rounds: int = 1
    latents: int = 4
    widening: int = 2
    head_width: int = 224
    head_blocks: int = 2

    def __post_init__(self) -> None:
        for name in (
            "width",
            "heads",
            "agent_layers",
            "rounds",
            "latents",
            "widening",
            "head_width",
            "head_blocks",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"network.perceiver.{name}={getattr(self, name)} must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"network.perceiver.width={self.width} must be a multiple of network.perceiver.heads={self.heads}"
            )


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture and widths; the same for actor and critic.

    Attributes:
        encoder: `deep_sets` (GIGAFLOW: an MLP per element, then a maximum) or `perceiver` (attention).
        shared_encoder: actor and critic share the encoder (as in the perceiver's paper); otherwise they share no
            weights (GIGAFLOW).
        flat_widths: of deep_sets: layers of the MLP over ego, conditioning and route features.
        set_widths: of deep_sets: layers of the MLP over each element of a set, before the maximum.
        trunk_widths: of deep_sets: layers over the concatenated encodings.
        perceiver: sizes of the other architecture.
        activation: `relu`, `gelu` or `tanh`.
        dtype: number format of the layers, `float32` or `bfloat16`; weights, attention weights and the last layers
            are always float32.
    """

    encoder: str = "deep_sets"
    shared_encoder: bool = False
    flat_widths: tuple[int, ...] = (64,)
    set_widths: tuple[int, ...] = (32, 32)
    trunk_widths: tuple[int, ...] = (128, 128)
    perceiver: PerceiverConfig = field(default_factory=PerceiverConfig)
    activation: str = "relu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("flat_widths", "set_widths", "trunk_widths"):
            widths = getattr(self, name)
            if not widths or any(width < 1 for width in widths):
                raise ValueError(f"network.{name}={list(widths)} must list at least one layer of width >= 1")
        for name, known in (("encoder", ENCODERS), ("activation", ACTIVATIONS), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"network.{name}={getattr(self, name)!r} is unknown; try one of {', '.join(known)}"
                )
