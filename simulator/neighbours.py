"""For every agent of one world, the nearest other agents.

A world has at most 150 agents, so all pairs are compared: that is cheaper than a spatial index on a CPU and on a GPU.
The rank of an agent by distance is the number of agents that are nearer. Counting them is plain arithmetic on [agents,
agents] and several times faster than a sort.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_FAR_M2 = 1e12
"""Squared distance of agents that are not seen, larger than any on a map."""
_UNROLL = 15
"""Agents per iteration of the unrolled loops."""
_INDEX_BITS = 8
"""Lowest bits of a squared distance that are replaced by the agent's index: no ties, at a relative error of 3e-5."""


def nearest_others(
    xy: Float[Array, "agents 2"], seen: Bool[Array, "agents agents"], count: int
) -> tuple[Int[Array, "agents count"], Bool[Array, "agents count"]]:
    """Indices of the ``count`` nearest agents that each agent sees, nearest first, and which slots are filled.

    ``seen`` [i, j] says whether i can see j; the diagonal is ignored. Where all other agents fit into ``count`` slots
    they are listed by index, not by distance. Empty slots hold an arbitrary index. At most 256 agents.
    """
    agents = xy.shape[0]
    itself = jnp.arange(agents, dtype=jnp.int32)[:, None]
    if count >= agents - 1:
        index = (itself + 1 + jnp.arange(count, dtype=jnp.int32)) % agents
        exists = jnp.arange(count) < agents - 1
        return index, jnp.take_along_axis(seen, index, axis=1) & exists
    seen = seen & (itself != itself.T)
    key = _keys(xy, seen)
    zeros = jnp.zeros((agents, agents), jnp.int32)
    rank = _count_over(agents, lambda k: key[:, k, None] < key, zeros)
    slots = jnp.arange(count, dtype=jnp.int32)
    index = _count_over(agents, lambda k: jnp.where(rank[:, k, None] == slots, k, 0), zeros[:, :count])
    return index, slots < seen.sum(axis=1)[:, None]


def _count_over(agents: int, addend: Callable[[Array], Array], start: Array) -> Array:
    """``start`` plus the sum of ``addend(k)`` over agents k. A loop rather than one long expression, which XLA would
    recompute at every use and compile slowly."""
    unroll = min(_UNROLL, agents)
    return jax.lax.fori_loop(0, agents, lambda k, total: total + addend(k), start, unroll=unroll)


def _keys(xy: Float[Array, "agents 2"], seen: Bool[Array, "agents agents"]) -> Int[Array, "agents agents"]:
    """Integers in the order of squared distances, agents that are not seen last. The bits of positive floats have the
    order of the floats."""
    x, y = xy[:, 0], xy[:, 1]
    squared = jnp.where(seen, (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2, _FAR_M2)
    bits = jax.lax.bitcast_convert_type(squared.astype(jnp.float32), jnp.int32)
    return (bits & -(1 << _INDEX_BITS)) | jnp.arange(xy.shape[0], dtype=jnp.int32)
