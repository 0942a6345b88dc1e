"""`Conduct`: how each agent has driven so far, in more detail than training needs.

A world carries one (`WorldState.conduct`) where `SimulatorConfig.detailed_metrics` is on, and none where it is off.
Only agents that were active when a step began are judged in it.
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
from simulator.metrics.time_to_collision import collides_soon
from simulator.state import WorldState

WRONG_WAY_WINDOW_S = 1.0
WRONG_WAY_M, GROSS_WRONG_WAY_M = 2.0, 6.0
"""Metres driven against the lanes within a second: from the first on a violation, from the second on a gross one
(NAVSIM's driving-direction compliance)."""
YIELD_S = 3.0
"""A collision this soon after crossing a yield line is a failure to yield."""


@struct.dataclass
class Conduct:
    """What detailed metrics remember of one world."""

    at_fault: ArrayField  # [agents] int32 collisions to blame for so far
    failures_to_yield: ArrayField  # [agents] int32 so far
    soon_steps: ArrayField  # [agents] int32 steps that ended with a collision less than a second away
    against_m: ArrayField  # [agents] m driven against the lanes so far
    worst_second_m: ArrayField  # [agents] m: most of it within one second
    judged_steps: ArrayField  # [agents] int32 steps judged for comfort
    comfortable_steps: ArrayField  # [agents] int32 of these within all limits
    since_yield_s: ArrayField  # [agents] s since the front crossed a yield line; inf before the first
    recent_against_m: ArrayField  # [agents, steps] m in each step of the last second, oldest first
    recent_felt: ArrayField  # [agents, steps, 3] see `comfort.felt`, oldest first
    felt_steps: ArrayField  # [agents] int32 steps of it that count


@struct.dataclass
class ConductEvents:
    """What `Conduct` noticed of each agent during one step."""

    at_fault: ArrayField  # [agents] bool: collided, and is to blame
    failed_to_yield: (
        ArrayField  # [agents] bool: collided moving within 3 s of crossing a yield line, not hit from behind
    )
    wrong_way: ArrayField  # [agents] bool: drove 2 m or more against the lanes within the last second
    collides_soon: ArrayField  # [agents] bool: less than a second from hitting somebody
    uncomfortable: ArrayField  # [agents] bool: broke a comfort limit


def blank_conduct(config: SimulatorConfig) -> Conduct:
    """Of agents that have not driven yet."""
    agents = config.num_agents
    none, zero = jnp.zeros(agents, jnp.int32), jnp.zeros(agents)
    return Conduct(
        at_fault=none,
        failures_to_yield=none,
        soon_steps=none,
        against_m=zero,
        worst_second_m=zero,
        judged_steps=none,
        comfortable_steps=none,
        since_yield_s=jnp.full(agents, jnp.inf),
        recent_against_m=jnp.zeros((agents, round(WRONG_WAY_WINDOW_S / config.timestep_s))),
        recent_felt=jnp.zeros((agents, comfort.history_steps(config.timestep_s), 3)),
        felt_steps=none,
    )


def judge(
    before: WorldState,
    after: WorldState,
    touching: Bool[Array, "agents agents"],
    yield_line: Bool[Array, " agents"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[Conduct, ConductEvents]:
    """What one step adds to the conduct of the agents.

    ``after`` holds the agents as moved, before crashes stop them; ``touching`` the pairs that overlap then;
    ``yield_line`` who crossed one. Raises ValueError for a world that was reset without detailed metrics.
    """
    past: Conduct | None = before.conduct
    if past is None:
        raise ValueError(
            "detailed_metrics=True, but this world was reset without it; reset and step it with the same config"
        )
    drives = before.active
    use = lane_use(after, atlas, config)
    kind = contacts(before, after, touching)
    since_yield_s = jnp.where(yield_line, 0.0, past.since_yield_s + config.timestep_s)
    against_m = jnp.where(use.against & drives, _driven_ahead(before, after, config), 0.0)
    recent_against_m = _push(past.recent_against_m, against_m)
    second_m = recent_against_m.sum(axis=1)
    recent_felt = _push(past.recent_felt, comfort.felt(before, after, config.timestep_s))
    felt_steps = jnp.where(drives, past.felt_steps + 1, 0)
    judged = felt_steps >= recent_felt.shape[1]
    events = ConductEvents(
        at_fault=at_fault(kind, use.strays) & drives,
        failed_to_yield=hits_while_moving(kind) & (since_yield_s <= YIELD_S) & drives,
        wrong_way=(second_m >= WRONG_WAY_M) & drives,
        collides_soon=collides_soon(after, touching, use.strays | use.in_junction) & drives,
        uncomfortable=judged & ~comfort.comfortable(recent_felt, config.timestep_s),
    )
    conduct = Conduct(
        at_fault=past.at_fault + events.at_fault,
        failures_to_yield=past.failures_to_yield + events.failed_to_yield,
        soon_steps=past.soon_steps + events.collides_soon,
        against_m=past.against_m + against_m,
        worst_second_m=jnp.maximum(past.worst_second_m, second_m),
        judged_steps=past.judged_steps + judged,
        comfortable_steps=past.comfortable_steps + (judged & ~events.uncomfortable),
        since_yield_s=since_yield_s,
        recent_against_m=recent_against_m,
        recent_felt=recent_felt,
        felt_steps=felt_steps,
    )
    return conduct, events


def _driven_ahead(before: WorldState, after: WorldState, config: SimulatorConfig) -> Float[Array, " agents"]:
    """Metres driven forwards: backing up is no driving against the lanes."""
    return 0.5 * jnp.maximum(before.speed + after.speed, 0.0) * config.timestep_s


def _push(history: Array, newest: Array) -> Array:
    """[agents, steps, ...] with the oldest step dropped and the newest [agents, ...] appended."""
    return jnp.concatenate([history[:, 1:], newest[:, None]], axis=1)
