"""NaN and infinity checks of an update by stage, so that a failed run names the first tensor that was not finite."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

STAGES = ("observation", "reward", "policy", "advantage", "loss", "gradient", "weights")
"""In order of computation: a value that is not finite propagates to later stages."""


def all_finite(stage: str, tree: Any) -> dict[str, jax.Array]:
    """`stage/path/of/leaf` -> [] bool for every floating-point leaf."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    return {
        f"{stage}/{jax.tree_util.keystr(path, simple=True, separator='/')}": jnp.all(jnp.isfinite(leaf))
        for path, leaf in named
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def first_not_finite(finite: dict[str, Any]) -> str | None:
    """Name of the first tensor, in the order of STAGES, that holds a number which is not finite."""
    broken = [name for name, fine in finite.items() if not fine]
    return min(broken, key=lambda name: (STAGES.index(name.split("/")[0]), name), default=None)
