"""What a sweep records of every step: speeds, gaps, clearances and red lights of all agents."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.agents.idm import Corridor, project_on_corridor
from simulator.angles import wrap_angle
from simulator.atlas.affine_variants import on_map
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.collision import corners
from simulator.config import SimulatorConfig
from simulator.conventions import LEVEL_GAP_M, RED
from simulator.metrics.stop_line_infractions import LINE_REACH, front_centre
from simulator.rollout import PolicyFn, rollout, step_fn_of
from simulator.state import WorldState, nearest_station, route_rows
from simulator.traffic_lights import light_states, line_coordinates

FOLLOWS_M = 30.0
"""An agent with a leader within this distance follows it (our choice: about 3 s at 10 m/s)."""
SAME_WAY_COS = 0.7
"""Cosine of the largest angle between an agent and its leader, and between an agent and a stop line that applies to
it."""
AT_LINE_M = 15.0
"""An agent has met a red light when its front is this close before the line while the light is red."""


class Behaviour(NamedTuple):
    """One step; leaves [agents], over a rollout [steps, worlds, agents]."""

    drives: Any  # bool: is driven by the policy and counts in the metrics
    speed: Any  # m/s
    limit: Any  # m/s, speed limit where the agent is
    acceleration: Any  # m/s2
    lateral_acceleration: Any  # m/s2
    offset_m: Any  # lateral offset from the route, left positive
    angle: Any  # rad, relative to the route's direction
    gap_m: Any  # to the leader's box, along the route; inf without a leader within FOLLOWS_M
    clearance_m: Any  # to the nearest other box; inf without one
    edge_room_m: Any  # signed distance of the outermost corner to the road edge, negative outside
    red_line: Any  # int32: stop line with a red light at most AT_LINE_M ahead, -1 for none


def record_behaviour(
    key: Key[Array, ""], worlds: WorldState, policy_fn: PolicyFn, atlas: RoadAtlas, config: SimulatorConfig
) -> tuple[WorldState, Behaviour]:
    """Drives the worlds for `config.episode_steps` steps; returns the final states and the behaviour at the start of
    each step. The key is consumed."""
    return rollout(
        policy_fn,
        step_fn_of(atlas, config),
        worlds,
        jax.random.split(key, config.episode_steps),
        record=lambda step: jax.vmap(lambda world: behaviour(world, atlas, config))(step.state),
    )


def behaviour(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Behaviour:
    """The behaviour of all agents of one world."""
    station = nearest_station(state.scenario, state.route_m[:, None])
    _, _, cos, sin, _, limit = jnp.moveaxis(route_rows(state.scenario, station)[:, 0], -1, 0)
    return Behaviour(
        drives=state.active & state.spawned,
        speed=state.speed,
        limit=limit,
        acceleration=state.acceleration,
        lateral_acceleration=state.lateral_acceleration,
        offset_m=state.route_offset_m,
        angle=wrap_angle(state.yaw - jnp.arctan2(sin, cos)),
        gap_m=gaps(state),
        clearance_m=clearances(state),
        edge_room_m=corner_edge_distance(state, atlas, config).min(axis=1),
        red_line=red_lines(state, atlas, config),
    )


def gaps(state: WorldState) -> Float[Array, " agents"]:
    """Distance (m) along the route from each agent's front to the rear of its leader: the nearest agent ahead with the
    same direction that overlaps it laterally. Infinite without one within FOLLOWS_M."""
    size, xy = state.scenario.size, state.position[:, :2]
    other = project_on_corridor(Corridor.of(state), xy[None, :, 0], xy[None, :, 1])
    own_cos, own_sin = jnp.cos(state.yaw), jnp.sin(state.yaw)
    cos = own_cos * other.cos + own_sin * other.sin
    ahead = other.arc_m - state.route_m[:, None]
    apart = jnp.abs(other.lateral_m - state.route_offset_m[:, None])
    in_the_way = other.inside & (apart < 0.5 * (size[:, 1, None] + size[:, 1])) & (ahead > 0)
    leads = in_the_way & (cos > SAME_WAY_COS) & _others(state)
    gap = jnp.where(leads, ahead - 0.5 * (size[:, 0, None] + size[:, 0]), jnp.inf).min(axis=1)
    return jnp.where(gap < FOLLOWS_M, jnp.maximum(gap, 0.0), jnp.inf)


def clearances(state: WorldState) -> Float[Array, " agents"]:
    """Distance (m) from each agent's box to the nearest other box on its level; 0 where they overlap by a corner,
    infinite where the agent is alone.

    The shortest distance between two separate boxes is attained at a corner of one of them.
    """
    xy, size = state.position[:, :2], state.scenario.size
    away = corners(xy, state.yaw, size)[None] - xy[:, None, None]  # [i, j, corner]: corners of j seen from i
    cos, sin = jnp.cos(state.yaw)[:, None, None], jnp.sin(state.yaw)[:, None, None]
    along = jnp.abs(away[..., 0] * cos + away[..., 1] * sin) - 0.5 * size[:, 0, None, None]
    across = jnp.abs(away[..., 1] * cos - away[..., 0] * sin) - 0.5 * size[:, 1, None, None]
    to_corner = jnp.hypot(jnp.maximum(along, 0.0), jnp.maximum(across, 0.0)).min(axis=2)
    return jnp.where(_others(state), jnp.minimum(to_corner, to_corner.T), jnp.inf).min(axis=1)


def red_lines(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Int[Array, " agents"]:
    """The nearest stop line (index into the atlas) with a red light at most AT_LINE_M ahead of each agent, -1 for
    none."""
    own = on_map(state.scenario, front_centre(state), config)
    stops = atlas.stop_candidates[table_rows(atlas, state.map_id, own)]
    past, aside = line_coordinates(own[:, None], stops, atlas)
    ahead = on_map(state.scenario, front_centre(state) + _heading(state), config)
    approach, _ = line_coordinates(ahead[:, None], stops, atlas)
    red = light_states(state, stops, atlas, config) == RED
    here = red & (past < 0) & (past > -AT_LINE_M) & (aside < LINE_REACH) & (approach - past > SAME_WAY_COS)
    nearest = jnp.argmax(jnp.where(here, past, -jnp.inf), axis=1)[:, None]
    line = jnp.take_along_axis(stops, nearest, axis=1)[:, 0]
    return jnp.where(here.any(axis=1), line, -1)


def _heading(state: WorldState) -> Float[Array, "agents 2"]:
    return jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)


def _others(state: WorldState) -> Bool[Array, "agents agents"]:
    """Mask [i, j] of the agents j != i that are present on the level of agent i."""
    level = jnp.abs(state.position[:, 2, None] - state.position[:, 2]) < LEVEL_GAP_M
    return level & state.present & ~jnp.eye(len(level), dtype=bool)
