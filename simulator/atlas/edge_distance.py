"""Signed distances from agents to the edge of the drivable area on their level."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator import collision
from simulator.atlas.affine_variants import on_map
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.config import SimulatorConfig
from simulator.state import WorldState


def edge_distance(
    state: WorldState, xy: Float[Array, "agents *n 2"], atlas: RoadAtlas, config: SimulatorConfig
) -> Float[Array, "agents *n"]:
    """Signed distance (m, + inside, clipped to +-8) from world positions (m) to the edge of the drivable area, on the
    level of the agent that each belongs to."""
    flat = on_map(state.scenario, xy, config).reshape(len(xy), -1, 2)
    height = jnp.broadcast_to(state.position[:, None, 2:], (*flat.shape[:2], 1))
    inverse = state.scenario.map_inverse if config.map_variants > 1 else None
    distance = partial(drivable_distance, atlas, state.map_id, map_inverse=inverse)
    return jax.vmap(jax.vmap(distance))(jnp.concatenate([flat, height], axis=-1)).reshape(xy.shape[:-1])


def corner_edge_distance(
    state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> Float[Array, "agents 4"]:
    """`edge_distance` of the four corners of each agent's box."""
    corners = collision.corners(state.position[:, :2], state.yaw, state.scenario.size)
    return edge_distance(state, corners, atlas, config)
