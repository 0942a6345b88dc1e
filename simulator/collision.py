"""Overlap of oriented boxes by the separating-axis theorem."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from simulator.conventions import LEVEL_GAP_M
from simulator.dynamics.bicycle import heading


def corners(
    xy: Float[Array, "*n 2"], yaw: Float[Array, "*n"], size: Float[Array, "*n 3"]
) -> Float[Array, "*n 4 2"]:
    """Box corners in world metres: front-left, front-right, rear-right, rear-left."""
    along = jnp.array([0.5, 0.5, -0.5, -0.5]) * size[..., :1]
    across = jnp.array([0.5, -0.5, -0.5, 0.5]) * size[..., 1:2]
    cos, sin = jnp.cos(yaw)[..., None], jnp.sin(yaw)[..., None]
    return xy[..., None, :] + jnp.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)


class Boxes(NamedTuple):
    """Boxes in the plane, prepared for arithmetic on pairs; all fields [n]."""

    x: Array  # m, world, centre
    y: Array
    cos: Array  # of the heading
    sin: Array
    length: Array  # m, HALF of it, as is the width
    width: Array


def boxes_of(xy: Float[Array, "n 2"], yaw: Float[Array, "n"], size: Float[Array, "n 3"]) -> Boxes:
    """The boxes with these centres (m), headings (rad) and sizes (m)."""
    half = 0.5 * size[:, :2]
    return Boxes(xy[:, 0], xy[:, 1], *heading(yaw), half[:, 0], half[:, 1])


def overlap_pairs(
    xy: Float[Array, "agents 2"], yaw: Float[Array, "agents"], size: Float[Array, "agents 3"]
) -> Bool[Array, "agents agents"]:
    """Whether boxes i and j touch or overlap in the plane, at [i, j]. Symmetric; the diagonal is True."""
    boxes = boxes_of(xy, yaw, size)
    return overlap_between(boxes, boxes)


def overlap_between(first: Boxes, second: Boxes) -> Bool[Array, "first second"]:
    """Whether box i of the first and box j of the second touch or overlap in the plane, at [i, j].

    Two rectangles are disjoint exactly when one of the four directions of their sides separates them.
    """
    # Coordinate by coordinate: XLA vectorises loops over [agents, agents], but not over [agents, agents, 2].
    east, north = second.x[None, :] - first.x[:, None], second.y[None, :] - first.y[:, None]  # from i to j
    cos_i, sin_i, cos_j, sin_j = (
        first.cos[:, None],
        first.sin[:, None],
        second.cos[None, :],
        second.sin[None, :],
    )
    c = jnp.abs(cos_i * cos_j + sin_i * sin_j)  # of the angle between the two
    s = jnp.abs(sin_i * cos_j - cos_i * sin_j)

    def overlap_along(cos: Array, sin: Array, own: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
        along, across = jnp.abs(east * cos + north * sin), jnp.abs(north * cos - east * sin)
        return (along <= own[0] + other[0] * c + other[1] * s) & (
            across <= own[1] + other[0] * s + other[1] * c
        )

    i, j = (first.length[:, None], first.width[:, None]), (second.length[None, :], second.width[None, :])
    # Both sides in one pass: transposing the result of one side would be slower (strided reads).
    return overlap_along(cos_i, sin_i, i, j) & overlap_along(cos_j, sin_j, j, i)


def colliding_pairs(
    position: Float[Array, "agents 3"],
    yaw: Float[Array, "agents"],
    size: Float[Array, "agents 3"],
    present: Bool[Array, "agents"],
) -> Bool[Array, "agents agents"]:
    """Whether present agents i and j overlap on the same level, at [i, j]. Symmetric; the diagonal is False."""
    level = jnp.abs(position[:, None, 2] - position[None, :, 2]) < LEVEL_GAP_M
    others = ~jnp.eye(position.shape[0], dtype=bool)
    return overlap_pairs(position[:, :2], yaw, size) & level & others & present[None, :] & present[:, None]


def collides(
    position: Float[Array, "agents 3"],
    yaw: Float[Array, "agents"],
    size: Float[Array, "agents 3"],
    present: Bool[Array, "agents"],
) -> Bool[Array, "agents"]:
    """Whether each present agent overlaps another present agent on the same level."""
    return colliding_pairs(position, yaw, size, present).any(axis=1)
