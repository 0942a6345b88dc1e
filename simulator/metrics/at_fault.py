"""Who is to blame for a collision: nuPlan's classes of contact, which NAVSIM scores by as well.

Of the two agents of a collision each is judged by itself, in this order:

    STANDING       it stood still itself                                                     not at fault
    INTO_STANDING  the other stood still                                                     at fault
    FROM_BEHIND    the other's centre is within 30 degrees of straight behind its rear axle  not at fault
    FRONT          its front edge touches the other's box                                    at fault
    SIDE           anything else                        at fault where it was not inside one lane (`lane_use`)

Where we differ: "front" is the edge that leads, so whoever backs into somebody meets it with its front; standing still
means below 0.1 m/s, not 0.05; and contact is judged when it began, found to a quarter of a step, since a fast front is
past the other's box by the end of a long step.
"""

import enum

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.collision import overlap_pairs
from simulator.conventions import STANDSTILL_MPS, WHEELBASE_RATIO
from simulator.dynamics.bicycle import wrap_angle
from simulator.state import WorldState

BEHIND_COS = -(0.75**0.5)  # cosine of 150 degrees
MOMENTS = (0.25, 0.5, 0.75, 1.0)
"""Shares of a step at which contact is looked for."""


class Contact(enum.IntEnum):
    """How an agent takes part in a collision with another."""

    NONE = 0
    STANDING = 1
    INTO_STANDING = 2
    FROM_BEHIND = 3
    FRONT = 4
    SIDE = 5


def contacts(
    before: WorldState, after: WorldState, touching: Bool[Array, "agents agents"]
) -> Int[Array, "agents agents"]:
    """`Contact` of agent i with agent j at [i, j], for the pairs that are ``touching`` at the end of a step.

    ``after`` holds poses and speeds as moved, before a crash sets speeds to zero.
    """
    turn = wrap_angle(after.yaw - before.yaw)
    kind = jnp.full(touching.shape, int(Contact.NONE))
    for share in MOMENTS:
        xy = before.position[:, :2] + share * (after.position - before.position)[:, :2]
        yaw = before.yaw + share * turn
        meets = touching & overlap_pairs(xy, yaw, after.scenario.size)
        now = _contact_at(xy, yaw, after.speed, after.scenario.size)
        kind = jnp.where(meets & (kind == Contact.NONE), now, kind)
    return kind


def at_fault(kind: Int[Array, "agents agents"], strays: Bool[Array, " agents"]) -> Bool[Array, " agents"]:
    """Which agents are to blame for a contact; ``strays`` [agents] says who is not inside one lane."""
    blamed = (kind == Contact.INTO_STANDING) | (kind == Contact.FRONT)
    return (blamed | ((kind == Contact.SIDE) & strays[:, None])).any(axis=1)


def hits_while_moving(kind: Int[Array, "agents agents"]) -> Bool[Array, " agents"]:
    """Which agents are in a contact that they moved into, other than being hit from behind."""
    moved_into = (kind == Contact.INTO_STANDING) | (kind == Contact.FRONT) | (kind == Contact.SIDE)
    return moved_into.any(axis=1)


def bearings(
    xy: Float[Array, "agents 2"],
    heading: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Float[Array, "agents agents"]:
    """Cosine of the angle at which i sees the centre of j, from its rear axle (the one that trails), at [i, j]."""
    cos, sin = jnp.cos(heading)[:, None], jnp.sin(heading)[:, None]
    east, north = xy[None, :, 0] - xy[:, None, 0], xy[None, :, 1] - xy[:, None, 1]
    along, across = (
        east * cos + north * sin + 0.5 * WHEELBASE_RATIO * size[:, None, 0],
        north * cos - east * sin,
    )
    return along / jnp.maximum(jnp.sqrt(along**2 + across**2), 1e-6)


def travel_yaw(yaw: Float[Array, " agents"], speed: Float[Array, " agents"]) -> Float[Array, " agents"]:
    """Heading of the motion (rad): ``yaw``, or its opposite for whoever backs up."""
    return jnp.where(speed < 0, yaw + jnp.pi, yaw)


def _contact_at(
    xy: Float[Array, "agents 2"],
    yaw: Float[Array, " agents"],
    speed: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Int[Array, "agents agents"]:
    """`Contact` of every pair if it touches in these poses."""
    heading = travel_yaw(yaw, speed)
    stands = jnp.abs(speed) < STANDSTILL_MPS
    behind = bearings(xy, heading, size) < BEHIND_COS
    front = _front_meets(xy, heading, yaw, size)
    kind = jnp.where(front, int(Contact.FRONT), int(Contact.SIDE))
    kind = jnp.where(behind, int(Contact.FROM_BEHIND), kind)
    kind = jnp.where(stands[None, :], int(Contact.INTO_STANDING), kind)
    return jnp.where(stands[:, None], int(Contact.STANDING), kind)


def _front_meets(
    xy: Float[Array, "agents 2"],
    heading: Float[Array, " agents"],
    yaw: Float[Array, " agents"],
    size: Float[Array, "agents 3"],
) -> Bool[Array, "agents agents"]:
    """Whether the leading edge of i touches the box of j: a segment and a rectangle, by separating axes."""
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
