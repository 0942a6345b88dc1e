"""Followers: copies of one agent, each on a trajectory of its own, in traffic that does not react to them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.array_field import ArrayField
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import overlap_between
from simulator.config import SimulatorConfig
from simulator.conventions import LEVEL_GAP_M
from simulator.dynamics.trajectory_actions import TRAJECTORY_ACTIONS, TrajectoryAction
from simulator.judging.traffic import Traffic
from simulator.metrics import comfort
from simulator.metrics.at_fault import (
    BEHIND_COS,
    at_fault,
    bearing_cos,
    bodies_of,
    contacts_between,
    travel_yaw,
)
from simulator.metrics.driving_quality import WRONG_WAY_WINDOW_S, driven_ahead, push
from simulator.metrics.lane_use import LaneUse, lane_use
from simulator.metrics.stop_line_infractions import detect_stop_line_infractions
from simulator.metrics.time_to_collision import would_collide
from simulator.state import WorldState, wheelbase
from simulator.step import follow_route, move

_OF_THE_WORLD = ("step", "map_id")
_OF_THE_SCENARIO = ("light_phase", "lights_on", "map_matrix", "map_inverse")
_OF_AN_AGENT = (
    *("position", "yaw", "speed", "acceleration", "lateral_acceleration", "steering", "route_m"),
    *("route_offset_m", "goal_index", "active", "present", "spawned", "stopped_s", "collisions", "offroads"),
    *("red_lights", "stop_signs", "has_stopped_at_sign", "distance_m", "best_route_m"),
)
_OF_AN_AGENTS_SCENARIO = (
    *("size", "kind", "throttle_gain", "steer_gain", "acceleration_gain", "speed_gain", "traits", "route"),
    *("goal_m", "num_goals", "goal_radius_m", "control", "fault"),
)


@struct.dataclass
class Record:
    """The followers of one agent's candidates and what has happened to them so far."""

    world: WorldState  # one world, of which the agents are the followers; none of them meets another
    met: ArrayField  # [candidates, agents] bool: has touched this agent of the traffic
    counts: (
        ArrayField  # [candidates] bool: has not arrived at its last goal; what happens then does not count
    )
    collided: ArrayField  # [candidates] bool: at fault
    off_road: ArrayField  # [candidates] bool
    too_close: ArrayField  # [candidates] bool: violated the time to collision
    ran_signal: ArrayField  # [candidates] bool: passed a red light or a stop sign
    uncomfortable: ArrayField  # [candidates] bool
    worst_second_m: ArrayField  # [candidates] m driven against the lanes
    recent_wrong_way_m: ArrayField  # [candidates, steps] m in each step of the last second, oldest first
    recent_motion: ArrayField  # [candidates, steps, 3] `comfort.acceleration_and_yaw_rate`, oldest first


class Moment(NamedTuple):
    """What one step of the followers is given."""

    action: TrajectoryAction  # leaves [candidates, ...]
    before: Traffic  # leaves [agents, ...]
    after: Traffic


def begin(
    state: WorldState,
    world: Int[Array, ""],
    agent: Int[Array, ""],
    candidates: int,
    config: SimulatorConfig,
) -> Record:
    """Followers of one agent of batched worlds, to whom nothing has happened.

    Their acceleration and yaw rate are taken to have been what they are now, so that the first second is judged for
    comfort too.
    """
    world_of_followers = _copies(state, world, agent, candidates)
    no, zero = jnp.zeros(candidates, bool), jnp.zeros(candidates)
    now = world_of_followers
    yaw_rate = now.speed * jnp.tan(now.steering) / wheelbase(now.scenario.size)
    motion = jnp.stack([now.acceleration, now.lateral_acceleration, yaw_rate], axis=-1)
    history = comfort.history_steps(config.timestep_s)
    return Record(
        world=world_of_followers,
        met=jnp.zeros((candidates, state.yaw.shape[1]), bool),
        counts=jnp.ones(candidates, bool),
        collided=no,
        off_road=no,
        too_close=no,
        ran_signal=no,
        uncomfortable=no,
        worst_second_m=zero,
        recent_wrong_way_m=jnp.zeros((candidates, round(WRONG_WAY_WINDOW_S / config.timestep_s))),
        recent_motion=jnp.repeat(motion[:, None], history, axis=1),
    )


def advance(
    record: Record, moment: Moment, size: Float[Array, "agents 3"], atlas: RoadAtlas, config: SimulatorConfig
) -> Record:
    """The record after one step; ``size`` (m) is that of the agents of the traffic."""
    world, counts = record.world, record.counts
    moved = follow_route(move(world, moment.action, config, TRAJECTORY_ACTIONS))
    use = lane_use(moved, atlas, config)
    lines = detect_stop_line_infractions(world, moved, atlas, config)
    met, collided, too_close = _encounters(record, moved, moment, size, use)
    off_road = (corner_edge_distance(moved, atlas, config) < -config.offroad_margin_m).any(axis=1)
    recent_motion = push(
        record.recent_motion, comfort.acceleration_and_yaw_rate(world, moved, config.timestep_s)
    )
    wrong_way_m = jnp.where(use.against_traffic & counts, driven_ahead(world, moved, config), 0.0)
    recent_wrong_way_m = push(record.recent_wrong_way_m, wrong_way_m)
    scenario = moved.scenario
    arrived = moved.route_m >= last_goal_m(moved) - scenario.goal_radius_m
    return record.replace(
        world=moved.replace(step=world.step + 1, has_stopped_at_sign=lines.has_stopped_at_sign),
        met=met,
        counts=counts & ~arrived,
        collided=record.collided | (collided & counts),
        off_road=record.off_road | (off_road & counts),
        too_close=record.too_close | (too_close & counts),
        ran_signal=record.ran_signal | ((lines.red_light | lines.stop_sign) & counts),
        uncomfortable=record.uncomfortable
        | (~comfort.comfortable(recent_motion, config.timestep_s) & counts),
        worst_second_m=jnp.maximum(record.worst_second_m, recent_wrong_way_m.sum(axis=1)),
        recent_wrong_way_m=recent_wrong_way_m,
        recent_motion=recent_motion,
    )


def last_goal_m(state: WorldState) -> Float[Array, " agents"]:
    """Metres along the route at which the last goal of each agent of one world lies."""
    last = jnp.maximum(state.scenario.num_goals - 1, 0)[:, None]
    return jnp.take_along_axis(state.scenario.goal_m, last, axis=1)[:, 0]


def _encounters(
    record: Record, moved: WorldState, moment: Moment, size: Array, use: LaneUse
) -> tuple[Array, Array, Array]:
    """`Record.met` after the step; and the followers [candidates] that now are at fault for a contact, and that violate
    the time to collision."""
    before, after = moment.before, moment.after
    followers, others = bodies_of(moved), after.bodies(size)
    level = jnp.abs(moved.position[:, None, 2] - after.position[None, :, 2]) < LEVEL_GAP_M
    near = level & after.present[None, :]
    touching = near & overlap_between(followers.boxes, others.boxes)
    moves = (bodies_of(record.world), followers), (before.bodies(size), others)
    kind = contacts_between(*moves, touching & ~record.met)
    met = record.met | touching
    heading = travel_yaw(followers.yaw, followers.speed)
    behind = bearing_cos(followers.xy, heading, followers.size, others.xy) < BEHIND_COS
    others_ahead = near & ~met & ~behind  # who comes from behind does not brake for a follower
    too_close = would_collide(followers, others, others_ahead, use.outside_lane | use.in_junction)
    return met, at_fault(kind, use.outside_lane), too_close


def _copies(state: WorldState, world: Int[Array, ""], agent: Int[Array, ""], count: int) -> WorldState:
    """One world with ``count`` copies of one agent of batched worlds, without the faults of faulty agents."""

    def copies(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf[world, agent], (count, *leaf.shape[2:]))

    scenario, log = state.scenario, state.scenario.log
    if log is not None:  # only its lights concern the followers
        log = log.replace(position=None, yaw=None, speed=None, valid=None)
    return state.replace(
        **{name: copies(getattr(state, name)) for name in _OF_AN_AGENT},
        **{name: getattr(state, name)[world] for name in _OF_THE_WORLD},
        driving_quality=None,
        scenario=scenario.replace(
            **{name: copies(getattr(scenario, name)) for name in _OF_AN_AGENTS_SCENARIO},
            **{name: getattr(scenario, name)[world] for name in _OF_THE_SCENARIO},
            log=jax.tree.map(lambda leaf: leaf[world], log),
            has_idm=False,
            has_faults=False,
            baseline="",
        ),
    )
