"""Long drives: worlds are reset when their episode is over, until enough hours or kilometres are driven.

An episode is also over when two in five of its agents are inactive (GIGAFLOW), since less traffic would be easier.
Worlds are reset, and totals reported, every `CHUNK_S` seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gigapixel.run_folder.interrupts import stop_requests
from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.placement import check_capacity
from simulator.rollout import PolicyFn, needs_reset, reset_anywhere, rollout, step_fn_of
from simulator.state import Events, WorldState
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import policy_fn_for, set_controller, with_default_traits
from teacher.evaluation.incident_rate import COUNTED, Totals
from teacher.evaluation.towns import start_worlds, town_simulator
from teacher.policy import Policy
from teacher.ppo.rollout import auto_reset

CHUNK_S = 5.0
RESET_SHARE = 0.4
"""Share of inactive agents at which a world is reset."""
RESET_CHUNK = 4
"""Worlds that are reset at a time."""
IDLE_EPISODES = 10
"""A drive is given up after so many episodes in which no agent that counts was placed."""

Report = Callable[[Totals], None]


def drive_long(policy: Policy, config: EvaluationConfig, traffic: str, report: Report) -> tuple[Totals, bool]:
    """Totals of a drive of ``config.hours`` or ``config.km``, and whether Ctrl-C ended it early.

    ``report`` is called with the totals after every chunk. Every reset draws a map. Raises ValueError where no agent
    that counts is ever placed.
    """
    atlas = load_atlas(config.maps)
    check_capacity(atlas, config.agents_per_world)
    simulator = town_simulator(policy, config, traffic)
    simulator = dataclasses.replace(simulator, inactive_reset_share=RESET_SHARE)
    totals = Totals.zero(atlas.num_maps, simulator.timestep_s)
    key, start_key = jax.random.split(jax.random.key(config.seed))
    worlds = set_controller(start_worlds(start_key, atlas, simulator, config.worlds), config.driver)
    noisy = worlds.scenario.has_faults
    act = policy_fn_for(config.driver, policy, atlas, simulator, config.greedy, noisy)
    chunk = jax.jit(partial(drive_chunk, policy_fn=act, config=simulator, driver=config.driver))
    left_s = IDLE_EPISODES * config.town_seconds
    with stop_requests(f"these {CHUNK_S:g} s of driving") as stop:
        while driven_share(totals, config) < 1.0 and not stop:
            key, chunk_key = jax.random.split(key)
            worlds, sums = chunk(chunk_key, worlds, atlas)
            totals = totals.plus(jax.device_get(sums))
            stop.unsaved = True
            report(totals)
            left_s -= CHUNK_S
            if totals.hours == 0.0 and left_s < 0.0:
                raise ValueError(
                    f"no agent that counts was placed in {IDLE_EPISODES} episodes on {', '.join(config.maps)}; "
                    "use a map with more road outside junctions, or a higher --share"
                )
    return totals, bool(stop)


def driven_share(totals: Totals, config: EvaluationConfig) -> float:
    """Driven hours or kilometres over those of the configuration."""
    if config.hours is not None:
        return totals.hours / config.hours
    return totals.km / config.km if config.km else 1.0


def drive_chunk(
    key: Array,
    worlds: WorldState,
    atlas: RoadAtlas,
    policy_fn: PolicyFn,
    config: SimulatorConfig,
    driver: str,
) -> tuple[WorldState, dict[str, Float[Array, " maps"]]]:
    """The worlds after CHUNK_S of driving, with those whose episode is over reset, and the sums of COUNTED for each
    map. The key is consumed."""
    steps = max(1, round(CHUNK_S / config.timestep_s))
    key, reset_key = jax.random.split(key)
    map_id = worlds.map_id
    worlds, counts = rollout(
        policy_fn,
        step_fn_of(atlas, config),
        worlds,
        jax.random.split(key, steps),
        record=lambda step: counted(step.state, step.next_state, step.outcome),
    )
    sums = {
        name: jnp.zeros(atlas.num_maps).at[map_id].add(value.astype(jnp.float32).sum(axis=0))
        for name, value in counts.items()
    }

    def fresh(keys: Array) -> WorldState:
        return set_controller(with_default_traits(reset_anywhere(keys, atlas, config)), driver)

    return auto_reset(worlds, needs_reset(worlds, config), fresh, reset_key, RESET_CHUNK), sums


def counted(before: WorldState, after: WorldState, events: Events) -> dict[str, Float[Array, " worlds"]]:
    """The sums of COUNTED in each world for one step, over the agents that count in the metrics."""
    counts = before.spawned
    incident = (events.collision | events.offroad) & counts
    per_agent = {
        "agent_steps": before.active & counts,
        "metres": jnp.where(counts, after.distance_m - before.distance_m, 0.0),
        "collisions": events.collision & counts,
        "at_fault_collisions": events.driving_quality.at_fault & counts,
        "offroads": events.offroad & counts,
        "red_lights": events.red_light & counts,
        "stop_signs": events.stop_sign & counts,
        "arrivals": events.arrived & counts,
    }
    sums = {name: value.astype(jnp.float32).sum(axis=1) for name, value in per_agent.items()}
    sums["moments"] = incident.any(axis=1).astype(jnp.float32)
    assert set(sums) == set(COUNTED)
    return sums
