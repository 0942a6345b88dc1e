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
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.collision import Boxes, boxes_of, overlap_between
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


@struct.dataclass
class Bodies:
    """Boxes that move in the plane."""

    xy: ArrayField  # [n, 2] m, world, centre
    yaw: ArrayField  # [n] rad
    speed: ArrayField  # [n] m/s, signed, along the heading
    size: ArrayField  # [n, 3] m

    @property
    def boxes(self) -> Boxes:
        """The boxes, for `simulator.collision.overlap_between`."""
        return boxes_of(self.xy, self.yaw, self.size)


def bodies_of(state: WorldState) -> Bodies:
    """The agents of one world."""
    return Bodies(state.position[:, :2], state.yaw, state.speed, state.scenario.size)


def contacts(
    state: WorldState, next_state: WorldState, touching: Bool[Array, "agents agents"]
) -> Int[Array, "agents agents"]:
    """`Contact` of agent i with agent j at [i, j], for the pairs that are ``touching`` at the end of a step.

    ``next_state`` holds poses and speeds as moved, before a crash sets speeds to zero.
    """
    moves = bodies_of(state), bodies_of(next_state)
    return contacts_between(moves, moves, touching)


def contacts_between(
    first: tuple[Bodies, Bodies], second: tuple[Bodies, Bodies], touching: Bool[Array, "first second"]
) -> Int[Array, "first second"]:
    """`Contact` of body i of the first with body j of the second at [i, j], for the pairs that are ``touching`` at the
    end of a step. Both are given at its beginning and at its end, there with the speeds at which they met."""
    kind = jnp.full(touching.shape, int(Contact.NONE))
    for share in STEP_SHARES:
        one = _on_the_way(*first, share)
        other = one if second is first else _on_the_way(*second, share)
        boxes = one.boxes
        overlaps = touching & overlap_between(boxes, boxes if other is one else other.boxes)
        kind = jnp.where(overlaps & (kind == Contact.NONE), _contact_at(one, other), kind)
    return kind


def _on_the_way(before: Bodies, after: Bodies, share: float) -> Bodies:
    """The bodies after a share of a step, at the speeds of its end."""
    turn = wrap_angle(after.yaw - before.yaw)
    return after.replace(xy=before.xy + share * (after.xy - before.xy), yaw=before.yaw + share * turn)


def at_fault(
    kind: Int[Array, "agents others"], outside_lane: Bool[Array, " agents"]
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
    to_xy: Float[Array, "others 2"],
) -> Float[Array, "agents others"]:
    """Cosine of the bearing from agent i's trailing axle to the centre ``to_xy`` of j, relative to i's ``heading``, at
    [i, j].

    ``heading`` is the direction of motion (`travel_yaw`), so the trailing axle is the rear axle unless i reverses.
    """
    cos, sin = jnp.cos(heading)[:, None], jnp.sin(heading)[:, None]
    east, north = to_xy[None, :, 0] - xy[:, None, 0], to_xy[None, :, 1] - xy[:, None, 1]
    along, across = (
        east * cos + north * sin + 0.5 * WHEELBASE_RATIO * size[:, None, 0],
        north * cos - east * sin,
    )
    return along / jnp.maximum(jnp.sqrt(along**2 + across**2), 1e-6)


def travel_yaw(yaw: Float[Array, " agents"], speed: Float[Array, " agents"]) -> Float[Array, " agents"]:
    """Direction of motion (rad): ``yaw``, or its opposite for agents that reverse."""
    return jnp.where(speed < 0, yaw + jnp.pi, yaw)


def _contact_at(first: Bodies, second: Bodies) -> Int[Array, "first second"]:
    """`Contact` at [i, j] of every pair, if it touches in these poses."""
    heading = travel_yaw(first.yaw, first.speed)
    behind = bearing_cos(first.xy, heading, first.size, second.xy) < BEHIND_COS
    kind = jnp.where(_front_touches(first, heading, second), int(Contact.FRONT), int(Contact.SIDE))
    kind = jnp.where(behind, int(Contact.HIT_FROM_BEHIND), kind)
    kind = jnp.where(_stands(second)[None, :], int(Contact.HIT_STATIONARY), kind)
    return jnp.where(_stands(first)[:, None], int(Contact.STATIONARY), kind)


def _stands(bodies: Bodies) -> Bool[Array, " n"]:
    return jnp.abs(bodies.speed) < STANDSTILL_MPS


def _front_touches(
    first: Bodies, heading: Float[Array, " first"], second: Bodies
) -> Bool[Array, "first second"]:
    """Whether the leading edge of i touches the box of j, at [i, j]: a segment and a rectangle, by separating axes."""
    length_i, width_i = 0.5 * first.size[:, 0, None], 0.5 * first.size[:, 1, None]
    length_j, width_j = 0.5 * second.size[None, :, 0], 0.5 * second.size[None, :, 1]
    cos_i, sin_i = jnp.cos(heading)[:, None], jnp.sin(heading)[:, None]
    cos_j, sin_j = jnp.cos(second.yaw)[None, :], jnp.sin(second.yaw)[None, :]
    east = second.xy[None, :, 0] - (
        first.xy[:, 0, None] + length_i * cos_i
    )  # from the middle of the edge of i
    north = second.xy[None, :, 1] - (first.xy[:, 1, None] + length_i * sin_i)
    c, s = jnp.abs(cos_i * cos_j + sin_i * sin_j), jnp.abs(sin_i * cos_j - cos_i * sin_j)
    return (
        (jnp.abs(east * cos_i + north * sin_i) <= length_j * c + width_j * s)
        & (jnp.abs(north * cos_i - east * sin_i) <= width_i + length_j * s + width_j * c)
        & (jnp.abs(east * cos_j + north * sin_j) <= length_j + width_i * s)
        & (jnp.abs(north * cos_j - east * sin_j) <= width_j + width_i * c)
    )
