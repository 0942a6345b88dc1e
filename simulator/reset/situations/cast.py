"""The agents of a situation: where each starts and which way it goes."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from simulator.array_field import ArrayField

CAST_SLOTS = 6
"""Agents that one situation may have."""
AGENTS_PER_SITUATION = 8
"""A world contains one situation for so many of its agents, and at least one."""
NONE, DRIVES, STANDS = range(3)
"""Roles of an agent: it takes no part, it drives, it is parked for the whole episode."""
ANY_WAY, STRAIGHT_AHEAD = -1, -2
"""Instead of the lane that follows an agent's first one: left to chance; so is the lane, but not the change to a
neighbouring lane before it."""
LEAST_ALONG_M = 3.0
"""No agent of a situation starts closer to the start or the end of a lane."""


@struct.dataclass
class Cast:
    """The agents of one situation, [CAST_SLOTS] or, of a world, [agents]; all lengths in metres of the map."""

    role: ArrayField  # int32: NONE, DRIVES or STANDS
    lane: ArrayField  # int32: the lane on which it starts
    along_m: ArrayField  # m from the lane's start
    following: ArrayField  # int32: the next lane, ANY_WAY or STRAIGHT_AHEAD
    most_mps: ArrayField  # m/s: it does not start faster
    blocked_by: ArrayField  # int32: slot of the parked car on its route, -1 for none
    beside_m: ArrayField  # m to the middle of the lane beside, left positive; 0 where no car is parked
    lights_off: ArrayField  # [] bool: the traffic lights of the world are off


def no_cast() -> Cast:
    """A situation without agents."""
    zeros, none = jnp.zeros(CAST_SLOTS), jnp.zeros(CAST_SLOTS, jnp.int32)
    return Cast(
        role=none,
        lane=none,
        along_m=zeros,
        following=none + ANY_WAY,
        most_mps=zeros,
        blocked_by=none - 1,
        beside_m=zeros,
        lights_off=jnp.zeros((), bool),
    )


def on_lane_only(role: Array, along_m: Array, length_m: Array) -> Array:
    """The roles, NONE where the start is not on the lane."""
    inside = (along_m >= LEAST_ALONG_M) & (along_m <= length_m - LEAST_ALONG_M)
    return jnp.where(inside, role, NONE)
