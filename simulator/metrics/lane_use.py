"""Relation of each agent to the lanes: against their direction, inside one of them, in a junction.

Lanes are looked up as the atlas's samples, about 6 m apart, each extended as a straight line by 5 m both ways. A lane
contains an agent when the centre of its box is within half the lane's mean width of that line. In bends the line is
inexact: of cars 0.3 m off the middle of a bend's lane 0.2 % count as outside it, of others none (CARLA's Town02 to
Town05 and Town10HD). Unlike `simulator.atlas.nearest_lane` this needs all lanes that contain an agent, not the nearest.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import on_map
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import SimulatorConfig
from simulator.conventions import LEVEL_GAP_M
from simulator.state import WorldState

CANDIDATES = 32
"""Number of lane samples that are tested: the nearest to the agent's cell."""
REACH_M = 5.0
OPPOSITE_COS = -0.5
"""A lane whose direction is more than 120 degrees from an agent's heading is opposite."""
SLACK_M = 0.2
"""Distance by which a flank may be beyond the edge of a lane: widths are means and bends are approximated."""


@struct.dataclass
class LaneUse:
    """Relation of one world's agents to the lanes."""

    against_traffic: ArrayField  # [agents] bool: a lane contains it, and every lane that does is opposite
    outside_lane: ArrayField  # [agents] bool: no lane in its direction contains both its flanks
    in_junction: ArrayField  # [agents] bool: a lane of a junction contains it


def lane_use(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> LaneUse:
    """The relation of one world's agents to the lanes around them."""
    xy = on_map(state.scenario, state.position[:, :2], config)
    rows = table_rows(atlas, state.map_id, xy)
    found = atlas.lane_candidates[rows][:, :CANDIDATES]
    samples = jnp.maximum(found, 0)
    lanes = atlas.sample_lane[samples]
    along, across, rise, cos_heading = _relative_to_lanes(state, xy, samples, atlas, config)
    half = 0.5 * atlas.lane_width_m[lanes]
    near = (found >= 0) & (jnp.abs(along) <= REACH_M) & (jnp.abs(rise) < LEVEL_GAP_M)
    holds = near & (jnp.abs(across) <= half)
    width = state.scenario.size[:, 1:2]
    if config.map_variants > 1:  # in metres of the map, as the lanes are
        width = width * jnp.sqrt(jnp.abs(jnp.linalg.det(state.scenario.map_inverse)))
    flank = jnp.abs(across) + 0.5 * width
    contains = holds & (cos_heading > 0) & (flank <= half + SLACK_M)
    opposite = cos_heading < OPPOSITE_COS
    return LaneUse(
        against_traffic=(holds & opposite).any(axis=1) & ~(holds & ~opposite).any(axis=1),
        outside_lane=~contains.any(axis=1),
        in_junction=(holds & (atlas.lane_junction[lanes] >= 0)).any(axis=1),
    )


def _relative_to_lanes(
    state: WorldState,
    xy: Float[Array, "agents 2"],
    samples: Int[Array, "agents n"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[
    Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"]
]:
    """Position of each agent relative to its samples: m along the lane, m left of it, m above it; and the cosine of the
    angle between its heading and the lane's."""
    x, y, cos, sin, z = jnp.moveaxis(atlas.sample_pose[samples], -1, 0)
    east, north = xy[:, :1] - x, xy[:, 1:2] - y
    along, across = east * cos + north * sin, north * cos - east * sin
    heading = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    heading = on_map(state.scenario, heading, config)
    heading = heading / jnp.linalg.norm(heading, axis=-1, keepdims=True)
    return along, across, state.position[:, 2:] - z, cos * heading[:, :1] + sin * heading[:, 1:]
