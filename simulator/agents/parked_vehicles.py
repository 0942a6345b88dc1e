"""Vehicles that stand in a town for a whole episode: parked at the edge of the road, or crashed on a lane.

Both start where any agent starts, on a lane outside junctions. A parked one moves to the right until its side is at
the edge of the drivable area, as beside a kerb; it is left out where that edge is not straight along its body (a drive
or a side road), is too far away, or would leave it standing in the middle of the lane. Our own choice throughout.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from simulator.atlas.edge_distance import road_room
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.state import PARKED, WorldState

KERB_M = 0.2
"""How far a parked vehicle stands out over the edge of the road."""
FARTHEST_M, SEARCH_M = 9.0, 0.25
"""How far from the start's lane the edge is looked for, and how finely."""
STRAIGHT_M = 0.75
"""The edges beside its front, middle and rear differ by no more than this."""
BLOCKED_M = 0.4
"""A parked vehicle reaches no farther than this over the middle of the lane that it started on."""
GAP_M = 1.5
"""Circumscribed circles of an obstacle and any other agent are this far apart, or the obstacle is left out."""


def place_obstacles(
    key: Key[Array, ""],
    state: WorldState,
    crashed: Bool[Array, " agents"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> WorldState:
    """A world's first state with its PARKED agents at the edge of the road, or ``crashed`` on their lane at any angle.

    The key is consumed. Those that find no place are left out (not present).
    """
    obstacle = state.scenario.control == PARKED
    size, parked = state.scenario.size, obstacle & ~crashed
    shift, found = right_shift(state, atlas, config)
    right = jnp.stack([jnp.sin(state.yaw), -jnp.cos(state.yaw), jnp.zeros_like(state.yaw)], axis=-1)
    position = state.position + jnp.where(parked, shift, 0.0)[:, None] * right
    turned = jax.random.uniform(key, state.yaw.shape, minval=-jnp.pi, maxval=jnp.pi)
    yaw = jnp.where(crashed & obstacle, turned, state.yaw)
    radius = 0.5 * jnp.linalg.norm(size[:, :2], axis=-1)
    apart = jnp.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=-1) - radius - radius[:, None]
    others = state.present & ~jnp.eye(len(radius), dtype=bool)
    free = ((apart > GAP_M) | ~others).all(axis=1)
    present = state.present & (~obstacle | (free & (found | crashed)))
    return state.replace(
        position=position, yaw=yaw, present=present, speed=jnp.where(obstacle, 0.0, state.speed)
    )


def right_shift(
    state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> tuple[Float[Array, " agents"], Bool[Array, " agents"]]:
    """How far (m) to the right each agent has to move to stand at the edge of the road, and whether it may."""
    length, width = state.scenario.size[:, 0], state.scenario.size[:, 1]
    tries = SEARCH_M * jnp.arange(round(FARTHEST_M / SEARCH_M))
    side = 0.5 * width[:, None, None] + tries - KERB_M  # [agents, 1, tries] m right of the start
    along = jnp.array([-0.5, 0.0, 0.5])[None, :, None] * length[:, None, None]
    cos, sin = jnp.cos(state.yaw)[:, None, None], jnp.sin(state.yaw)[:, None, None]
    x = state.position[:, 0, None, None] + along * cos + side * sin
    y = state.position[:, 1, None, None] + along * sin - side * cos
    room = road_room(state, jnp.stack([x, y], axis=-1), atlas, config)
    outside = room < 0.0
    edge = jnp.where(outside.any(axis=2), tries[jnp.argmax(outside, axis=2)], jnp.inf) - SEARCH_M
    near, far = edge.min(axis=1), edge.max(axis=1)
    straight = jnp.isfinite(far) & (far - near <= STRAIGHT_M)
    return jnp.where(straight, near, 0.0), straight & (near >= 0.5 * width - BLOCKED_M)
