"""JAX arrays as torch tensors and back, by DLPack: on the CPU, and on a GPU that both use, nothing is copied."""

from __future__ import annotations

import jax.numpy as jnp
import torch
from jaxtyping import Array
from torch import Tensor


def to_torch(array: Array) -> Tensor:
    """A JAX array as a tensor that shares its memory."""
    return torch.from_dlpack(array)


def to_jax(tensor: Tensor) -> Array:
    """A tensor as a JAX array that shares its memory; a tensor with gaps is copied first."""
    return jnp.from_dlpack(tensor.detach().contiguous())
