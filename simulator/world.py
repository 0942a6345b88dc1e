"""The two nouns a simulation is made of: what an episode fixes, and what a step changes.

Both describe ONE world. Batches get a leading ``worlds`` axis from ``vmap`` in ``simulator.rollout``.
"""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import struct

from simulator.config import ROUTE_SPACING_M

if TYPE_CHECKING:
    from jax import Array as Leaf
else:
    # JAX rebuilds pytrees with placeholders during transformations, so fields are not type-checked at run time.
    Leaf = Any

TRAITS = 12
"""Driver traits per agent. The simulator carries them; ``teacher.reward`` gives each one its meaning."""

CAR, TRUCK, CYCLIST, PEDESTRIAN = range(4)
KIND_NAMES = ("car", "truck", "cyclist", "pedestrian")


@struct.dataclass
class Scenario:
    """Everything about one world that stays fixed for an episode."""

    size: Leaf  # [agents, 3] m: length, width, height
    kind: Leaf  # [agents] int32: index into KIND_NAMES
    throttle_gain: Leaf  # [agents] scales longitudinal jerk
    steer_gain: Leaf  # [agents] scales lateral jerk
    acceleration_gain: Leaf  # [agents] scales the largest forward acceleration
    speed_gain: Leaf  # [agents] scales the speed cap
    traits: Leaf  # [agents, TRAITS] in [0, 1]
    route_xyz: Leaf  # [agents, stations, 3] m, world: route sampled every ``route_spacing_m``
    route_yaw: Leaf  # [agents, stations] rad
    route_limit_mps: Leaf  # [agents, stations] m/s: speed limit along the route
    goal_m: Leaf  # [agents, goals] m along the route, increasing
    num_goals: Leaf  # [agents] int32: how many of ``goal_m`` count
    goal_radius_m: Leaf  # [agents] m
    light_phase: Leaf  # [] in [0, 1): shifts every traffic light's cycle
    lights_on: Leaf  # [] bool: False in worlds without any traffic light


@struct.dataclass
class WorldState:
    """What moves: one instant of one world. Immutable, so keeping a reference *is* forking the simulator."""

    step: Leaf  # [] int32: steps since reset
    map_id: Leaf  # [] int32: which town of the atlas
    position: Leaf  # [agents, 3] m, world: centre of the box, at ground height
    yaw: Leaf  # [agents] rad, counter-clockwise from +x
    speed: Leaf  # [agents] m/s, signed, along the heading
    acceleration: Leaf  # [agents] m/s2 along the heading
    lateral_acceleration: Leaf  # [agents] m/s2, left positive
    steering: Leaf  # [agents] rad, left positive
    route_m: Leaf  # [agents] m: projection on the route
    route_offset_m: Leaf  # [agents] m: distance to the route, left of it positive
    goal_index: Leaf  # [agents] int32: the goal to reach next
    active: Leaf  # [agents] bool: takes actions
    present: Leaf  # [agents] bool: occupies space; crashed agents do, arrived agents do not
    spawned: Leaf  # [agents] bool: was placed at reset; only these count in metrics
    stopped_s: Leaf  # [agents] s at a standstill
    collisions: Leaf  # [agents] int32 so far
    offroads: Leaf  # [agents] int32 departures from the drivable area so far
    red_lights: Leaf  # [agents] int32 red lights run so far
    stop_signs: Leaf  # [agents] int32 stop signs run so far
    halted: Leaf  # [agents] bool: stood still before the stop sign whose line is just ahead
    distance_m: Leaf  # [agents] m driven so far
    best_route_m: Leaf  # [agents] m: farthest point of the route reached
    scenario: Scenario
    conduct: Any = None  # `simulator.infractions.conduct.Conduct` where detailed metrics are on


@struct.dataclass
class Events:
    """What happened to each agent during one step."""

    collision: Leaf  # [agents] bool
    offroad: Leaf  # [agents] bool
    red_light: Leaf  # [agents] bool: ran one
    stop_sign: Leaf  # [agents] bool: ran one
    goal: Leaf  # [agents] bool: reached the goal it was heading for
    arrived: Leaf  # [agents] bool: that goal was its last
    progress_m: Leaf  # [agents] m gained along the route; negative when backing up
    conduct: Any = None  # `simulator.infractions.conduct.ConductEvents` where detailed metrics are on


def nearest_station(scenario: Scenario, route_m: Leaf) -> Leaf:
    """Index [agents, ...] int32 of the station of each agent's route nearest to ``route_m`` [agents, ...] metres along
    it; places before its start or beyond its end take the first or the last."""
    last = scenario.route_xyz.shape[1] - 1
    return jnp.clip(jnp.round(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)


def wheelbase(size: Leaf) -> Leaf:
    """Distance between the axles, [...] m, from ``size`` [..., 3]. 0.6 x length, as PufferDrive assumes."""
    return 0.6 * size[..., 0]


def rear_axle(position: Leaf, yaw: Leaf, size: Leaf) -> Leaf:
    """Rear-axle centre [..., 3] in world metres: half a wheelbase behind the centre of the box."""
    back = 0.5 * wheelbase(size)
    offset = jnp.stack([back * jnp.cos(yaw), back * jnp.sin(yaw), jnp.zeros_like(yaw)], axis=-1)
    return position - offset
