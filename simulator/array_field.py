"""The annotation of array fields in dataclasses that are pytrees."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import Array as ArrayField
else:
    # JAX rebuilds pytrees with placeholders during transformations, so fields are not type-checked at run time.
    ArrayField = Any

__all__ = ["ArrayField"]
