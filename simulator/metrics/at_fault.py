"""Which agents are at fault for a collision, by nuPlan's classes of contact, which NAVSIM uses too.

Each of the two agents of a collision is classified separately. The first class that applies counts:

    STATIONARY       it stood still itself                                                     not at fault
    HIT_STATIONARY   the other stood still                                                     at fault
    HIT_FROM_BEHIND  the other's centre is within 30 degrees of straight behind its rear axle  not at fault
    FRONT            its front edge touches the other's box                                    at fault
    SIDE             anything else                        at fault where it was not inside one lane (`lane_use`)

Differences from nuPlan: the front is the leading edge, so an agent that reverses collides with its "front"; an agent is
stationary below 0.1 m/s, not 0.05; and contact is classified when it began, to a quarter of a step, since at the end of
a long step a fast front has passed the other's box.
"""

import enum

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.angles import wrap_angle
from simulator.collision import overlap_pairs
from simulator.conventions import STANDSTILL_MPS, WHEELBASE_RATIO
from simulator.state import WorldState

BEHIND_COS = -(0.75**0.5)  # cosine of 150 degrees
STEP_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Times at which contact is tested, as shares of a step."""


class Contact(enum.IntEnum):
    """Role of an agent in a collision with another."""

    NONE = 0
    STATIONARY = 1
    HIT_STATIONARY = 2
    HIT_FROM_BEHIND = 3
    FRONT = 4
    SIDE = 5


def contacts(
    state: WorldState, next_state: WorldState, touching: Bool[Array, "agents agents"]
) -> Int[Array, "agents agents"]:
    """`Contact` of agent i with agent j at [i, j], for the pairs that are ``touching`` at the end of a step.

    ``next_state`` holds poses and speeds as moved, before a crash sets speeds to zero.
    """
    turn = wrap_angle(next_state.yaw - state.yaw)
    kind = jnp.full(touching.shape, int(Contact.NONE))
    for share in STEP_SHARES:
        xy = state.position[:, :2] + share * (next_state.position - state.position)[:, :2]
        yaw = state.yaw + share * turn
        overlaps = touching & overlap_pairs(xy, yaw, next_state.scenario.size)
        now = _contact_at(xy, yaw, next_state.speed, next_state.scenario.size)
        kind = jnp.where(overlaps & (kind == Contact.NONE), now, kind)
    return kind


def at_fault(
    kind: Int[Array, "agents agents"], outside_lane: Bool[Array, " agents"]
) -> Bool[Array, " agents"]:
    """Agents that are at fault for a contact; ``outside_lane`` [agents] are those that are not inside one lane."""
    fault = (kind == Contact.HIT_STATIONARY) | (kind == Contact.FRONT)
    return (fault | ((kind == Contact.SIDE) & outside_lane[:, None])).any(axis=1)


def hits_while_moving(kind: Int[Array, "agents agents"]) -> Bool[Array, " agents"]:
    """Agents that moved into a contact; those that stood still or were hit from behind did not."""
    moved_into = (kind == Contact.HIT_STATIONARY) | (kind == Contact.FRONT) | (kind == Contact.SIDE)
    return moved_into.any(axis=1)


def bearing_cos(
    xy: Float[Array, "agents 2"],
    heading: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Float[Array, "agents agents"]:
    """Cosine of the bearing from agent i's trailing axle to agent j's centre, relative to i's ``heading``, at [i, j].

    ``heading`` is the direction of motion (`travel_yaw`), so the trailing axle is the rear axle unless i reverses.
    """
    cos, sin = jnp.cos(heading)[:, None], jnp.sin(heading)[:, None]
    east, north = xy[None, :, 0] - xy[:, None, 0], xy[None, :, 1] - xy[:, None, 1]
    along, across = (
        east * cos + north * sin + 0.5 * WHEELBASE_RATIO * size[:, None, 0],
        north * cos - east * sin,
    )
    return along / jnp.maximum(jnp.sqrt(along**2 + across**2), 1e-6)


def travel_yaw(yaw: Float[Array, " agents"], speed: Float[Array, " agents"]) -> Float[Array, " agents"]:
    """Direction of motion (rad): ``yaw``, or its opposite for agents that reverse."""
    return jnp.where(speed < 0, yaw + jnp.pi, yaw)


def _contact_at(
    xy: Float[Array, "agents 2"],
    yaw: Float[Array, " agents"],
    speed: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Int[Array, "agents agents"]:
    """`Contact` at [i, j] of every pair, if it touches in these poses."""
    heading = travel_yaw(yaw, speed)
    stands = jnp.abs(speed) < STANDSTILL_MPS
    behind = bearing_cos(xy, heading, size) < BEHIND_COS
    front = _front_touches(xy, heading, yaw, size)
    kind = jnp.where(front, int(Contact.FRONT), int(Contact.SIDE))
    kind = jnp.where(behind, int(Contact.HIT_FROM_BEHIND), kind)
    kind = jnp.where(stands[None, :], int(Contact.HIT_STATIONARY), kind)
    return jnp.where(stands[:, None], int(Contact.STATIONARY), kind)


def _front_touches(
    xy: Float[Array, "agents 2"],
    heading: Float[Array, " agents"],
    yaw: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Bool[Array, "agents agents"]:
    """Whether the leading edge of i touches the box of j, at [i, j]: a segment and a rectangle, by separating axes."""
    length, width = 0.5 * size[:, 0], 0.5 * size[:, 1]
    cos_i, sin_i = jnp.cos(heading)[:, None], jnp.sin(heading)[:, None]
    cos_j, sin_j = jnp.cos(yaw)[None, :], jnp.sin(yaw)[None, :]
    east = xy[None, :, 0] - (xy[:, 0, None] + length[:, None] * cos_i)  # from the middle of the edge of i
    north = xy[None, :, 1] - (xy[:, 1, None] + length[:, None] * sin_i)
    c, s = jnp.abs(cos_i * cos_j + sin_i * sin_j), jnp.abs(sin_i * cos_j - cos_i * sin_j)
    edge = width[:, None]
    return (
        (jnp.abs(east * cos_i + north * sin_i) <= length * c + width * s)
        & (jnp.abs(north * cos_i - east * sin_i) <= edge + length * s + width * c)
        & (jnp.abs(east * cos_j + north * sin_j) <= length + edge * s)
        & (jnp.abs(north * cos_j - east * sin_j) <= width + edge * c)
    )
