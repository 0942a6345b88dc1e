"""Who is near whom: for every agent of one world, the nearest others.

There are at most 150 agents in a world, so all pairs are looked at; no spatial index is cheaper on either a CPU or a
GPU. An agent's place in the order of distances is the number of agents that are nearer: counting them is plain
arithmetic on [agents, agents], several times faster than a sort.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_FAR_M2 = 1e12
"""Farther than anything on a map."""
_UNROLL = 15
"""Agents added per turn of a loop."""
_INDEX_BITS = 8
"""Lowest bits of a distance that hold the agent's index instead: ties cannot be, and 3e-5 of d^2 is not missed."""


def nearest_others(
    xy: Float[Array, "agents 2"], seen: Bool[Array, "agents agents"], count: int
) -> tuple[Int[Array, "agents count"], Bool[Array, "agents count"]]:
    """Indices of the ``count`` nearest agents that each agent sees, nearest first, and which slots hold one.

    ``seen`` [i, j] says whether i can see j; nobody sees itself. Where all others fit into ``count`` they come in
    turn after the agent itself, unordered. Empty slots hold some index. At most 256 agents.
    """
    agents = xy.shape[0]
    itself = jnp.arange(agents, dtype=jnp.int32)[:, None]
    if count >= agents - 1:
        index = (itself + 1 + jnp.arange(count, dtype=jnp.int32)) % agents
        exists = jnp.arange(count) < agents - 1
        return index, jnp.take_along_axis(seen, index, axis=1) & exists
    seen = seen & (itself != itself.T)
    key = _keys(xy, seen)
    nobody = jnp.zeros((agents, agents), jnp.int32)
    place = _count_over(agents, lambda k: key[:, k, None] < key, nobody)
    slots = jnp.arange(count, dtype=jnp.int32)
    index = _count_over(agents, lambda k: jnp.where(place[:, k, None] == slots, k, 0), nobody[:, :count])
    return index, slots < seen.sum(axis=1)[:, None]


def _count_over(agents: int, addend: Callable[[Array], Array], start: Array) -> Array:
    """``start`` plus ``addend`` of every agent. A loop rather than one long sum: XLA would compute the sum again
    wherever it is read, and it compiles long sums slowly."""
    turn = min(_UNROLL, agents)
    return jax.lax.fori_loop(0, agents, lambda k, total: total + addend(k), start, unroll=turn)


def _keys(xy: Float[Array, "agents 2"], seen: Bool[Array, "agents agents"]) -> Int[Array, "agents agents"]:
    """Integers in the order of squared distances; a float's bits are ordered like the float where it is positive."""
    x, y = xy[:, 0], xy[:, 1]
    squared = jnp.where(seen, (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2, _FAR_M2)
    bits = jax.lax.bitcast_convert_type(squared.astype(jnp.float32), jnp.int32)
    return (bits & -(1 << _INDEX_BITS)) | jnp.arange(xy.shape[0], dtype=jnp.int32)
