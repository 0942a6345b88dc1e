"""Which other agents a camera on the own roof could see: those that no other box hides.

A student drives from pictures; it cannot copy a decision that its teacher took because of somebody behind a lorry
(the learner-expert asymmetry of LEAD, arXiv 2512.20563). Lines of sight run from the camera to the top of the other's
box, at its centre and near its four corners; one that is free is enough.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.state import WorldState

CAMERA_HEIGHT_M = 1.5
"""Of the camera above the ground (the rig of nuPlan)."""
_INSET = 0.9  # of the half sizes: where sight lines end
_CORNERS = ((0.0, 0.0), (_INSET, _INSET), (_INSET, -_INSET), (-_INSET, _INSET), (-_INSET, -_INSET))


def visible(
    state: WorldState, others: Int[Array, "agents n"], there: Bool[Array, "agents n"]
) -> Bool[Array, "agents n"]:
    """Which of ``others`` (indices; ``there`` says which slots hold somebody) each agent sees. Only they themselves
    hide one another: give all that are near."""
    box = _boxes(state)
    eye = box[:, :2], box[:, 6] + CAMERA_HEIGHT_M
    mine = box[others]  # [agents, n, 8]
    free = jnp.zeros(others.shape, bool)
    for along, across in _CORNERS:
        point, height = _point(mine, along, across), mine[..., 6] + mine[..., 7]
        free = free | ~_hidden(eye, point, height, mine, there)
    return there & free


def _boxes(state: WorldState) -> Float[Array, "agents 8"]:
    """x, y, cos, sin, half length, half width, ground height, height."""
    half = 0.5 * state.scenario.size[:, :2]
    pose = (state.position[:, 0], state.position[:, 1], jnp.cos(state.yaw), jnp.sin(state.yaw))
    return jnp.stack(
        [*pose, half[:, 0], half[:, 1], state.position[:, 2], state.scenario.size[:, 2]], axis=-1
    )


def _point(box: Float[Array, "*n 8"], along: float, across: float) -> Float[Array, "*n 2"]:
    """A place on each box, in half sizes ahead of and left of its centre; world."""
    x, y, cos, sin, half_length, half_width = (box[..., i] for i in range(6))
    ahead, left = along * half_length, across * half_width
    return jnp.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos], axis=-1)


def _hidden(
    eye: tuple[Float[Array, "agents 2"], Float[Array, " agents"]],
    point: Float[Array, "agents n 2"],
    height: Float[Array, "agents n"],
    box: Float[Array, "agents n 8"],
    there: Bool[Array, "agents n"],
) -> Bool[Array, "agents n"]:
    """Whether the line from each agent's eye to each point runs through any of the other boxes."""
    start, start_height = eye
    x, y, cos, sin, half_length, half_width, ground, tall = (box[:, None, :, i] for i in range(8))
    east, north = start[:, 0, None, None] - x, start[:, 1, None, None] - y
    run = point - start[:, None]
    run_east, run_north = run[..., 0, None], run[..., 1, None]
    enters, leaves = jnp.zeros(()), jnp.ones(())
    for offset, speed, half in (  # shares of the line that lie between two opposite sides of the box
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


def first_of(
    mask: Bool[Array, "agents n"], count: int
) -> tuple[Int[Array, "agents count"], Bool[Array, "agents count"]]:
    """Slots of the first ``count`` that the mask holds, in order, and which of these there are."""
    place = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, count)
    slots = jnp.arange(count)
    index = jnp.argmax(place[:, None, :] == slots[:, None], axis=-1)
    return index.astype(jnp.int32), slots < mask.sum(axis=1)[:, None]
