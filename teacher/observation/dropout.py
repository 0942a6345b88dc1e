"""Parts of an observation that are left out at random while a policy is trained.

Every number here follows from the state alone (drivers' traits, which are random, and the step), so that an observation
computed twice from one state is the same, and no key travels through `observe`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.state import WorldState

_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: multiples of it are spread evenly


def lots(state: WorldState, count: int, salt: int, each_step: bool) -> Float[Array, "agents count"]:
    """Numbers in [0, 1), as good as random: other ones for every agent, slot, episode and ``salt``; and, with
    ``each_step``, every step."""
    traits = jax.lax.bitcast_convert_type(state.scenario.traits[:, :2], jnp.uint32)
    agent = jnp.arange(state.yaw.shape[0], dtype=jnp.uint32)
    seed = _mixed(traits[:, 0] ^ (agent * jnp.uint32(_GOLDEN))) ^ traits[:, 1]
    if each_step:
        seed = _mixed(seed + state.step.astype(jnp.uint32) * jnp.uint32(_GOLDEN))
    slot = jnp.arange(count, dtype=jnp.uint32) + jnp.uint32(salt << 16)
    mixed = _mixed(seed[:, None] ^ _mixed(slot * jnp.uint32(_GOLDEN)))
    return (mixed >> 8).astype(jnp.float32) * 2.0**-24


def _mixed(value: Array) -> Array:
    """Every bit of a 32-bit number depends on every other (the finaliser of MurmurHash3)."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)


def thinned(
    state: WorldState, index: Int[Array, "agents n"], share: float, salt: int
) -> Int[Array, "agents n"]:
    """Rows of a table without a random ``share`` of them (-1 is nothing), drawn anew in every step."""
    if share == 0.0:
        return index
    return jnp.where(lots(state, index.shape[1], salt, each_step=True) >= share, index, -1)


def knows_goals(state: WorldState, share: float) -> Bool[Array, " agents"]:
    """Who sees its goals; a ``share`` of the agents does not, for the whole episode (SPACeR's goal dropout)."""
    return lots(state, 1, 3, each_step=False)[:, 0] >= share
