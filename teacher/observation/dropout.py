"""Observation dropout: parts of an observation that are masked at random while a policy is trained.

The random numbers are hashes of the state (the agents' traits, which are random, and the step), so that observations
that are recomputed from a stored state are identical and `observe` needs no key.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.state import WorldState

_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: its multiples modulo 2^32 are spread evenly (Knuth)


def hash_uniform(state: WorldState, count: int, salt: int, each_step: bool) -> Float[Array, "agents count"]:
    """Hash-based random numbers in [0, 1), independent for each agent, slot, episode and ``salt`` (which separates
    uses); with ``each_step`` also for each step."""
    traits = jax.lax.bitcast_convert_type(state.scenario.traits[:, :2], jnp.uint32)
    agent = jnp.arange(state.yaw.shape[0], dtype=jnp.uint32)
    seed = _mixed(traits[:, 0] ^ (agent * jnp.uint32(_GOLDEN))) ^ traits[:, 1]
    if each_step:
        seed = _mixed(seed + state.step.astype(jnp.uint32) * jnp.uint32(_GOLDEN))
    slot = jnp.arange(count, dtype=jnp.uint32) + jnp.uint32(salt << 16)
    mixed = _mixed(seed[:, None] ^ _mixed(slot * jnp.uint32(_GOLDEN)))
    return (mixed >> 8).astype(jnp.float32) * 2.0**-24


def _mixed(value: Array) -> Array:
    """The 32-bit finaliser of MurmurHash3: every bit of the result depends on every bit of ``value``."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)


def without_dropped(
    state: WorldState, index: Int[Array, "agents n"], share: float, salt: int
) -> Int[Array, "agents n"]:
    """Row indices with a random ``share`` of them replaced by -1 (nothing), drawn anew in every step."""
    if share == 0.0:
        return index
    return jnp.where(hash_uniform(state, index.shape[1], salt, each_step=True) >= share, index, -1)


def knows_goals(state: WorldState, share: float) -> Bool[Array, " agents"]:
    """Mask of the agents that observe their goals; a random ``share`` does not, for the whole episode (SPACeR)."""
    return hash_uniform(state, 1, 3, each_step=False)[:, 0] >= share
