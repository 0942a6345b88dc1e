"""Where spawned agents start: on which lanes of a map, how far along them, and how many fit there."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool

from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import least_stretch, transformed
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.reset.bodies import Bodies
from simulator.reset.goals import LEAST_DRIVE_M
from simulator.reset.random_routes import draw_positions, on_lane

POSITION_TRIES = 12
"""Random positions tried per agent before it is left out of the world."""
SPAWN_GAP_M = 4.0
"""Least gap between the circumscribed circles of two spawned agents."""
METRES_PER_AGENT = 15.0
"""Length of lane per agent that a map must have."""
NARROW_M = 0.3
"""A body this much farther from the middle of its lane than the edge of the road is off the road (see
`SimulatorConfig.offroad_margin_m`)."""


@struct.dataclass
class Starts:
    """Where each agent of a world starts, in metres of the map."""

    lane: ArrayField  # [agents] int32
    along_m: ArrayField  # [agents] m from the lane's start
    placed: ArrayField  # [agents] bool: False where there was no room


def check_capacity(atlas: RoadAtlas, num_agents: int, maps: Iterable[int] | None = None) -> None:
    """Raises ValueError when a map of the atlas (or one of ``maps``) has too little road for ``num_agents``, or no lane
    on which an agent can start."""
    for number in range(atlas.num_maps) if maps is None else maps:
        name, length = atlas.names[number], float(atlas.map_length_m[number])
        if not _can_start(atlas, number).any():
            raise ValueError(
                f"map {name}: none of its {int(atlas.map_lane_count[number])} lanes is outside junctions and has "
                f"{LEAST_DRIVE_M:g} m of road ahead; expected one, since agents start there"
            )
        capacity = int(length / METRES_PER_AGENT)
        if num_agents > capacity:
            raise ValueError(
                f"num_agents={num_agents} is more than the {length:.0f} m of lanes in {name} can hold; "
                f"at most {capacity} agents fit there"
            )


def _can_start(atlas: RoadAtlas, number: int) -> Bool[np.ndarray, " lanes"]:
    """Whether each lane of one map is outside junctions and long enough to start on, or leads into another lane."""
    first = int(atlas.map_lane_start[number])
    own = slice(first, first + int(atlas.map_lane_count[number]))
    leads_on = (np.asarray(atlas.lane_successors)[own] >= 0).any(axis=1)
    long_enough = np.asarray(atlas.lane_length_m)[own] >= LEAST_DRIVE_M
    return (np.asarray(atlas.lane_junction)[own] < 0) & (leads_on | long_enough)


def place_agents(
    key: Array, bodies: Bodies, map_id: Array, map_matrix: Array, atlas: RoadAtlas, map_variants: int
) -> Starts:
    """Places agents one after the other where their circumscribed circles keep a gap, and where all of their box is
    on the road: not across the start of a lane into which no other leads, nor where a lane that opens or ends at the
    edge of the road is narrower than they are.

    An agent that finds no free position in ``POSITION_TRIES`` tries is not placed. The key is consumed.
    """
    agents = bodies.kind.shape[0]
    radius = 0.5 * jnp.sqrt(bodies.size[:, 0] ** 2 + bodies.size[:, 1] ** 2)
    lane, along = draw_positions(jax.random.uniform(key, (agents, POSITION_TRIES)), map_id, atlas)
    position = on_lane(lane, along / jnp.maximum(atlas.lane_length_m[lane], 1e-3), atlas)[..., :2]
    x, y = jnp.moveaxis(transformed(map_matrix, position), -1, 0)
    opens = (atlas.lane_predecessors[lane] < 0).all(axis=-1)
    behind_m = 0.5 * bodies.size[:, :1] / least_stretch(map_variants)
    allowed = (atlas.lane_junction[lane] < 0) & (~opens | (along >= behind_m))
    for ahead in (-behind_m, behind_m):
        allowed &= _wide_enough(lane, along + ahead, bodies.size[:, 1:2], map_id, atlas)

    def place_one(
        taken: tuple[Array, Array, Array], index: Array
    ) -> tuple[tuple[Array, Array, Array], Array]:
        taken_x, taken_y, reach = taken  # reach is negative for agents that are not placed yet
        apart = (x[index][:, None] - taken_x) ** 2 + (y[index][:, None] - taken_y) ** 2
        clear = (apart > (reach + radius[index] + SPAWN_GAP_M) ** 2) | (reach < 0)
        free = clear.all(axis=1) & allowed[index]
        best = jnp.argmax(free)
        reach = reach.at[index].set(jnp.where(free[best], radius[index], -1.0))
        return (taken_x.at[index].set(x[index, best]), taken_y.at[index].set(y[index, best]), reach), best

    start = (jnp.zeros(agents), jnp.zeros(agents), jnp.full(agents, -1.0))
    (_, _, reach), best = jax.lax.scan(place_one, start, jnp.arange(agents))
    best = best[:, None]
    lane, along = (jnp.take_along_axis(value, best, axis=1)[:, 0] for value in (lane, along))
    return Starts(lane, along, reach >= 0)


def lateral_shift(kind: Array, width: Array, lane: Array, atlas: RoadAtlas) -> Array:
    """Lateral offset (m, right positive) of an agent's route from the middle of its lane."""
    slow = (kind == CYCLIST) | (kind == PEDESTRIAN)
    return jnp.where(slow, jnp.maximum(0.5 * atlas.lane_width_m[lane] - 0.5 * width - 0.5, 0.0), 0.0)


def _wide_enough(lane: Array, along: Array, width: Array, map_id: Array, atlas: RoadAtlas) -> Array:
    """Whether half a body's width on the middle of its lane is on the road, but for NARROW_M, at each position
    [agents, tries]."""
    share = jnp.clip(along / jnp.maximum(atlas.lane_length_m[lane], 1e-3), 0.0, 1.0)
    xyz = on_lane(lane, share, atlas)[..., jnp.array([0, 1, 4])].reshape(-1, 3)
    edge = jax.vmap(lambda point: drivable_distance(atlas, map_id, point))(xyz)
    return edge.reshape(lane.shape) >= 0.5 * width - NARROW_M
