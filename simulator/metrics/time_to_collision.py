"""Who would hit somebody within a second if nobody changed speed or direction: NAVSIM's time to collision.

Every agent is projected along its motion at constant velocity, 0.3, 0.6 and 0.9 s ahead. An agent that moves violates
the rule where its box then overlaps another's on its level that

    lies ahead       within 30 degrees of straight ahead, seen from its rear axle then, or
    lies beside it   within 150 degrees, while the agent is not inside one lane or is in a junction.

Whom it already touches counts as a collision and not here. Where we differ: NAVSIM looks up the others' recorded
futures, here they keep their velocity; and it sees them from where the agent is now, so that a car which comes up fast
from behind can count as ahead.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator.collision import overlap_pairs
from simulator.conventions import LEVEL_GAP_M, STANDSTILL_MPS
from simulator.metrics.at_fault import BEHIND_COS, bearings, travel_yaw
from simulator.state import WorldState

MOMENTS_S = (0.3, 0.6, 0.9)
AHEAD_COS = 0.75**0.5  # cosine of 30 degrees


def collides_soon(
    state: WorldState, touching: Bool[Array, "agents agents"], looks_aside: Bool[Array, " agents"]
) -> Bool[Array, " agents"]:
    """Which agents violate the rule in ``state``.

    ``touching`` [i, j]: pairs that overlap now. ``looks_aside``: those that must mind others beside them too.
    """
    size, z = state.scenario.size, state.position[:, 2]
    xy = state.position[:, :2]
    velocity = state.speed[:, None] * jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    heading = travel_yaw(state.yaw, state.speed)
    pairs = state.present[:, None] & state.present[None, :] & ~jnp.eye(len(xy), dtype=bool) & ~touching
    pairs &= jnp.abs(z[:, None] - z[None, :]) < LEVEL_GAP_M
    soon = jnp.zeros(len(xy), bool)
    for moment in MOMENTS_S:
        then = xy + moment * velocity
        seen = bearings(then, heading, size)
        minds = (seen > AHEAD_COS) | (looks_aside[:, None] & (seen > BEHIND_COS))
        soon |= (pairs & minds & overlap_pairs(then, state.yaw, size)).any(axis=1)
    return soon & (jnp.abs(state.speed) >= STANDSTILL_MPS)
