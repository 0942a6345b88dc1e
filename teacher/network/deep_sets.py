"""Deep Sets: an MLP per element, a maximum over the elements that exist (GIGAFLOW, arXiv 2502.03349).

`encode` and `decide` are called inside a flax module, to which their layers belong.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from teacher.network.config import ACTIVATIONS, DTYPES, NetworkConfig
from teacher.network.features import Features


@jax.custom_vjp
def masked_max(
    values: Float[Array, "*batch elements features"], mask: Bool[Array, "*batch elements"]
) -> Float[Array, "*batch features"]:
    """The largest value of each feature over the elements that exist; 0 where none does.

    The gradient is passed to every element that attains the maximum (JAX's own rule divides it between ties, which
    takes three more passes over all elements).
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
    dtype: DTypeLike

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

    The last layer's bias and activation come after the maximum, which is equivalent for a monotone activation and
    saves a pass over all elements. Elements are flattened to one axis for the matrix products, because XLA's CPU
    backend differentiates them twice as fast that way.
    """

    widths: Sequence[int]
    activation: str
    dtype: DTypeLike

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


def encode(config: NetworkConfig, features: Features) -> Array:
    """The concatenated encodings of flat features and sets: [..., width]."""
    dtype = DTYPES[config.dtype]
    flat = jnp.concatenate(features.flat, axis=-1)
    parts = [Perceptron(config.flat_widths, config.activation, dtype, name="flat")(flat)]
    for name, (elements, mask) in features.sets.items():
        parts.append(SetEncoder(config.set_widths, config.activation, dtype, name=name)(elements, mask))
    return jnp.concatenate(parts, axis=-1)


def decide(config: NetworkConfig, encoded: Array) -> Array:
    """The trunk: [..., width] -> [..., trunk_widths[-1]]."""
    return Perceptron(config.trunk_widths, config.activation, DTYPES[config.dtype], name="trunk")(encoded)
