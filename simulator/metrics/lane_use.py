"""Where an agent is among the lanes: against their direction, inside one of them, in a junction.

Lanes are looked up as the atlas's samples, about 6 m apart, each continued straight for 5 m both ways. A lane holds an
agent when the centre of its box is within half the lane's mean width of that line. In bends the line errs: of cars
0.3 m off the middle of a bend's lane 0.2 % count as astray, of others none (CARLA's Town02 to Town05 and Town10HD).
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
"""Lane samples looked at, the nearest to the agent's cell."""
REACH_M = 5.0
OPPOSITE_COS = -0.5
"""A lane whose direction is more than 120 degrees from an agent's heading goes the other way."""
SLACK_M = 0.2
"""How far a flank may be beyond the edge of a lane: widths are means and bends are cut."""


@struct.dataclass
class LaneUse:
    """How the agents of one world use the lanes."""

    against: ArrayField  # [agents] bool: every lane that holds it goes the other way, and there is one
    strays: (
        ArrayField  # [agents] bool: no lane that goes its way holds both its flanks, level with its centre
    )
    in_junction: ArrayField  # [agents] bool: a lane of a junction holds it


def lane_use(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> LaneUse:
    """Looks the agents of one world up."""
    xy = on_map(state.scenario, state.position[:, :2], config)
    rows = table_rows(atlas, state.map_id, xy)
    found = atlas.lane_candidates[rows][:, :CANDIDATES]
    samples = jnp.maximum(found, 0)
    lanes = atlas.sample_lane[samples]
    along, across, rise, agrees = _place(state, xy, samples, atlas, config)
    half = 0.5 * atlas.lane_width_m[lanes]
    near = (found >= 0) & (jnp.abs(along) <= REACH_M) & (jnp.abs(rise) < LEVEL_GAP_M)
    holds = near & (jnp.abs(across) <= half)
    width = state.scenario.size[:, 1:2]
    if config.map_variants > 1:  # in metres of the map, as the lanes are
        width = width * jnp.sqrt(jnp.abs(jnp.linalg.det(state.scenario.map_inverse)))
    flank = jnp.abs(across) + 0.5 * width
    contains = holds & (agrees > 0) & (flank <= half + SLACK_M)
    opposite = agrees < OPPOSITE_COS
    return LaneUse(
        against=(holds & opposite).any(axis=1) & ~(holds & ~opposite).any(axis=1),
        strays=~contains.any(axis=1),
        in_junction=(holds & (atlas.lane_junction[lanes] >= 0)).any(axis=1),
    )


def _place(
    state: WorldState,
    xy: Float[Array, "agents 2"],
    samples: Int[Array, "agents n"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[
    Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"]
]:
    """Each agent relative to its samples: metres along the lane, left of it and above it, and the cosine of the angle
    between its heading and the lane's."""
    x, y, cos, sin, z = jnp.moveaxis(atlas.sample_pose[samples], -1, 0)
    east, north = xy[:, :1] - x, xy[:, 1:2] - y
    along, across = east * cos + north * sin, north * cos - east * sin
    ahead = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    ahead = on_map(state.scenario, ahead, config)
    ahead = ahead / jnp.linalg.norm(ahead, axis=-1, keepdims=True)
    return along, across, state.position[:, 2:] - z, cos * ahead[:, :1] + sin * ahead[:, 1:]
