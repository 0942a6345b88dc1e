"""Resets that spawn agents on a map: bodies, positions without overlap, routes on the lane graph, goals along them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.agents.controllers import all_by_policy, assign_controllers
from simulator.agents.parked_vehicles import place_parked_vehicles
from simulator.atlas.affine_variants import variant_matrices
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import NUM_TRAITS
from simulator.reset.bodies import Bodies, sample_bodies, with_cars
from simulator.reset.goals import draw_goals_m, end_of_route, goals_on_route, steerable_m
from simulator.reset.initial_state import initial_state, new_scenario
from simulator.reset.placement import Starts, lateral_shift, place_agents
from simulator.reset.random_routes import route_along, walk_lanes
from simulator.reset.situations.cast import NONE, Cast
from simulator.reset.situations.populate import (
    SITUATION_STREAM,
    draw_cast,
    goals_beyond,
    obstacle_m,
    seat,
    with_detours,
)
from simulator.state import IDM, WorldState, turns


def reset(key: Array, atlas: RoadAtlas, map_id: Int[Array, ""], config: SimulatorConfig) -> WorldState:
    """The initial state of an episode on map ``map_id`` of the atlas. The key is consumed.

    Agents start on lanes outside junctions, heading along their route, at a random speed below the limit that they
    can hold through the first bend.
    """
    *keys, variant_key, controller_key, obstacle_key = jax.random.split(key, 12)
    body_key, place_key, walk_key, goal_key, trait_key, radius_key, phase_key, lights_key, speed_key = keys
    bodies = sample_bodies(body_key, config)
    variant = jax.random.randint(variant_key, (), 0, config.map_variants)
    matrix = jnp.asarray(variant_matrices(config.map_variants))[variant]
    starts = place_agents(place_key, bodies, map_id, matrix, atlas, config.map_variants)
    cast = None
    if config.situations.share > 0:
        cast_key, car_key, detour_key = jax.random.split(jax.random.fold_in(key, SITUATION_STREAM), 3)
        cast = draw_cast(cast_key, map_id, matrix, atlas, config)
        bodies = with_cars(car_key, bodies, cast.role != NONE, config)
        starts = _starts_of(cast, starts)
    route, road_m, dead_end = _routes(walk_key, bodies, starts, cast, matrix, atlas, config)
    length_m = jnp.minimum(road_m, steerable_m(route, bodies.size))
    goal_m = draw_goals_m(goal_key, bodies.speed_gain, config.num_goals, config.goal_spacing_m)
    lights_on = jax.random.uniform(lights_key) >= config.no_lights_share
    controllers = assign_controllers(controller_key, bodies.kind, config)
    if cast is not None:
        obstacle = obstacle_m(cast, route)
        goal_m = goals_beyond(goal_m, obstacle)
        route = with_detours(detour_key, cast, route, obstacle, matrix, config.situations.detour_share)
        controllers = all_by_policy(controllers, cast.role != NONE)
        lights_on = lights_on & ~cast.lights_off
    least, greatest = config.goal_radius_m
    radius_m = jax.random.uniform(radius_key, (config.num_agents,), minval=least, maxval=greatest)
    goals = goals_on_route(goal_m, radius_m, length_m, dead_end & (length_m == road_m))
    if config.idm_share > 0:
        goals = end_of_route(goals, controllers.control == IDM, length_m, road_m)
    scenario = new_scenario(
        size=bodies.size,
        kind=bodies.kind,
        throttle_gain=bodies.throttle_gain,
        steer_gain=bodies.steer_gain,
        acceleration_gain=bodies.acceleration_gain,
        speed_gain=bodies.speed_gain,
        traits=jax.random.uniform(trait_key, (config.num_agents, NUM_TRAITS)),
        route=route,
        goal_m=goals.at_m,
        num_goals=goals.number,
        goal_radius_m=goals.radius_m,
        light_phase=jax.random.uniform(phase_key),
        lights_on=lights_on,
        map_matrix=matrix,
        control=controllers.control,
        fault=controllers.fault,
        has_idm=config.idm_share > 0,
        has_faults=config.blind_share + config.braker_share > 0,
    )
    placed = starts.placed & (goals.number > 0)
    state = initial_state(scenario, placed, map_id, _start_speed(speed_key, route, bodies), config)
    if config.parked_share + config.crashed_share > 0:
        state = place_parked_vehicles(obstacle_key, state, controllers.crashed, atlas, config)
    return state if cast is None else seat(state, cast, atlas, config)


def _starts_of(cast: Cast, starts: Starts) -> Starts:
    """The starts, of which those of agents that take part in a situation are the situation's."""
    takes_part = cast.role != NONE
    return Starts(
        jnp.where(takes_part, cast.lane, starts.lane),
        jnp.where(takes_part, cast.along_m, starts.along_m),
        starts.placed | takes_part,
    )


def _routes(
    key: Key[Array, ""],
    bodies: Bodies,
    starts: Starts,
    cast: Cast | None,
    map_matrix: Float[Array, "2 2"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[Float[Array, "agents stations 6"], Float[Array, " agents"], Bool[Array, " agents"]]:
    """Routes from where agents start, how much road (m) they cover, and which lead to the end of a road. The key is
    consumed."""
    keys = jax.random.split(key, config.num_agents)
    if cast is None:
        walks = jax.vmap(walk_lanes, (0, 0, None, None))(keys, starts.lane, atlas, config)
    else:
        walks = jax.vmap(walk_lanes, (0, 0, None, None, 0))(keys, starts.lane, atlas, config, cast.following)
    shift = lateral_shift(bodies.kind, bodies.size[:, 1], starts.lane, atlas)
    along: Callable = jax.vmap(route_along, (0, 0, 0, 0, None, None, None))
    front_m = 0.5 * bodies.size[:, 0]
    route, road_m = along(walks, starts.along_m, front_m, shift, map_matrix, atlas, config)
    return route, road_m, walks.dead_end


def _start_speed(
    key: Key[Array, ""], route: Float[Array, "agents stations 6"], bodies: Bodies
) -> Float[Array, " agents"]:
    """Random speeds (m/s) below the limit of the road, that of the body, and `_bend_speed`. The key is consumed."""
    most = jnp.minimum(0.6 * route[:, 0, 5], 12.0 * bodies.speed_gain)
    most = jnp.minimum(most, _bend_speed(route))
    return most * jax.random.uniform(key, most.shape)


def _bend_speed(route: Float[Array, "agents stations columns"]) -> Float[Array, " agents"]:
    """Speed (m/s) at which the sharpest bend of the first 20 m takes a lateral acceleration of 2 m/s2.

    No agent starts faster, since a crash in the first seconds could not be avoided then.
    """
    bend = jnp.abs(turns(route[:, :11, 2], route[:, :11, 3])).max(axis=1) / ROUTE_SPACING_M
    return jnp.sqrt(2.0 / jnp.maximum(bend, 1e-3))
