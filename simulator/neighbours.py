"""Who is near whom: for every agent of one world, the nearest others.

There are at most 150 agents in a world, so all pairs are looked at; no spatial index is cheaper on either a CPU or a
GPU. An agent's place in the order of distances is the number of agents that are nearer: counting them is plain
arithmetic on [agents, agents], several times faster than a sort.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_FAR_M2 = 1e12
"""Farther than anything on a map."""
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
    place = jnp.zeros((agents, agents), jnp.int32)
    for k in range(agents):
        place = place + (key[:, k, None] < key)
    slots = jnp.arange(count, dtype=jnp.int32)
    index = jnp.zeros((agents, count), jnp.int32)
    for j in range(agents):
        index = index + jnp.where(place[:, j, None] == slots, j, 0)
    return index, slots < seen.sum(axis=1)[:, None]


def _keys(xy: Float[Array, "agents 2"], seen: Bool[Array, "agents agents"]) -> Int[Array, "agents agents"]:
    """Integers in the order of squared distances; a float's bits are ordered like the float where it is positive."""
    x, y = xy[:, 0], xy[:, 1]
    squared = jnp.where(seen, (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2, _FAR_M2)
    bits = jax.lax.bitcast_convert_type(squared.astype(jnp.float32), jnp.int32)
    return (bits & -(1 << _INDEX_BITS)) | jnp.arange(xy.shape[0], dtype=jnp.int32)
