"""Resets that spawn agents on a map: bodies, positions without overlap, routes on the lane graph, goals along them.

Body sizes and dynamics gains follow GIGAFLOW; the shares of kinds are our choice.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator.agents.controllers import all_by_policy, assign_controllers
from simulator.agents.parked_vehicles import place_parked_vehicles
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import least_stretch, transformed, variant_matrices
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR, CYCLIST, NUM_TRAITS, PEDESTRIAN, TRUCK
from simulator.dynamics.bicycle import MAX_STEERING
from simulator.reset.initial_state import initial_state, new_scenario
from simulator.reset.random_routes import draw_positions, on_lane, route_along, walk_lanes
from simulator.reset.situations.cast import NONE
from simulator.reset.situations.populate import (
    SITUATION_STREAM,
    draw_cast,
    goals_beyond,
    obstacle_m,
    seat,
    with_detours,
)
from simulator.state import IDM, WorldState, turns, wheelbase

POSITION_TRIES = 12
"""Random positions tried per agent before it is left out of the world."""
SPAWN_GAP_M = 4.0
"""Least gap between the circumscribed circles of two spawned agents."""
METRES_PER_AGENT = 15.0
"""Length of lane per agent that a map must have."""
NARROW_M = 0.3
"""A body this much farther from the middle of its lane than the edge of the road is off the road (see
`SimulatorConfig.offroad_margin_m`)."""
LEAST_DRIVE_M = 10.0
"""An agent whose road ends before its first goal is placed where the end is at least this far ahead."""

# Least and greatest length, width and height of each kind, metres (our choice within GIGAFLOW's 0.8 to 7 x 0.8 to 3).
_LEAST = {CAR: (3.8, 1.7, 1.4), TRUCK: (6.0, 2.2, 2.6), CYCLIST: (1.6, 0.8, 1.6), PEDESTRIAN: (0.8, 0.8, 1.6)}
_GREATEST = {
    CAR: (5.2, 2.1, 1.9),
    TRUCK: (9.0, 2.6, 3.6),
    CYCLIST: (1.9, 0.8, 1.9),
    PEDESTRIAN: (0.8, 0.8, 1.9),
}
SPEED_SCALE = (1.0, 0.8, 0.35, 0.1)
"""Top speed of each kind over `bicycle.MAX_SPEED`: 2 m/s for a pedestrian, 7 m/s for a cyclist."""


@struct.dataclass
class _Bodies:
    """Sizes and dynamics of a world's agents."""

    kind: ArrayField  # [agents] int32
    size: ArrayField  # [agents, 3] m
    throttle_gain: ArrayField  # [agents]
    steer_gain: ArrayField  # [agents]
    acceleration_gain: ArrayField  # [agents]
    speed_gain: ArrayField  # [agents]


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


def _mixed_uniform(key: Array, shape: tuple[int, ...], bound: float) -> Array:
    """GIGAFLOW's X(a), a = ``bound``: half uniform on [1/a, 1], half uniform on [1, a]."""
    side_key, value_key = jax.random.split(key)
    low = jax.random.bernoulli(side_key, shape=shape)
    uniform = jax.random.uniform(value_key, shape)
    return jnp.where(low, 1 / bound + (1 - 1 / bound) * uniform, 1 + (bound - 1) * uniform)


def _sample_bodies(key: Array, config: SimulatorConfig) -> _Bodies:
    keys = jax.random.split(key, 6)
    agents = (config.num_agents,)
    bounds = jnp.cumsum(jnp.array(config.kind_shares))[:-1]
    kind = jnp.searchsorted(bounds, jax.random.uniform(keys[0], agents), side="right").astype(jnp.int32)
    least = jnp.array([_LEAST[k] for k in range(4)])[kind]
    greatest = jnp.array([_GREATEST[k] for k in range(4)])[kind]
    size = least + (greatest - least) * jax.random.uniform(keys[1], (config.num_agents, 3))
    gains = [jnp.ones(agents)] * 4
    if config.randomise_dynamics:
        pairs = zip(keys[2:6], (1.25, 1.25, 1.5, 1.5), strict=True)
        gains = [_mixed_uniform(k, agents, bound) for k, bound in pairs]
    throttle, steer, acceleration, speed = gains
    return _Bodies(kind, size, throttle, steer, acceleration, speed * jnp.array(SPEED_SCALE)[kind])


def _shift_for(kind: Array, width: Array, lane: Array, atlas: RoadAtlas) -> Array:
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


def _place_agents(
    key: Array, bodies: _Bodies, map_id: Array, map_matrix: Array, atlas: RoadAtlas, map_variants: int
) -> tuple[Array, Array, Array]:
    """Places agents one after the other where their circumscribed circles keep a gap, and where all of their box is
    on the road: not across the start of a lane into which no other leads, nor where a lane that opens or ends at the
    edge of the road is narrower than they are.

    Returns lane [agents], metres along it [agents], placed [agents] bool. An agent that finds no free position in
    ``POSITION_TRIES`` tries is not placed.
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
    return lane, along, reach >= 0


def sample_goals(
    key: Array,
    speed_gain: Float[Array, " agents"],
    goals: int,
    length_m: Float[Array, " agents"],
    spacing_m: tuple[float, float],
) -> tuple[Float[Array, "agents goals"], Int[Array, " agents"]]:
    """Arc lengths (m) of as many goals, and how many of them lie on a route of ``length_m``; they are ``spacing_m``
    apart, less for slow agents. The key is consumed."""
    low, high = spacing_m
    pace = jnp.clip(speed_gain, 0.15, 1.0)[:, None]  # slow agents get nearer goals
    spacing = jax.random.uniform(key, (speed_gain.shape[0], goals), minval=low, maxval=high) * pace
    goal_m = jnp.cumsum(spacing, axis=1)
    return goal_m, (goal_m <= length_m[:, None]).sum(axis=1).astype(jnp.int32)


def end_as_goal(
    goal_m: Array, num_goals: Array, radius_m: Array, length_m: Array, at_end: Array
) -> tuple[Array, Array, Array]:
    """Goals [agents, goals], their number and radius [agents] in which the end of the route is the only goal of the
    agents whose road ends (``at_end`` [agents] bool) before the first one, LEAST_DRIVE_M or more ahead."""
    only = at_end & (num_goals == 0) & (length_m >= LEAST_DRIVE_M)
    return (
        jnp.where(only[:, None], length_m[:, None], goal_m),
        jnp.where(only, 1, num_goals),
        jnp.where(only, jnp.minimum(radius_m, 0.5 * length_m), radius_m),
    )


def reset(key: Array, atlas: RoadAtlas, map_id: Int[Array, ""], config: SimulatorConfig) -> WorldState:
    """The initial state of an episode on map ``map_id`` of the atlas. The key is consumed.

    Agents start on lanes outside junctions, heading along their route, at a random speed below the limit that they
    can hold through the first bend.
    """
    *keys, variant_key, controller_key, obstacle_key = jax.random.split(key, 12)
    agents = config.num_agents
    bodies = _sample_bodies(keys[0], config)
    variant = jax.random.randint(variant_key, (), 0, config.map_variants)
    matrix = jnp.asarray(variant_matrices(config.map_variants))[variant]
    lane, along, placed = _place_agents(keys[1], bodies, map_id, matrix, atlas, config.map_variants)
    walk_keys = jax.random.split(keys[2], agents)
    cast = None
    if config.situations.share > 0:
        cast_key, body_key, detour_key = jax.random.split(jax.random.fold_in(key, SITUATION_STREAM), 3)
        cast = draw_cast(cast_key, map_id, matrix, atlas, config)
        takes_part = cast.role != NONE
        bodies = _with_cars(body_key, bodies, takes_part, config)
        lane, along = jnp.where(takes_part, cast.lane, lane), jnp.where(takes_part, cast.along_m, along)
        placed = placed | takes_part
        walks = jax.vmap(walk_lanes, (0, 0, None, None, 0))(walk_keys, lane, atlas, config, cast.following)
    else:
        walks = jax.vmap(walk_lanes, (0, 0, None, None))(walk_keys, lane, atlas, config)
    shift = _shift_for(bodies.kind, bodies.size[:, 1], lane, atlas)
    routes: Callable = jax.vmap(route_along, (0, 0, 0, 0, None, None, None))
    route, road_m = routes(walks, along, 0.5 * bodies.size[:, 0], shift, matrix, atlas, config)
    length = jnp.minimum(road_m, steerable_m(route, bodies.size))
    goal_m, num_goals = sample_goals(
        keys[3], bodies.speed_gain, config.num_goals, length, config.goal_spacing_m
    )
    if cast is not None:
        obstacle = obstacle_m(cast, route)
        goal_m = goals_beyond(goal_m, obstacle)
        num_goals = (goal_m <= length[:, None]).sum(axis=1).astype(jnp.int32)
        route = with_detours(detour_key, cast, route, obstacle, matrix, config.situations.detour_share)
    least, greatest = config.goal_radius_m
    radius_m = jax.random.uniform(keys[5], (agents,), minval=least, maxval=greatest)
    at_end = walks.dead_end & (length == road_m)
    goal_m, num_goals, radius_m = end_as_goal(goal_m, num_goals, radius_m, length, at_end)
    controllers = assign_controllers(controller_key, bodies.kind, config)
    lights_on = jax.random.uniform(keys[7]) >= config.no_lights_share
    if cast is not None:
        controllers = all_by_policy(controllers, takes_part)
        lights_on = lights_on & ~cast.lights_off
    if config.idm_share > 0:  # IDM agents drive to the end of their route, which is their only goal
        goal_m = jnp.where((controllers.control == IDM)[:, None], length[:, None], goal_m)
        num_goals = jnp.where(controllers.control == IDM, (road_m > 0.0).astype(jnp.int32), num_goals)
    scenario = new_scenario(
        size=bodies.size,
        kind=bodies.kind,
        throttle_gain=bodies.throttle_gain,
        steer_gain=bodies.steer_gain,
        acceleration_gain=bodies.acceleration_gain,
        speed_gain=bodies.speed_gain,
        traits=jax.random.uniform(keys[4], (agents, NUM_TRAITS)),
        route=route,
        goal_m=goal_m,
        num_goals=num_goals,
        goal_radius_m=radius_m,
        light_phase=jax.random.uniform(keys[6]),
        lights_on=lights_on,
        map_matrix=matrix,
        control=controllers.control,
        fault=controllers.fault,
        has_idm=config.idm_share > 0,
        has_faults=config.blind_share + config.braker_share > 0,
    )
    cap = jnp.minimum(0.6 * route[:, 0, 5], 12.0 * bodies.speed_gain)
    cap = jnp.minimum(cap, _bend_speed(route))
    placed = placed & (num_goals > 0)
    state = initial_state(scenario, placed, map_id, cap * jax.random.uniform(keys[8], (agents,)), config)
    if config.parked_share + config.crashed_share > 0:
        state = place_parked_vehicles(obstacle_key, state, controllers.crashed, atlas, config)
    return state if cast is None else seat(state, cast, atlas, config)


def _with_cars(key: Array, bodies: _Bodies, which: Array, config: SimulatorConfig) -> _Bodies:
    """The bodies, of which those ``which`` [agents] bool are cars. The key is consumed."""
    cars = _sample_bodies(key, replace(config, kind_shares=(1.0, 0.0, 0.0, 0.0)))

    def pick(car: Array, body: Array) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (car.ndim - 1)), car, body)

    return jax.tree.map(pick, cars, bodies)


def steerable_m(
    route: Float[Array, "agents stations columns"], size: Float[Array, "agents 3"]
) -> Float[Array, " agents"]:
    """Arc length (m) up to which each body can follow its route: to the first six metres that curve more than its
    steering limit allows.

    At the steering limit the rear axle turns around a point ``wheelbase / tan(limit)`` to its side; the radius of the
    centre of the box, half a wheelbase ahead, is a little larger.
    """
    base = wheelbase(size)
    least_radius = jnp.sqrt((base / jnp.tan(MAX_STEERING)) ** 2 + (0.5 * base) ** 2)
    turn = turns(route[..., 2], route[..., 3])
    over_6_m = jnp.abs(turn[:, :-2] + turn[:, 1:-1] + turn[:, 2:])
    too_tight = over_6_m > 3 * ROUTE_SPACING_M / least_radius[:, None]
    first = jnp.where(too_tight.any(axis=1), jnp.argmax(too_tight, axis=1), route.shape[1])
    return ROUTE_SPACING_M * first.astype(jnp.float32)


def _bend_speed(route: Float[Array, "agents stations columns"]) -> Float[Array, " agents"]:
    """Speed (m/s) at which the sharpest bend of the first 20 m takes a lateral acceleration of 2 m/s2.

    No agent starts faster, since a crash in the first seconds could not be avoided then.
    """
    bend = jnp.abs(turns(route[:, :11, 2], route[:, :11, 3])).max(axis=1) / ROUTE_SPACING_M
    return jnp.sqrt(2.0 / jnp.maximum(bend, 1e-3))
