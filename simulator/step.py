"""One step of one world: motion, progress on the route, collisions, off-road events and stop-line infractions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator import collision
from simulator.agents import baselines, faulty_agents
from simulator.agents.controllers import advance_other_controllers
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import STANDSTILL_MPS
from simulator.dynamics import bicycle
from simulator.dynamics.action_model import StepModel
from simulator.dynamics.jerk_actions import JERK_ACTIONS
from simulator.metrics.driving_quality import update_driving_quality
from simulator.metrics.stop_line_infractions import detect_stop_line_infractions
from simulator.state import IDM, LOG, Events, WorldState, nearest_station, route_rows

# Stations searched for the nearest, and how many of them lie behind the last one: at 20 m/s and 0.5 s an agent passes
# five.
_WINDOW, _BEHIND = 10, 2


def step(
    state: WorldState,
    action: Any,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    model: StepModel = JERK_ACTIONS,
) -> tuple[WorldState, Events]:
    """Advances one world by ``config.timestep_s``; returns the next state and what happened.

    ``action`` has leaves [agents, ...] and means what ``model`` says: indices of jerks by default, controls, or
    trajectories to follow (`simulator.dynamics.action_model`). Agents that are not active ignore theirs. An agent
    that collides or leaves the drivable area stops there and stays as an obstacle; one that reaches its last goal
    vanishes.
    """
    moved = move(state, action, config, model)
    moved = follow_route(moved)
    moved = advance_other_controllers(state, moved, atlas, config)
    lines = detect_stop_line_infractions(state, moved, atlas, config)
    touching = collision.colliding_pairs(moved.position, moved.yaw, state.scenario.size, moved.present)
    collision_now = touching.any(axis=1) & state.active
    driving_quality, noticed = state.driving_quality, None
    if config.detailed_metrics:
        driving_quality, noticed = update_driving_quality(
            state, moved, touching, lines.yield_line, atlas, config
        )
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
        driving_quality=noticed,
    )
    moved = moved.replace(has_stopped_at_sign=lines.has_stopped_at_sign, driving_quality=driving_quality)
    return _record(state, moved, events, config), events


def move(
    state: WorldState, action: Any, config: SimulatorConfig, model: StepModel = JERK_ACTIONS
) -> WorldState:
    """The state after the dynamics alone: active agents have moved in the plane, nothing else is updated.

    Agents driven by IDM or by their log move later (`controllers.advance_other_controllers`).
    """
    if state.scenario.has_faults:
        action = faulty_agents.apply_sudden_braking(state, action, model, config)
    motion = bicycle.motion_of(state)
    moved = model.forward(motion, action, bicycle.vehicle_of(state), config.timestep_s)
    moved = jax.tree.map(lambda new, old: jnp.where(state.active, new, old), moved, motion)
    after = state.replace(
        position=jnp.stack([moved.x, moved.y, state.position[:, 2]], axis=-1),
        yaw=moved.yaw,
        speed=moved.speed,
        acceleration=moved.acceleration,
        lateral_acceleration=moved.lateral_acceleration,
        steering=moved.steering,
    )
    if state.scenario.has_faults:
        after = faulty_agents.hold_at_standstill(state, after, config)
    if state.scenario.baseline == baselines.CONSTANT_VELOCITY:
        after = baselines.keep_velocity(state, after, config)
    return after


def follow_route(state: WorldState) -> WorldState:
    """Projects every agent on its route near its last projection and takes the ground height from there."""
    last = state.scenario.route.shape[1] - 1
    station = jnp.floor(state.route_m / ROUTE_SPACING_M).astype(jnp.int32)
    first = jnp.clip(station - _BEHIND, 0, last + 1 - _WINDOW)
    window = jax.vmap(lambda route, at: jax.lax.dynamic_slice_in_dim(route, at, _WINDOW))(
        state.scenario.route, first
    )
    east, north = state.position[:, 0, None] - window[..., 0], state.position[:, 1, None] - window[..., 1]
    best = jnp.argmin(east**2 + north**2, axis=1)
    x, y, cos, sin, z, _ = jnp.moveaxis(window[jnp.arange(len(best)), best], -1, 0)
    east, north = state.position[:, 0] - x, state.position[:, 1] - y
    along = jnp.clip(east * cos + north * sin, -ROUTE_SPACING_M, ROUTE_SPACING_M)
    route_m = jnp.clip(ROUTE_SPACING_M * (first + best) + along, 0.0, ROUTE_SPACING_M * last)
    moves = state.active
    return state.replace(
        position=state.position.at[:, 2].set(jnp.where(moves, z, state.position[:, 2])),
        route_m=jnp.where(moves, route_m, state.route_m),
        route_offset_m=jnp.where(moves, north * cos - east * sin, state.route_offset_m),
    )


def _leaves_road(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Bool[Array, " agents"]:
    return (corner_edge_distance(state, atlas, config) < -config.offroad_margin_m).any(axis=1)


def _reaches_goal(state: WorldState) -> tuple[Bool[Array, " agents"], Bool[Array, " agents"]]:
    """Whether each agent is at the goal it heads for, and whether that was its last.

    A goal counts within its radius, or when it was passed with the radius to its side (a fast agent may step over
    a small circle).
    """
    scenario = state.scenario
    index = jnp.minimum(state.goal_index, scenario.goal_m.shape[1] - 1)
    goal_m = jnp.take_along_axis(scenario.goal_m, index[:, None], axis=1)[:, 0]
    station = nearest_station(scenario, goal_m)
    goal_xy = route_rows(scenario, station[:, None])[:, 0, :2]
    near = jnp.linalg.norm(state.position[:, :2] - goal_xy, axis=-1) < scenario.goal_radius_m
    passed = (state.route_m >= goal_m) & (jnp.abs(state.route_offset_m) < scenario.goal_radius_m)
    reached = (near | passed) & state.active & (state.goal_index < scenario.num_goals)
    return reached, reached & (state.goal_index + 1 >= scenario.num_goals)


def _record(before: WorldState, moved: WorldState, events: Events, config: SimulatorConfig) -> WorldState:
    crashed = events.collision | events.offroad
    keeps_driving = before.active & ~crashed
    control = before.scenario.control
    rolls = keeps_driving | (control == LOG) | (control == IDM)
    still = jnp.abs(moved.speed) < STANDSTILL_MPS
    driven = 0.5 * jnp.abs(before.speed + moved.speed) * config.timestep_s
    return moved.replace(
        step=before.step + 1,
        speed=jnp.where(rolls, moved.speed, 0.0),
        acceleration=jnp.where(rolls, moved.acceleration, 0.0),
        lateral_acceleration=jnp.where(rolls, moved.lateral_acceleration, 0.0),
        goal_index=before.goal_index + events.goal,
        active=keeps_driving & ~events.arrived,
        present=moved.present & ~events.arrived,
        stopped_s=jnp.where(still, before.stopped_s + config.timestep_s, 0.0),
        collisions=before.collisions + events.collision,
        offroads=before.offroads + events.offroad,
        red_lights=before.red_lights + events.red_light,
        stop_signs=before.stop_signs + events.stop_sign,
        distance_m=before.distance_m + jnp.where(before.active, driven, 0.0),
        best_route_m=jnp.maximum(before.best_route_m, moved.route_m),
    )
