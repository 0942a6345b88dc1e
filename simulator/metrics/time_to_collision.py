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
from jaxtyping import Array, Bool, Float

from simulator.collision import overlap_between
from simulator.conventions import LEVEL_GAP_M, STANDSTILL_MPS
from simulator.metrics.at_fault import BEHIND_COS, Bodies, bearing_cos, bodies_of, travel_yaw
from simulator.state import WorldState

HORIZONS_S = (0.3, 0.6, 0.9)
AHEAD_COS = 0.75**0.5  # cosine of 30 degrees


def violates_time_to_collision(
    state: WorldState, touching: Bool[Array, "agents agents"], sideways: Bool[Array, " agents"]
) -> Bool[Array, " agents"]:
    """Agents that violate the rule in ``state``.

    ``touching`` [i, j]: pairs that overlap now. ``sideways`` [agents]: agents for which others beside them count too.
    """
    z = state.position[:, 2]
    pairs = state.present[:, None] & state.present[None, :] & ~jnp.eye(len(z), dtype=bool) & ~touching
    pairs &= jnp.abs(z[:, None] - z[None, :]) < LEVEL_GAP_M
    bodies = bodies_of(state)
    return would_collide(bodies, bodies, pairs, sideways)


def would_collide(
    first: Bodies, second: Bodies, pairs: Bool[Array, "first second"], sideways: Bool[Array, " first"]
) -> Bool[Array, " first"]:
    """Bodies of the first that violate the rule towards the second, of ``pairs`` [i, j] alone."""
    heading = travel_yaw(first.yaw, first.speed)
    boxes = first.boxes, second.boxes
    violates = jnp.zeros(first.yaw.shape, bool)
    for horizon_s in HORIZONS_S:
        xy, other_xy = _later(first, horizon_s), _later(second, horizon_s)
        bearing = bearing_cos(xy, heading, first.size, other_xy)
        counts = (bearing > AHEAD_COS) | (sideways[:, None] & (bearing > BEHIND_COS))
        then, other = (
            box._replace(x=at[:, 0], y=at[:, 1]) for box, at in zip(boxes, (xy, other_xy), strict=True)
        )
        violates |= (pairs & counts & overlap_between(then, other)).any(axis=1)
    return violates & (jnp.abs(first.speed) >= STANDSTILL_MPS)


def _later(bodies: Bodies, horizon_s: float) -> Float[Array, "n 2"]:
    """Where the bodies are later at constant velocity."""
    velocity = bodies.speed[:, None] * jnp.stack([jnp.cos(bodies.yaw), jnp.sin(bodies.yaw)], axis=-1)
    return bodies.xy + horizon_s * velocity
