"""`Scenario`, which is fixed for an episode, and `WorldState`, which changes in every step.

Both describe ONE world. Batches get a leading ``worlds`` axis from ``vmap`` in ``simulator.rollout``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from simulator.array_field import ArrayField
from simulator.config import ROUTE_SPACING_M
from simulator.conventions import WHEELBASE_RATIO
from simulator.poses import rear_axle_pose

ROUTE_WIDTH = 6
"""Columns of `Scenario.route`."""

POLICY, LOG, IDM, PARKED = range(4)
CONTROL_NAMES = ("policy", "log", "idm", "parked")
"""Controller of an agent: a policy's actions, its logged track, `simulator.agents.idm`, or none."""
NO_FAULT, BLIND, SUDDEN_BRAKING = range(3)
FAULT_NAMES = ("none", "blind", "sudden braking")
"""Fault of an agent that a policy drives; see `simulator.agents.faulty_agents`."""


@struct.dataclass
class LogReplay:
    """The logged traffic of one world, at the simulator's step."""

    position: ArrayField  # [agents, steps, 3] m, world; the last one holds beyond the end
    yaw: ArrayField  # [agents, steps] rad
    speed: ArrayField  # [agents, steps] m/s, signed, along the heading
    valid: ArrayField  # [agents, steps] bool: the log has a state
    light_state: ArrayField  # [stops, steps] int32: per stop line of the world's own map
    last_step: ArrayField  # [] int32: the last logged step; what follows is padding


@struct.dataclass
class Scenario:
    """Everything about one world that stays fixed for an episode."""

    size: ArrayField  # [agents, 3] m: length, width, height
    kind: ArrayField  # [agents] int32: index into KIND_NAMES
    throttle_gain: ArrayField  # [agents] scales longitudinal jerk
    steer_gain: ArrayField  # [agents] scales lateral jerk
    acceleration_gain: ArrayField  # [agents] scales the largest forward acceleration
    speed_gain: ArrayField  # [agents] scales the speed cap
    traits: ArrayField  # [agents, NUM_TRAITS] in [0, 1]
    route: ArrayField  # [agents, stations, ROUTE_WIDTH]: see `route_table`; stations ROUTE_SPACING_M apart
    goal_m: ArrayField  # [agents, goals] m along the route, increasing
    num_goals: ArrayField  # [agents] int32: how many of ``goal_m`` count
    goal_radius_m: ArrayField  # [agents] m
    light_phase: ArrayField  # [] in [0, 1): shifts every traffic light's cycle
    lights_on: ArrayField  # [] bool: False in worlds without any traffic light
    map_matrix: ArrayField  # [2, 2] world from map; see `simulator.atlas.affine_variants`
    map_inverse: ArrayField  # [2, 2] map from world
    control: ArrayField  # [agents] int32: index into CONTROL_NAMES
    fault: ArrayField  # [agents] int32: index into FAULT_NAMES
    log: Any = None  # LogReplay where the world replays a log, else None: no leaves at all
    has_idm: bool = struct.field(pytree_node=False, default=False)  # compiled in only where agents may be IDM
    has_faults: bool = struct.field(pytree_node=False, default=False)  # ... may be BLIND or SUDDEN_BRAKING
    baseline: str = struct.field(
        pytree_node=False, default=""
    )  # stands in for the policy: `simulator.agents.baselines`

    @property
    def route_xyz(self) -> ArrayField:
        """[agents, stations, 3] m, world."""
        return self.route[..., jnp.array([0, 1, 4])]

    @property
    def route_yaw(self) -> ArrayField:
        """[agents, stations] rad."""
        return jnp.arctan2(self.route[..., 3], self.route[..., 2])


@struct.dataclass
class WorldState:
    """The state of one world at one step. Immutable, so a kept reference is a fork of the simulator."""

    step: ArrayField  # [] int32: steps since reset
    map_id: ArrayField  # [] int32: index of the map in the atlas
    position: ArrayField  # [agents, 3] m, world: centre of the box, at ground height
    yaw: ArrayField  # [agents] rad, counter-clockwise from +x
    speed: ArrayField  # [agents] m/s, signed, along the heading
    acceleration: ArrayField  # [agents] m/s2 along the heading
    lateral_acceleration: ArrayField  # [agents] m/s2, left positive
    steering: ArrayField  # [agents] rad, left positive
    route_m: ArrayField  # [agents] m: projection on the route
    route_offset_m: ArrayField  # [agents] m: distance to the route, left of it positive
    goal_index: ArrayField  # [agents] int32: the goal to reach next
    active: ArrayField  # [agents] bool: takes a policy's actions, has neither crashed nor arrived
    present: ArrayField  # [agents] bool: occupies space; crashed agents do, arrived agents do not
    spawned: ArrayField  # [agents] bool: placed at reset to drive by policy, without faults; only these count
    stopped_s: ArrayField  # [agents] s at a standstill
    collisions: ArrayField  # [agents] int32 so far
    offroads: ArrayField  # [agents] int32 off-road events so far
    red_lights: ArrayField  # [agents] int32 red lights run so far
    stop_signs: ArrayField  # [agents] int32 stop signs run so far
    has_stopped_at_sign: ArrayField  # [agents] bool: has made a full stop before the line just ahead
    distance_m: ArrayField  # [agents] m driven so far
    best_route_m: ArrayField  # [agents] m: farthest point of the route reached
    scenario: Scenario
    driving_quality: Any = None  # `metrics.driving_quality.DrivingQuality` where detailed metrics are on


@struct.dataclass
class Events:
    """What happened to each agent during one step."""

    collision: ArrayField  # [agents] bool
    offroad: ArrayField  # [agents] bool
    red_light: ArrayField  # [agents] bool: ran one
    stop_sign: ArrayField  # [agents] bool: ran one
    goal: ArrayField  # [agents] bool: reached the goal it was heading for
    arrived: ArrayField  # [agents] bool: that goal was its last
    progress_m: ArrayField  # [agents] m gained along the route; negative when backing up
    driving_quality: Any = None  # `DrivingQualityEvents` where detailed metrics are on


def route_table(xyz: ArrayField, yaw: ArrayField, limit_mps: ArrayField) -> ArrayField:
    """`Scenario.route` [..., stations, ROUTE_WIDTH] from positions [..., stations, 3], headings and speed limits
    [..., stations]: x, y (m), cos and sin of the heading, z (m), limit (m/s).

    One row per station, because a station's numbers are read together; cos and sin, because otherwise every reader
    would compute them again in every step.
    """
    columns = [xyz[..., 0], xyz[..., 1], jnp.cos(yaw), jnp.sin(yaw), xyz[..., 2], limit_mps]
    return jnp.stack(columns, axis=-1)


def turns(cos: ArrayField, sin: ArrayField) -> ArrayField:
    """Angles [..., n - 1] rad, left positive, from each direction [..., n] to the next."""
    here, following = (cos[..., :-1], sin[..., :-1]), (cos[..., 1:], sin[..., 1:])
    return jnp.arctan2(
        following[1] * here[0] - following[0] * here[1], following[0] * here[0] + following[1] * here[1]
    )


def route_rows(scenario: Scenario, station: ArrayField) -> ArrayField:
    """Rows [agents, n, ROUTE_WIDTH] of each agent's route at stations [agents, n]."""
    return jax.vmap(lambda route, index: route.at[index].get(mode="promise_in_bounds"))(
        scenario.route, station
    )


def nearest_station(scenario: Scenario, route_m: ArrayField) -> ArrayField:
    """Index [agents, ...] int32 of the station of each agent's route nearest to ``route_m`` [agents, ...] metres along
    it; places before its start or beyond its end take the first or the last."""
    last = scenario.route.shape[1] - 1
    return jnp.clip(jnp.round(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)


def wheelbase(size: ArrayField) -> ArrayField:
    """Distance between the axles, [...] m, from ``size`` [..., 3] m."""
    return WHEELBASE_RATIO * size[..., 0]


def rear_axle(position: ArrayField, yaw: ArrayField, size: ArrayField) -> ArrayField:
    """Centre of the rear axle [..., 3] in world metres, at the height of ``position``."""
    pose = rear_axle_pose(position[..., 0], position[..., 1], yaw, wheelbase(size))
    return jnp.concatenate([pose[..., :2], position[..., 2:]], axis=-1)
