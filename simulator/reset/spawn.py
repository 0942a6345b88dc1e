"""How an episode begins: routes on the lane graph, goals along them, bodies, and places without overlap.

Body sizes and dynamics gains follow GIGAFLOW; the shares of kinds are our choice.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.agents.controllers import draw_roles
from simulator.agents.parked_vehicles import place_obstacles
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import inverse, transformed, variant_matrices
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR, CYCLIST, NUM_TRAITS, PEDESTRIAN, TRUCK
from simulator.dynamics.bicycle import MAX_STEERING
from simulator.metrics.driving_quality import blank_conduct
from simulator.reset.random_routes import on_lane, route_along, walk_lanes
from simulator.state import IDM, NO_NOISE, POLICY, Scenario, WorldState, turns, wheelbase

PLACE_TRIES = 12
"""Random places tried per agent before it is left out of the world."""
SPAWN_GAP_M = 4.0
METRES_PER_AGENT = 15.0
"""Road an agent needs; a town that has less per agent is refused."""

# Least and greatest length, width and height of each kind, metres (our choice within GIGAFLOW's 0.8 to 7 x 0.8 to 3).
_LEAST = {CAR: (3.8, 1.7, 1.4), TRUCK: (6.0, 2.2, 2.6), CYCLIST: (1.6, 0.8, 1.6), PEDESTRIAN: (0.8, 0.8, 1.6)}
_GREATEST = {
    CAR: (5.2, 2.1, 1.9),
    TRUCK: (9.0, 2.6, 3.6),
    CYCLIST: (1.9, 0.8, 1.9),
    PEDESTRIAN: (0.8, 0.8, 1.9),
}
# Speed caps relative to dynamics.MAX_SPEED: a pedestrian tops out at 2 m/s, a cyclist at 7 m/s.
SPEED_SCALE = (1.0, 0.8, 0.35, 0.1)


@struct.dataclass
class _Bodies:
    """Sizes and dynamics of a world's agents."""

    kind: ArrayField  # [agents] int32
    size: ArrayField  # [agents, 3] m
    throttle_gain: ArrayField  # [agents]
    steer_gain: ArrayField  # [agents]
    acceleration_gain: ArrayField  # [agents]
    speed_gain: ArrayField  # [agents]


def check_capacity(atlas: RoadAtlas, num_agents: int) -> None:
    """Raises ValueError when a town has too little road for ``num_agents``."""
    for name, length in zip(atlas.names, atlas.map_length_m.tolist(), strict=True):
        room = int(length / METRES_PER_AGENT)
        if num_agents > room:
            raise ValueError(
                f"num_agents={num_agents} is more than the {length:.0f} m of lanes in {name} can hold; "
                f"at most {room} agents fit there"
            )


def _mixed_uniform(key: Array, shape: tuple[int, ...], bound: float) -> Array:
    """GIGAFLOW's X(a): half uniform on [1/a, 1], half uniform on [1, a]."""
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


def _draw_places(
    draw: Float[Array, "*n"], map_id: Int[Array, ""], atlas: RoadAtlas
) -> tuple[Int[Array, "*n"], Float[Array, "*n"]]:
    """Lanes of the town by numbers in [0, 1), longer lanes more often, and places on them (m from their starts)."""
    place = atlas.map_length_before_m[map_id] + draw * atlas.map_length_m[map_id]
    lane = jnp.searchsorted(atlas.lane_cumulative_length_m, place, side="right")
    first = atlas.map_lane_start[map_id]
    lane = jnp.clip(lane, first, first + atlas.map_lane_count[map_id] - 1).astype(jnp.int32)
    left_over = jnp.clip(atlas.lane_cumulative_length_m[lane] - place, 0.0, atlas.lane_length_m[lane])
    return lane, atlas.lane_length_m[lane] - left_over


def _shift_for(kind: Array, width: Array, lane: Array, atlas: RoadAtlas) -> Array:
    """How far right of the lane's middle an agent's route runs (m)."""
    slow = (kind == CYCLIST) | (kind == PEDESTRIAN)
    return jnp.where(slow, jnp.maximum(0.5 * atlas.lane_width_m[lane] - 0.5 * width - 0.5, 0.0), 0.0)


def _place_agents(
    key: Array, bodies: _Bodies, map_id: Array, map_matrix: Array, atlas: RoadAtlas
) -> tuple[Array, Array, Array]:
    """Places agents one after the other where their circumscribed circles keep a gap.

    Returns lane [agents], metres along it [agents], placed [agents] bool. An agent that finds no free place in
    ``PLACE_TRIES`` tries is left out.
    """
    agents = bodies.kind.shape[0]
    radius = 0.5 * jnp.sqrt(bodies.size[:, 0] ** 2 + bodies.size[:, 1] ** 2)
    lane, along = _draw_places(jax.random.uniform(key, (agents, PLACE_TRIES)), map_id, atlas)
    place = on_lane(lane, along / jnp.maximum(atlas.lane_length_m[lane], 1e-3), atlas)[..., :2]
    x, y = jnp.moveaxis(transformed(map_matrix, place), -1, 0)
    allowed = atlas.lane_junction[lane] < 0

    def place_one(
        taken: tuple[Array, Array, Array], index: Array
    ) -> tuple[tuple[Array, Array, Array], Array]:
        taken_x, taken_y, reach = taken  # reach is negative where nobody is yet
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


def _sample_goals(
    key: Array, bodies: _Bodies, length_m: Array, config: SimulatorConfig
) -> tuple[Array, Array]:
    """Arc lengths [agents, goals] of the goals and how many of them lie on the route."""
    low, high = config.goal_spacing_m
    pace = jnp.clip(bodies.speed_gain, 0.15, 1.0)[:, None]  # slow agents get nearer goals
    spacing = jax.random.uniform(key, (config.num_agents, config.num_goals), minval=low, maxval=high) * pace
    goal_m = jnp.cumsum(spacing, axis=1)
    return goal_m, (goal_m <= length_m[:, None]).sum(axis=1).astype(jnp.int32)


def reset(key: Array, atlas: RoadAtlas, map_id: Int[Array, ""], config: SimulatorConfig) -> WorldState:
    """A new episode in town ``map_id`` of the atlas. The key is consumed.

    Agents start on lanes outside junctions, heading along their route, at a random speed below the limit that they
    can hold through the first bend.
    """
    *keys, variant_key, role_key, obstacle_key = jax.random.split(key, 12)
    agents = config.num_agents
    bodies = _sample_bodies(keys[0], config)
    variant = jax.random.randint(variant_key, (), 0, config.map_variants)
    matrix = jnp.asarray(variant_matrices(config.map_variants))[variant]
    lane, along, placed = _place_agents(keys[1], bodies, map_id, matrix, atlas)
    walks = jax.vmap(walk_lanes, (0, 0, None, None))(jax.random.split(keys[2], agents), lane, atlas, config)
    shift = _shift_for(bodies.kind, bodies.size[:, 1], lane, atlas)
    routes: Callable = jax.vmap(route_along, (0, 0, 0, None, None, None))
    route, length = routes(walks, along, shift, matrix, atlas, config)
    length = jnp.minimum(length, steerable_m(route, bodies.size))
    goal_m, num_goals = _sample_goals(keys[3], bodies, length, config)
    roles = draw_roles(role_key, bodies.kind, config)
    if config.idm_share > 0:  # they drive to the end of their route, which is their only goal
        goal_m = jnp.where((roles.control == IDM)[:, None], length[:, None], goal_m)
        num_goals = jnp.where(roles.control == IDM, 1, num_goals)
    least, greatest = config.goal_radius_m
    scenario = Scenario(
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
        goal_radius_m=jax.random.uniform(keys[5], (agents,), minval=least, maxval=greatest),
        light_phase=jax.random.uniform(keys[6]),
        lights_on=jax.random.uniform(keys[7]) >= config.no_lights_share,
        map_matrix=matrix,
        map_inverse=inverse(matrix),
        control=roles.control,
        noise=roles.noise,
        has_idm=config.idm_share > 0,
        has_noise=config.blind_share + config.braker_share > 0,
    )
    cap = jnp.minimum(0.6 * route[:, 0, 5], 12.0 * bodies.speed_gain)
    cap = jnp.minimum(cap, _bend_speed(route))
    placed = placed & (num_goals > 0)
    state = first_state(scenario, placed, map_id, cap * jax.random.uniform(keys[8], (agents,)), config)
    if config.parked_share + config.crashed_share > 0:
        state = place_obstacles(obstacle_key, state, roles.crashed, atlas, config)
    return state


def steerable_m(
    route: Float[Array, "agents stations columns"], size: Float[Array, "agents 3"]
) -> Float[Array, " agents"]:
    """How far (m) each body can follow its route: up to the first six metres that curve more than its steering allows.

    With the steering at its limit the rear axle turns around a point ``wheelbase / tan(limit)`` to its side, and the
    centre of the box, half a wheelbase ahead, a little farther from it.
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

    Nobody starts faster, or a crash in the first seconds could not be avoided.
    """
    bend = jnp.abs(turns(route[:, :11, 2], route[:, :11, 3])).max(axis=1) / ROUTE_SPACING_M
    return jnp.sqrt(2.0 / jnp.maximum(bend, 1e-3))


def first_state(
    scenario: Scenario, placed: Array, map_id: Array, speed: Array, config: SimulatorConfig
) -> WorldState:
    """The state in which an episode starts: agents that are ``placed`` [agents] stand at the start of their routes.

    ``speed`` [agents] is in m/s. Who is driven by policy is active, and counts in metrics unless something is wrong
    with it.
    """
    agents = placed.shape[0]
    by_policy = placed & (scenario.control == POLICY)
    zeros, none = jnp.zeros(agents), jnp.zeros(agents, jnp.int32)
    return WorldState(
        step=jnp.zeros((), jnp.int32),
        map_id=jnp.asarray(map_id, jnp.int32),
        position=scenario.route_xyz[:, 0],
        yaw=jnp.arctan2(scenario.route[:, 0, 3], scenario.route[:, 0, 2]),
        speed=speed,
        acceleration=zeros,
        lateral_acceleration=zeros,
        steering=zeros,
        route_m=zeros,
        route_offset_m=zeros,
        goal_index=none,
        active=by_policy,
        present=placed,
        spawned=by_policy & (scenario.noise == NO_NOISE),
        stopped_s=zeros,
        collisions=none,
        offroads=none,
        red_lights=none,
        stop_signs=none,
        halted=jnp.zeros(agents, bool),
        distance_m=zeros,
        best_route_m=zeros,
        scenario=scenario,
        conduct=blank_conduct(config) if config.detailed_metrics else None,
    )
