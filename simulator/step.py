"""One step of one world: move, follow the route, and notice what went wrong."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator import collision, dynamics
from simulator.atlas import RoadAtlas, drivable_distance
from simulator.config import ROUTE_SPACING_M, STANDSTILL_MPS, SimulatorConfig
from simulator.infractions.conduct import judge
from simulator.infractions.stop_rules import watch_stop_lines
from simulator.world import Events, WorldState, nearest_station

# Stations behind and ahead of the last one searched for the nearest: at 20 m/s and 0.5 s an agent passes five.
_WINDOW = jnp.arange(-2, 8)


def step(
    state: WorldState, action: Int[Array, " agents"], atlas: RoadAtlas, config: SimulatorConfig
) -> tuple[WorldState, Events]:
    """Advances one world by ``config.timestep_s``.

    ``action`` [agents] indexes ``dynamics.ACTIONS``; agents that are not active ignore theirs. An agent that collides
    or leaves the drivable area stops there and stays as an obstacle; one that reaches its last goal vanishes.
    """
    moved = move(state, action, config)
    moved = _follow_route(moved)
    lines = watch_stop_lines(state, moved, atlas, config)
    touching = collision.colliding_pairs(moved.position, moved.yaw, state.scenario.size, moved.present)
    collision_now = touching.any(axis=1) & state.active
    conduct, noticed = state.conduct, None
    if config.detailed_metrics:
        conduct, noticed = judge(state, moved, touching, lines.yield_line, atlas, config)
    offroad = _leaves_road(moved, atlas, config) & state.active
    goal, arrived = _reaches_goal(moved)
    crashed = collision_now | offroad
    goal, arrived = goal & ~crashed, arrived & ~crashed
    events = Events(
        collision=collision_now,
        offroad=offroad,
        red_light=lines.red_light,
        stop_sign=lines.stop_sign,
        goal=goal,
        arrived=arrived,
        progress_m=jnp.where(state.active, moved.route_m - state.route_m, 0.0),
        conduct=noticed,
    )
    moved = moved.replace(halted=lines.halted, conduct=conduct)
    return _record(state, moved, events, config), events


def move(state: WorldState, action: Int[Array, " agents"], config: SimulatorConfig) -> WorldState:
    """The dynamics alone: active agents move on their plane, nothing is noticed."""
    motion = dynamics.motion_of(state)
    moved = dynamics.advance(motion, dynamics.jerks_of(action), dynamics.vehicle_of(state), config.timestep_s)
    moved = jax.tree.map(lambda new, old: jnp.where(state.active, new, old), moved, motion)
    return state.replace(
        position=jnp.stack([moved.x, moved.y, state.position[:, 2]], axis=-1),
        yaw=moved.yaw,
        speed=moved.speed,
        acceleration=moved.acceleration,
        lateral_acceleration=moved.lateral_acceleration,
        steering=moved.steering,
    )


def _follow_route(state: WorldState) -> WorldState:
    """Projects every agent on its route near its last projection and takes the ground height from there."""
    route = state.scenario.route_xyz
    last = route.shape[1] - 1
    station = jnp.floor(state.route_m / ROUTE_SPACING_M).astype(jnp.int32)
    window = jnp.clip(station[:, None] + _WINDOW, 0, last)
    near = jnp.take_along_axis(route, window[..., None], axis=1)
    squared = jnp.sum((near[..., :2] - state.position[:, None, :2]) ** 2, axis=-1)
    best = jnp.argmin(squared, axis=1)
    index = jnp.take_along_axis(window, best[:, None], axis=1)[:, 0]
    agents = jnp.arange(route.shape[0])
    yaw = state.scenario.route_yaw[agents, index]
    offset = state.position[:, :2] - route[agents, index, :2]
    along = offset[:, 0] * jnp.cos(yaw) + offset[:, 1] * jnp.sin(yaw)
    aside = -offset[:, 0] * jnp.sin(yaw) + offset[:, 1] * jnp.cos(yaw)
    along = jnp.clip(along, -ROUTE_SPACING_M, ROUTE_SPACING_M)
    route_m = jnp.clip(ROUTE_SPACING_M * index + along, 0.0, ROUTE_SPACING_M * last)
    position = state.position.at[:, 2].set(route[agents, index, 2])
    moves = state.active
    return state.replace(
        position=jnp.where(moves[:, None], position, state.position),
        route_m=jnp.where(moves, route_m, state.route_m),
        route_offset_m=jnp.where(moves, aside, state.route_offset_m),
    )


def corner_room(state: WorldState, atlas: RoadAtlas) -> Float[Array, "agents 4"]:
    """Signed distance (m) of each corner of each box to the edge of the drivable area of its level, + inside."""
    points = collision.corners(state.position[:, :2], state.yaw, state.scenario.size)
    height = jnp.broadcast_to(state.position[:, None, 2:], (*points.shape[:2], 1))
    return jax.vmap(jax.vmap(drivable_distance, (None, None, 0)), (None, None, 0))(
        atlas, state.map_id, jnp.concatenate([points, height], axis=-1)
    )


def _leaves_road(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Bool[Array, " agents"]:
    return (corner_room(state, atlas) < -config.offroad_margin_m).any(axis=1)


def _reaches_goal(state: WorldState) -> tuple[Bool[Array, " agents"], Bool[Array, " agents"]]:
    """Whether each agent is at the goal it heads for, and whether that was its last.

    A goal counts within its radius, or when it was passed with the radius to its side (a fast agent may step over
    a small circle).
    """
    scenario = state.scenario
    index = jnp.minimum(state.goal_index, scenario.goal_m.shape[1] - 1)
    goal_m = jnp.take_along_axis(scenario.goal_m, index[:, None], axis=1)[:, 0]
    station = nearest_station(scenario, goal_m)
    goal_xy = jnp.take_along_axis(scenario.route_xyz, station[:, None, None], axis=1)[:, 0, :2]
    near = jnp.linalg.norm(state.position[:, :2] - goal_xy, axis=-1) < scenario.goal_radius_m
    passed = (state.route_m >= goal_m) & (jnp.abs(state.route_offset_m) < scenario.goal_radius_m)
    reached = (near | passed) & state.active & (state.goal_index < scenario.num_goals)
    return reached, reached & (state.goal_index + 1 >= scenario.num_goals)


def _record(before: WorldState, moved: WorldState, events: Events, config: SimulatorConfig) -> WorldState:
    crashed = events.collision | events.offroad
    keeps_driving = before.active & ~crashed
    still = jnp.abs(moved.speed) < STANDSTILL_MPS
    driven = 0.5 * jnp.abs(before.speed + moved.speed) * config.timestep_s
    return moved.replace(
        step=before.step + 1,
        speed=jnp.where(keeps_driving, moved.speed, 0.0),
        acceleration=jnp.where(keeps_driving, moved.acceleration, 0.0),
        lateral_acceleration=jnp.where(keeps_driving, moved.lateral_acceleration, 0.0),
        goal_index=before.goal_index + events.goal,
        active=keeps_driving & ~events.arrived,
        present=before.present & ~events.arrived,
        stopped_s=jnp.where(still, before.stopped_s + config.timestep_s, 0.0),
        collisions=before.collisions + events.collision,
        offroads=before.offroads + events.offroad,
        red_lights=before.red_lights + events.red_light,
        stop_signs=before.stop_signs + events.stop_sign,
        distance_m=before.distance_m + jnp.where(before.active, driven, 0.0),
        best_route_m=jnp.maximum(before.best_route_m, moved.route_m),
    )
