"""Which other agents are visible from a camera on an agent's roof, given occlusion by other agents' boxes.

A student drives from images; it cannot imitate a decision that depends on an agent hidden behind a truck (the
learner-expert asymmetry of LEAD, arXiv 2512.20563). Lines of sight run from the camera to the top of the other's box,
at its centre and near its four corners; an agent is visible if one of them is free.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.angles import wrap_angle
from simulator.state import WorldState

CAMERA_HEIGHT_M = 1.5
"""Height of the camera above the ground (nuPlan's rig)."""
_INSET = 0.9  # sight lines end at these shares of the half sizes
_CORNERS = ((0.0, 0.0), (_INSET, _INSET), (_INSET, -_INSET), (-_INSET, _INSET), (-_INSET, -_INSET))


View = tuple[tuple[float, float], ...]
"""Of each camera the direction in which it looks, left of straight ahead, and half of its horizontal angle, both rad.
The cameras are taken to be where the line of sight begins, and all agents have the same."""


def visible(
    state: WorldState,
    others: Int[Array, "agents n"],
    there: Bool[Array, "agents n"],
    view: View | None = None,
) -> Bool[Array, "agents n"]:
    """Mask of the agents ``others`` (indices; ``there`` masks the slots in use) that are visible to each agent, in any
    direction or, with a ``view``, by one of its cameras.

    Only agents among ``others`` occlude one another, so it should list all that are near.
    """
    box = _boxes(state)
    camera = box[:, :2], box[:, 6] + CAMERA_HEIGHT_M
    mine = box[others]  # [agents, n, 8]
    free = jnp.zeros(others.shape, bool)
    for along, across in _CORNERS:
        point, height = _point(mine, along, across), mine[..., 6] + mine[..., 7]
        sees = ~_hidden(camera, point, height, mine, there)
        if view is not None:
            sees &= _in_view(box, point, view)
        free = free | sees
    return there & free


def _boxes(state: WorldState) -> Float[Array, "agents 8"]:
    """x, y, cos, sin, half length, half width, ground height, height."""
    half = 0.5 * state.scenario.size[:, :2]
    pose = (state.position[:, 0], state.position[:, 1], jnp.cos(state.yaw), jnp.sin(state.yaw))
    return jnp.stack(
        [*pose, half[:, 0], half[:, 1], state.position[:, 2], state.scenario.size[:, 2]], axis=-1
    )


def _point(box: Float[Array, "*n 8"], along: float, across: float) -> Float[Array, "*n 2"]:
    """World position of a point of each box, given in half sizes ahead and left of its centre."""
    x, y, cos, sin, half_length, half_width = (box[..., i] for i in range(6))
    ahead, left = along * half_length, across * half_width
    return jnp.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos], axis=-1)


def _in_view(
    box: Float[Array, "agents 8"], point: Float[Array, "agents n 2"], view: View
) -> Bool[Array, "agents n"]:
    """Whether each point lies in the horizontal angle of one of the cameras of the agent at ``box``."""
    x, y, cos, sin = (box[:, None, i] for i in range(4))
    east, north = point[..., 0] - x, point[..., 1] - y
    bearing = jnp.arctan2(north * cos - east * sin, east * cos + north * sin)
    seen = [jnp.abs(wrap_angle(bearing - yaw)) <= half for yaw, half in view]
    return jnp.stack(seen).any(axis=0)


def _hidden(
    camera: tuple[Float[Array, "agents 2"], Float[Array, " agents"]],
    point: Float[Array, "agents n 2"],
    height: Float[Array, "agents n"],
    box: Float[Array, "agents n 8"],
    there: Bool[Array, "agents n"],
) -> Bool[Array, "agents n"]:
    """Whether the line from each agent's camera to each point passes through any of the other boxes."""
    start, start_height = camera
    x, y, cos, sin, half_length, half_width, ground, tall = (box[:, None, :, i] for i in range(8))
    east, north = start[:, 0, None, None] - x, start[:, 1, None, None] - y
    run = point - start[:, None]
    run_east, run_north = run[..., 0, None], run[..., 1, None]
    enters, leaves = jnp.zeros(()), jnp.ones(())
    for offset, speed, half in (  # interval of the line between two opposite sides of the box
        (east * cos + north * sin, run_east * cos + run_north * sin, half_length),
        (north * cos - east * sin, run_north * cos - run_east * sin, half_width),
    ):
        slow = jnp.where(jnp.abs(speed) < 1e-6, 1e-6, speed)
        one, other = (-half - offset) / slow, (half - offset) / slow
        enters, leaves = (
            jnp.maximum(enters, jnp.minimum(one, other)),
            jnp.minimum(leaves, jnp.maximum(one, other)),
        )
    rise = (height - start_height[:, None])[..., None]
    lowest = start_height[:, None, None] + jnp.minimum(enters * rise, leaves * rise)
    itself = jnp.eye(point.shape[1], dtype=bool)
    blocks = (enters < leaves) & (lowest < ground + tall) & there[:, None] & ~itself
    return blocks.any(axis=-1)


def first_true(
    mask: Bool[Array, "agents n"], count: int
) -> tuple[Int[Array, "agents count"], Bool[Array, "agents count"]]:
    """Indices of the first ``count`` True entries of each row, in order, and a mask of those that exist."""
    rank = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, count)
    slots = jnp.arange(count)
    index = jnp.argmax(rank[:, None, :] == slots[:, None], axis=-1)
    return index.astype(jnp.int32), slots < mask.sum(axis=1)[:, None]
