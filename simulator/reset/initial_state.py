"""The one way to build a `Scenario` and the `WorldState` in which its episode starts.

Spawning, logs, probes and tests all build their worlds here.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.atlas.affine_variants import inverse
from simulator.config import SimulatorConfig
from simulator.metrics.driving_quality import initial_driving_quality
from simulator.state import NO_FAULT, POLICY, LogReplay, Scenario, WorldState


def new_scenario(
    *,
    size: Array,
    kind: Array,
    control: Array,
    traits: Array,
    route: Array,
    goal_m: Array,
    num_goals: Array,
    goal_radius_m: Array,
    throttle_gain: Array | None = None,
    steer_gain: Array | None = None,
    acceleration_gain: Array | None = None,
    speed_gain: Array | None = None,
    fault: Array | None = None,
    light_phase: Array | None = None,
    lights_on: Array | None = None,
    map_matrix: Array | None = None,
    log: LogReplay | None = None,
    has_idm: bool = False,
    has_faults: bool = False,
) -> Scenario:
    """A scenario of one world or, with leading axes on every argument, of several; `Scenario` describes the fields.

    Where left out: gains are 1, no agent has a fault, the light cycle is not shifted, lights are on, and the map is not
    transformed. ``map_matrix`` is possible for one world only.
    """
    shape, worlds = control.shape, control.shape[:-1]
    one = jnp.ones(shape)
    unchanged = jnp.broadcast_to(jnp.eye(2), (*worlds, 2, 2))
    return Scenario(
        size=size,
        kind=kind,
        throttle_gain=one if throttle_gain is None else throttle_gain,
        steer_gain=one if steer_gain is None else steer_gain,
        acceleration_gain=one if acceleration_gain is None else acceleration_gain,
        speed_gain=one if speed_gain is None else speed_gain,
        traits=traits,
        route=route,
        goal_m=goal_m,
        num_goals=num_goals,
        goal_radius_m=goal_radius_m,
        light_phase=jnp.zeros(worlds) if light_phase is None else light_phase,
        lights_on=jnp.ones(worlds, bool) if lights_on is None else lights_on,
        map_matrix=unchanged if map_matrix is None else map_matrix,
        map_inverse=unchanged if map_matrix is None else inverse(map_matrix),
        control=control,
        fault=jnp.full(shape, NO_FAULT, jnp.int32) if fault is None else fault,
        log=log,
        has_idm=has_idm,
        has_faults=has_faults,
    )


def initial_state(
    scenario: Scenario,
    placed: Bool[Array, " agents"],
    map_id: Int[Array, ""],
    speed: Float[Array, " agents"],
    config: SimulatorConfig,
) -> WorldState:
    """The state in which an episode of one world starts: ``placed`` agents are at the start of their routes.

    ``speed`` is in m/s. Agents that are driven by policy are active, and spawned (count in metrics) unless they have a
    fault.
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
        spawned=by_policy & (scenario.fault == NO_FAULT),
        stopped_s=zeros,
        collisions=none,
        offroads=none,
        red_lights=none,
        stop_signs=none,
        has_stopped_at_sign=jnp.zeros(agents, bool),
        distance_m=zeros,
        best_route_m=zeros,
        scenario=scenario,
        driving_quality=initial_driving_quality(config) if config.detailed_metrics else None,
    )
