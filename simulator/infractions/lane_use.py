"""Where an agent is among the lanes: against their direction, inside one of them, in a junction.

Lanes are looked up as the atlas's samples, about 6 m apart, each continued straight for 5 m both ways. A lane holds an
agent when the centre of its box is within half the lane's mean width of that line. In bends the line errs: of cars
0.3 m off the middle of a bend's lane 0.2 % count as astray, of others none (CARLA's Town02 to Town05 and Town10HD).
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from simulator.atlas import RoadAtlas, table_row
from simulator.collision import MIN_HEIGHT_GAP_M
from simulator.world import Leaf, WorldState

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

    against: Leaf  # [agents] bool: every lane that holds it goes the other way, and there is one
    strays: Leaf  # [agents] bool: no lane that goes its way holds both its flanks, level with its centre
    in_junction: Leaf  # [agents] bool: a lane of a junction holds it


def lane_use(state: WorldState, atlas: RoadAtlas) -> LaneUse:
    """Looks the agents of one world up."""
    rows = jax.vmap(table_row, (None, None, 0))(atlas, state.map_id, state.position[:, :2])
    found = atlas.lane_candidates[rows][:, :CANDIDATES]
    samples = jnp.maximum(found, 0)
    lanes = atlas.sample_lane[samples]
    along, across, rise, agrees = _place(state, samples, atlas)
    half = 0.5 * atlas.lane_width_m[lanes]
    near = (found >= 0) & (jnp.abs(along) <= REACH_M) & (jnp.abs(rise) < MIN_HEIGHT_GAP_M)
    holds = near & (jnp.abs(across) <= half)
    flank = jnp.abs(across) + 0.5 * state.scenario.size[:, 1:2]
    contains = holds & (agrees > 0) & (flank <= half + SLACK_M)
    opposite = agrees < OPPOSITE_COS
    return LaneUse(
        against=(holds & opposite).any(axis=1) & ~(holds & ~opposite).any(axis=1),
        strays=~contains.any(axis=1),
        in_junction=(holds & (atlas.lane_junction[lanes] >= 0)).any(axis=1),
    )


def _place(
    state: WorldState, samples: Array, atlas: RoadAtlas
) -> tuple[
    Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"], Float[Array, "agents n"]
]:
    """Each agent relative to its samples: metres along the lane, left of it and above it, and the cosine of the angle
    between its heading and the lane's."""
    x, y, z, cos, sin = (column[samples] for column in atlas.sample_pose)
    east, north = state.position[:, :1] - x, state.position[:, 1:2] - y
    along, across = east * cos + north * sin, north * cos - east * sin
    heading = state.yaw[:, None]
    return along, across, state.position[:, 2:] - z, cos * jnp.cos(heading) + sin * jnp.sin(heading)
