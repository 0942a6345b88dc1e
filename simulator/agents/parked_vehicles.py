"""Vehicles that stand still for a whole episode: parked at the edge of the road, or crashed on a lane.

Both start where any agent starts, on a lane outside junctions. A parked one is shifted to the right until its side is
at the edge of the drivable area, as beside a kerb. It is left out where that edge is not straight along its body (a
driveway or a side road), is too far away, or where it would block the middle of the lane. All of this is our choice.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from simulator.atlas.edge_distance import edge_distance
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.state import PARKED, WorldState

PARKING_KERB_M = 0.2
"""How far the side of a parked vehicle lies beyond the edge of the drivable area."""
FARTHEST_M, SEARCH_M = 9.0, 0.25
"""Largest shift tried, and the spacing of the shifts tried."""
STRAIGHT_M = 0.75
"""Largest difference between the shifts to the edge at its front, middle and rear."""
BLOCKED_M = 0.4
"""Largest distance by which a parked vehicle reaches across the middle of the lane that it started on."""
GAP_M = 1.5
"""Least gap between the circumscribed circles of a parked or crashed vehicle and any other agent; it is left out where
the gap is smaller."""


def place_parked_vehicles(
    key: Key[Array, ""],
    state: WorldState,
    crashed: Bool[Array, " agents"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> WorldState:
    """A world's initial state with its PARKED agents moved to the edge of the road, or, where ``crashed``, turned to
    any angle on their lane.

    The key is consumed. Agents for which there is no room are left out (not present).
    """
    stationary = state.scenario.control == PARKED
    size, parked = state.scenario.size, stationary & ~crashed
    shift, found = shift_to_road_edge(state, atlas, config)
    right = jnp.stack([jnp.sin(state.yaw), -jnp.cos(state.yaw), jnp.zeros_like(state.yaw)], axis=-1)
    position = state.position + jnp.where(parked, shift, 0.0)[:, None] * right
    turned = jax.random.uniform(key, state.yaw.shape, minval=-jnp.pi, maxval=jnp.pi)
    yaw = jnp.where(crashed & stationary, turned, state.yaw)
    radius = 0.5 * jnp.linalg.norm(size[:, :2], axis=-1)
    apart = jnp.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=-1) - radius - radius[:, None]
    others = state.present & ~jnp.eye(len(radius), dtype=bool)
    free = ((apart > GAP_M) | ~others).all(axis=1)
    present = state.present & (~stationary | (free & (found | crashed)))
    return state.replace(
        position=position, yaw=yaw, present=present, speed=jnp.where(stationary, 0.0, state.speed)
    )


def shift_to_road_edge(
    state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> tuple[Float[Array, " agents"], Bool[Array, " agents"]]:
    """Shift (m) to the right that brings each agent to the edge of the road, 0 where that edge is not straight; and
    whether the agent can be parked there."""
    length, width = state.scenario.size[:, 0], state.scenario.size[:, 1]
    shifts = SEARCH_M * jnp.arange(round(FARTHEST_M / SEARCH_M))
    side = 0.5 * width[:, None, None] + shifts - PARKING_KERB_M  # [agents, 1, shifts] m right of the start
    offset = jnp.array([-0.5, 0.0, 0.5])[None, :, None] * length[:, None, None]
    cos, sin = jnp.cos(state.yaw)[:, None, None], jnp.sin(state.yaw)[:, None, None]
    x = state.position[:, 0, None, None] + offset * cos + side * sin
    y = state.position[:, 1, None, None] + offset * sin - side * cos
    distance = edge_distance(state, jnp.stack([x, y], axis=-1), atlas, config)
    outside = distance < 0.0
    edge = jnp.where(outside.any(axis=2), shifts[jnp.argmax(outside, axis=2)], jnp.inf) - SEARCH_M
    near, far = edge.min(axis=1), edge.max(axis=1)
    straight = jnp.isfinite(far) & (far - near <= STRAIGHT_M)
    return jnp.where(straight, near, 0.0), straight & (near >= 0.5 * width - BLOCKED_M)
