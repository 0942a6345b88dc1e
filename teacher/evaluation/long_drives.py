"""A long drive: worlds begin anew when they are over, until enough hours or kilometres are driven.

A world is over after its episode, or when two agents in five no longer drive (GIGAFLOW), since thinner traffic would be
easier. A look is taken every `CHUNK_S` seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.spawn import check_capacity
from simulator.roads.map_cache import load_atlas
from simulator.rollout import Choose, needs_reset, reset_anywhere, step_worlds
from simulator.state import Events, WorldState
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import careful, choose_for, put_at_the_wheel
from teacher.evaluation.incident_rate import COUNTED, Totals
from teacher.evaluation.towns import start_worlds, town_simulator
from teacher.policy import Policy
from teacher.ppo.rollout import renewed

CHUNK_S = 5.0
REFILL_SHARE = 0.4
REFILL_CHUNK = 4
"""Worlds that begin anew at a time."""

Report = Callable[[Totals], None]


def drive_long(policy: Policy, config: EvaluationConfig, traffic: str, report: Report) -> tuple[Totals, bool]:
    """Totals of a drive of ``config.hours`` or ``config.km``, and whether Ctrl-C ended it early.

    ``report`` hears of the totals after every chunk. Every episode draws its town anew.
    """
    atlas = load_atlas(config.maps)
    check_capacity(atlas, config.agents_per_world)
    simulator = town_simulator(policy, config, traffic)
    simulator = dataclasses.replace(simulator, inactive_reset_share=REFILL_SHARE)
    totals = Totals.nothing(atlas.num_maps, simulator.timestep_s)
    try:
        key, start_key = jax.random.split(jax.random.key(config.seed))
        worlds = put_at_the_wheel(start_worlds(start_key, atlas, simulator, config.worlds), config.driver)
        noisy = worlds.scenario.has_noise
        choose = choose_for(config.driver, policy, atlas, simulator, config.greedy, noisy)
        chunk = jax.jit(partial(drive_chunk, choose=choose, config=simulator, driver=config.driver))
        while driven_share(totals, config) < 1.0:
            key, chunk_key = jax.random.split(key)
            worlds, sums = chunk(chunk_key, worlds, atlas)
            totals = totals.plus(jax.device_get(sums))
            report(totals)
    except KeyboardInterrupt:
        return totals, True
    return totals, False


def driven_share(totals: Totals, config: EvaluationConfig) -> float:
    """Share of what was asked for that has been driven."""
    if config.hours is not None:
        return totals.hours / config.hours
    return totals.km / config.km if config.km else 1.0


def drive_chunk(
    key: Array,
    worlds: WorldState,
    atlas: RoadAtlas,
    choose: Choose,
    config: SimulatorConfig,
    driver: str,
) -> tuple[WorldState, dict[str, Float[Array, " towns"]]]:
    """Drives for CHUNK_S and begins worlds anew that are over then. The key is consumed.

    Also gives the sums of COUNTED for each town.
    """

    def one(worlds: WorldState, step_key: Array) -> tuple[WorldState, dict[str, Array]]:
        following, events = step_worlds(worlds, choose(worlds, step_key), atlas, config)
        return following, counted(worlds, following, events)

    steps = max(1, round(CHUNK_S / config.timestep_s))
    key, refill_key = jax.random.split(key)
    town = worlds.map_id
    worlds, counts = jax.lax.scan(one, worlds, jax.random.split(key, steps))
    sums = {
        name: jnp.zeros(atlas.num_maps).at[town].add(value.astype(jnp.float32).sum(axis=0))
        for name, value in counts.items()
    }

    def fresh(keys: Array) -> WorldState:
        return put_at_the_wheel(careful(reset_anywhere(keys, atlas, config)), driver)

    return renewed(worlds, needs_reset(worlds, config), fresh, refill_key, REFILL_CHUNK), sums


def counted(before: WorldState, after: WorldState, events: Events) -> dict[str, Float[Array, " worlds"]]:
    """The sums of COUNTED in each world for one step; only agents that count in metrics do."""
    counts = before.spawned
    incident = (events.collision | events.offroad) & counts
    per_agent = {
        "agent_steps": before.active & counts,
        "metres": jnp.where(counts, after.distance_m - before.distance_m, 0.0),
        "collisions": events.collision & counts,
        "at_fault_collisions": events.conduct.at_fault & counts,
        "offroads": events.offroad & counts,
        "red_lights": events.red_light & counts,
        "stop_signs": events.stop_sign & counts,
        "arrivals": events.arrived & counts,
    }
    sums = {name: value.astype(jnp.float32).sum(axis=1) for name, value in per_agent.items()}
    sums["moments"] = incident.any(axis=1).astype(jnp.float32)
    assert set(sums) == set(COUNTED)
    return sums
