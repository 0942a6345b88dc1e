"""Other routes from where agents are now: the same state, in which some agents are to go elsewhere.

The student's goal augmentation labels such states: what an agent sees stays the same, what it is told does not.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from simulator.angles import wrap_angle
from simulator.atlas.affine_variants import on_map
from simulator.atlas.nearest_lane import nearest_lane
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.reset.goals import draw_goals_m, goals_on_route, steerable_m
from simulator.reset.random_routes import route_along, walk_lanes
from simulator.reset.situations.cast import STRAIGHT_AHEAD
from simulator.state import POLICY, WorldState

BESIDE_M, TURNED_RAD = 1.5, 0.5
"""An agent farther from the start of the route found for it, or turned more against it, keeps its own (our choice)."""


def with_other_routes(
    key: Key[Array, ""],
    state: WorldState,
    which: Bool[Array, " agents"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[WorldState, Bool[Array, " agents"]]:
    """One world in which the agents ``which`` have a new random route with new goals, and the mask of those that do.
    The key is consumed.

    A route begins beside the agent on the lane that is nearest to it, without a lane change on that lane, and has the
    length and the spacing of goals of a spawned one. An agent keeps its route if it is not driven by policy or drives
    no more, if it is not on a lane in its direction (`BESIDE_M`, `TURNED_RAD`), or if no goal fits on the new route.
    Cyclists and pedestrians keep their distance to the middle of the lane.
    """
    walk_key, goal_key = jax.random.split(key)
    scenario, agents = state.scenario, state.yaw.shape[0]
    xy = on_map(scenario, state.position[:, :2], config)
    place = jax.vmap(lambda point: nearest_lane(atlas, state.map_id, point))(
        jnp.concatenate([xy, state.position[:, 2:]], axis=1)
    )
    lane = jnp.maximum(place.lane, 0)
    on_first = jnp.full(agents, STRAIGHT_AHEAD)
    walks = jax.vmap(walk_lanes, (0, 0, None, None, 0))(
        jax.random.split(walk_key, agents), lane, atlas, config, on_first
    )
    slow = (scenario.kind == CYCLIST) | (scenario.kind == PEDESTRIAN)
    shift = jnp.where(slow, -place.offset_m, 0.0)
    route, road_m = jax.vmap(route_along, (0, 0, 0, 0, None, None, None))(
        walks, place.along_m, 0.5 * scenario.size[:, 0], shift, scenario.map_matrix, atlas, config
    )
    length_m = jnp.minimum(road_m, steerable_m(route, scenario.size))
    goal_m = draw_goals_m(goal_key, scenario.speed_gain, scenario.goal_m.shape[1], config.goal_spacing_m)
    at_end = walks.dead_end & (length_m == road_m)
    goals = goals_on_route(goal_m, scenario.goal_radius_m, length_m, at_end)
    beside_m, turned = _from_start(state, route)
    changed = which & state.active & (scenario.control == POLICY) & (place.lane >= 0) & (goals.number > 0)
    changed &= (jnp.abs(beside_m) < BESIDE_M) & (jnp.abs(turned) < TURNED_RAD)

    def put(new: Array, old: Array) -> Array:
        return jnp.where(changed.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    scenario = scenario.replace(
        route=put(route, scenario.route),
        goal_m=put(goals.at_m, scenario.goal_m),
        num_goals=put(goals.number, scenario.num_goals),
        goal_radius_m=put(goals.radius_m, scenario.goal_radius_m),
    )
    return state.replace(
        scenario=scenario,
        route_m=put(jnp.zeros(agents), state.route_m),
        route_offset_m=put(beside_m, state.route_offset_m),
        goal_index=put(jnp.zeros(agents, jnp.int32), state.goal_index),
        best_route_m=put(jnp.zeros(agents), state.best_route_m),
    ), changed


def _from_start(
    state: WorldState, route: Float[Array, "agents stations 6"]
) -> tuple[Float[Array, " agents"], Float[Array, " agents"]]:
    """Lateral offset (m, left positive) and turn (rad) of each agent from the start of a route."""
    x, y, cos, sin = (route[:, 0, column] for column in range(4))
    east, north = state.position[:, 0] - x, state.position[:, 1] - y
    return north * cos - east * sin, wrap_angle(state.yaw - jnp.arctan2(sin, cos))
