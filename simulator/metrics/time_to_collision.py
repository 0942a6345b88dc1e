"""NAVSIM's time to collision: agents that would collide within a second if all kept their speed and direction.

Every agent is projected at constant velocity to 0.3, 0.6 and 0.9 s ahead. An agent that moves violates the rule where
its projected box overlaps another's on its level that

    is ahead      within 30 degrees of straight ahead, seen from its projected rear axle, or
    is beside it  within 150 degrees, while the agent is not inside one lane or is in a junction.

Pairs that already touch count as collisions and not here. Differences from NAVSIM: NAVSIM takes the others' logged
futures, here they keep their velocity; and NAVSIM measures bearings from the agent's present pose, so that a car which
approaches fast from behind can count as ahead.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator.collision import overlap_pairs
from simulator.conventions import LEVEL_GAP_M, STANDSTILL_MPS
from simulator.metrics.at_fault import BEHIND_COS, bearing_cos, travel_yaw
from simulator.state import WorldState

HORIZONS_S = (0.3, 0.6, 0.9)
AHEAD_COS = 0.75**0.5  # cosine of 30 degrees


def violates_time_to_collision(
    state: WorldState, touching: Bool[Array, "agents agents"], sideways: Bool[Array, " agents"]
) -> Bool[Array, " agents"]:
    """Agents that violate the rule in ``state``.

    ``touching`` [i, j]: pairs that overlap now. ``sideways`` [agents]: agents for which others beside them count too.
    """
    size, z = state.scenario.size, state.position[:, 2]
    xy = state.position[:, :2]
    velocity = state.speed[:, None] * jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    heading = travel_yaw(state.yaw, state.speed)
    pairs = state.present[:, None] & state.present[None, :] & ~jnp.eye(len(xy), dtype=bool) & ~touching
    pairs &= jnp.abs(z[:, None] - z[None, :]) < LEVEL_GAP_M
    violates = jnp.zeros(len(xy), bool)
    for horizon_s in HORIZONS_S:
        then = xy + horizon_s * velocity
        bearing = bearing_cos(then, heading, size)
        counts = (bearing > AHEAD_COS) | (sideways[:, None] & (bearing > BEHIND_COS))
        violates |= (pairs & counts & overlap_pairs(then, state.yaw, size)).any(axis=1)
    return violates & (jnp.abs(state.speed) >= STANDSTILL_MPS)
