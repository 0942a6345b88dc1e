"""Overlap of oriented boxes by the separating-axis theorem."""

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


def overlap_pairs(
    xy: Float[Array, "agents 2"], yaw: Float[Array, "agents"], size: Float[Array, "agents 3"]
) -> Bool[Array, "agents agents"]:
    """Whether boxes i and j touch or overlap in the plane, at [i, j]. Symmetric; the diagonal is True.

    Two rectangles are disjoint exactly when one of the four directions of their sides separates them.
    """
    half = 0.5 * size[:, :2]
    # Coordinate by coordinate: XLA vectorises loops over [agents, agents], but not over [agents, agents, 2].
    x, y, (cos, sin) = xy[:, 0], xy[:, 1], heading(yaw)
    east, north = x[None, :] - x[:, None], y[None, :] - y[:, None]  # [i, j] from i to j
    c = jnp.abs(cos[:, None] * cos[None, :] + sin[:, None] * sin[None, :])  # of the angle between the two
    s = jnp.abs(sin[:, None] * cos[None, :] - cos[:, None] * sin[None, :])
    length, width = half[:, 0], half[:, 1]

    def overlap_along(cos: Array, sin: Array, own: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
        along, across = jnp.abs(east * cos + north * sin), jnp.abs(north * cos - east * sin)
        return (along <= own[0] + other[0] * c + other[1] * s) & (
            across <= own[1] + other[0] * s + other[1] * c
        )

    i, j = (length[:, None], width[:, None]), (length[None, :], width[None, :])
    # Both sides in one pass: transposing the result of one side would be slower (strided reads).
    return overlap_along(cos[:, None], sin[:, None], i, j) & overlap_along(cos[None, :], sin[None, :], j, i)


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
