"""Driving-quality metrics of each agent, in more detail than training needs.

`WorldState.driving_quality` holds them where `SimulatorConfig.detailed_metrics` is on and is None where it is off. A
step counts for the agents that were active when it began.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.metrics import comfort
from simulator.metrics.at_fault import at_fault, contacts, hits_while_moving
from simulator.metrics.lane_use import lane_use
from simulator.metrics.time_to_collision import violates_time_to_collision
from simulator.state import WorldState

WRONG_WAY_WINDOW_S = 1.0
WRONG_WAY_M, GROSS_WRONG_WAY_M = 2.0, 6.0
"""Metres driven against the lanes within a second that are a violation and a gross violation (NAVSIM's compliance with
the driving direction)."""
YIELD_S = 3.0
"""A collision this soon after crossing a yield line is a failure to yield."""


@struct.dataclass
class DrivingQuality:
    """Driving-quality metrics of one world so far, and the history that they need."""

    at_fault: ArrayField  # [agents] int32 at-fault collisions so far
    failures_to_yield: ArrayField  # [agents] int32 so far
    ttc_violation_steps: ArrayField  # [agents] int32 steps with a time to collision below 1 s
    wrong_way_m: ArrayField  # [agents] m driven against the lanes so far
    worst_second_m: ArrayField  # [agents] m driven against the lanes within the worst second
    judged_steps: ArrayField  # [agents] int32 steps for which comfort was evaluated
    comfortable_steps: ArrayField  # [agents] int32 of these within all limits
    since_yield_s: ArrayField  # [agents] s since the front crossed a yield line; inf before the first
    recent_wrong_way_m: ArrayField  # [agents, steps] m in each step of the last second, oldest first
    recent_motion: ArrayField  # [agents, steps, 3] `comfort.acceleration_and_yaw_rate`, oldest first
    motion_steps: ArrayField  # [agents] int32 steps driven, of which the last are in recent_motion


@struct.dataclass
class DrivingQualityEvents:
    """Driving-quality events of each agent in one step."""

    at_fault: ArrayField  # [agents] bool: collided and is at fault
    # Collided while moving, not hit from behind, within YIELD_S after crossing a yield line.
    failed_to_yield: ArrayField  # [agents] bool
    wrong_way: ArrayField  # [agents] bool: drove 2 m or more against the lanes within the last second
    ttc_violation: ArrayField  # [agents] bool: time to collision below 1 s
    uncomfortable: ArrayField  # [agents] bool: exceeded a comfort limit


def initial_driving_quality(config: SimulatorConfig) -> DrivingQuality:
    """The metrics of agents that have not driven yet."""
    agents = config.num_agents
    none, zero = jnp.zeros(agents, jnp.int32), jnp.zeros(agents)
    return DrivingQuality(
        at_fault=none,
        failures_to_yield=none,
        ttc_violation_steps=none,
        wrong_way_m=zero,
        worst_second_m=zero,
        judged_steps=none,
        comfortable_steps=none,
        since_yield_s=jnp.full(agents, jnp.inf),
        recent_wrong_way_m=jnp.zeros((agents, round(WRONG_WAY_WINDOW_S / config.timestep_s))),
        recent_motion=jnp.zeros((agents, comfort.history_steps(config.timestep_s), 3)),
        motion_steps=none,
    )


def update_driving_quality(
    state: WorldState,
    next_state: WorldState,
    touching: Bool[Array, "agents agents"],
    yield_line: Bool[Array, " agents"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[DrivingQuality, DrivingQualityEvents]:
    """The metrics after one step, and the events of the step.

    ``next_state`` holds the agents as moved, before crashes stop them; ``touching`` [i, j] the pairs that overlap then;
    ``yield_line`` the agents that crossed a yield line. Raises ValueError for a world that was reset without detailed
    metrics.
    """
    past: DrivingQuality | None = state.driving_quality
    if past is None:
        raise ValueError(
            "detailed_metrics=True, but this world was reset without it; reset and step it with the same config"
        )
    active = state.active
    use = lane_use(next_state, atlas, config)
    kind = contacts(state, next_state, touching)
    since_yield_s = jnp.where(yield_line, 0.0, past.since_yield_s + config.timestep_s)
    wrong_way_m = jnp.where(use.against_traffic & active, driven_ahead(state, next_state, config), 0.0)
    recent_wrong_way_m = push(past.recent_wrong_way_m, wrong_way_m)
    second_m = recent_wrong_way_m.sum(axis=1)
    recent_motion = push(
        past.recent_motion, comfort.acceleration_and_yaw_rate(state, next_state, config.timestep_s)
    )
    motion_steps = jnp.where(active, past.motion_steps + 1, 0)
    evaluated = motion_steps >= recent_motion.shape[1]
    events = DrivingQualityEvents(
        at_fault=at_fault(kind, use.outside_lane) & active,
        failed_to_yield=hits_while_moving(kind) & (since_yield_s <= YIELD_S) & active,
        wrong_way=(second_m >= WRONG_WAY_M) & active,
        ttc_violation=violates_time_to_collision(next_state, touching, use.outside_lane | use.in_junction)
        & active,
        uncomfortable=evaluated & ~comfort.comfortable(recent_motion, config.timestep_s),
    )
    driving_quality = DrivingQuality(
        at_fault=past.at_fault + events.at_fault,
        failures_to_yield=past.failures_to_yield + events.failed_to_yield,
        ttc_violation_steps=past.ttc_violation_steps + events.ttc_violation,
        wrong_way_m=past.wrong_way_m + wrong_way_m,
        worst_second_m=jnp.maximum(past.worst_second_m, second_m),
        judged_steps=past.judged_steps + evaluated,
        comfortable_steps=past.comfortable_steps + (evaluated & ~events.uncomfortable),
        since_yield_s=since_yield_s,
        recent_wrong_way_m=recent_wrong_way_m,
        recent_motion=recent_motion,
        motion_steps=motion_steps,
    )
    return driving_quality, events


def driven_ahead(
    state: WorldState, next_state: WorldState, config: SimulatorConfig
) -> Float[Array, " agents"]:
    """Metres driven forwards in one step; reversing does not count as driving against the lanes."""
    return 0.5 * jnp.maximum(state.speed + next_state.speed, 0.0) * config.timestep_s


def push(history: Array, newest: Array) -> Array:
    """[agents, steps, ...] with the oldest step dropped and the newest [agents, ...] appended."""
    return jnp.concatenate([history[:, 1:], newest[:, None]], axis=1)
