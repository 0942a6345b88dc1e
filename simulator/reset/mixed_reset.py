"""Resets on maps with and without logs in one batch: initial states from logs are kept on the device.

Worlds of one batch have the same arrays. Where some of them replay a log, a world on a map without one gets a log too:
without tracks, and with the light states of the map's fixed-time program.
"""

from __future__ import annotations

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, Key

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.log_scenario import ReplayConfig, demote_invalid_to_replay, stack_worlds, worlds_from_log
from simulator.reset.log_tracks import num_log_steps
from simulator.reset.map_set import MapSet
from simulator.reset.spawn import reset
from simulator.state import LogReplay, WorldState
from simulator.traffic_lights import line_states

_log = logging.getLogger(__name__)

LIGHTS_BEYOND_EPISODE_S = 8.0
"""Light states of maps without a log are computed for this long beyond the episode, for forks that leave it; after
that the last ones hold."""
NEVER = 1 << 30
"""A step after the end of every episode."""


@struct.dataclass
class LogInitialStates:
    """The initial states of the scenes of a map set, on the device."""

    states: WorldState  # leaves [scenes, ...]
    row: ArrayField  # [maps] int32: row of ``states``, -1 for maps without a log


def load_log_initial_states(
    map_set: MapSet, config: SimulatorConfig, replay: ReplayConfig | None
) -> LogInitialStates | None:
    """The initial states of the scenes of a map set; None without scenes or where ``replay`` is None.

    Controllers are assigned here, once for each scene. Raises ValueError for scenes that cannot be replayed, see
    `simulator.reset.log_scenario.worlds_from_log`.
    """
    scenes = {number: scene for number, scene in enumerate(map_set.scenes) if scene is not None}
    if replay is None or not scenes:
        return None
    steps = [num_log_steps(scene.log, config) for scene in scenes.values()]
    if len(scenes) < len(map_set.scenes):  # maps without a log get one with their lights
        steps.append(config.episode_steps + round(LIGHTS_BEYOND_EPISODE_S / config.timestep_s))
    stops = max(1, int(np.asarray(map_set.atlas.map_stop_count).max()))
    worlds = []
    for number, scene in scenes.items():
        generator = np.random.default_rng(number)
        worlds += worlds_from_log(scene, number, config, replay, generator, 1, max(steps), stops, warn=False)
    crowded = sum(scene.log.num_tracks > config.num_agents for scene in scenes.values())
    if crowded:
        _log.info(
            "%d of %d scenes have more tracks than num_agents=%d; the nearest are kept",
            crowded, len(scenes), config.num_agents,
        )  # fmt: skip
    row = np.full(len(map_set.scenes), -1, np.int32)
    row[list(scenes)] = np.arange(len(scenes))
    states = jax.tree.map(jnp.asarray, stack_worlds(worlds))
    demote = jax.jit(jax.vmap(partial(demote_invalid_to_replay, config=config), (0, None)))
    return LogInitialStates(demote(states, map_set.atlas), jnp.asarray(row))


def reset_mixed(
    key: Key[Array, ""],
    atlas: RoadAtlas,
    map_id: Int[Array, ""],
    config: SimulatorConfig,
    logs: LogInitialStates | None,
) -> WorldState:
    """The initial state of one world: from its log where ``logs`` has its map, else spawned. The key is consumed.

    On a map with a log the key draws the agents' traits only.
    """
    if logs is None:
        return reset(key, atlas, map_id, config)
    spawn_key, traits_key = jax.random.split(key)
    row = logs.row[map_id]
    from_log = jax.tree.map(lambda leaf: leaf[jnp.maximum(row, 0)], logs.states)
    spawned = reset(spawn_key, atlas, map_id, config)
    compiled = {
        name: getattr(spawned.scenario, name) or getattr(from_log.scenario, name)
        for name in ("has_idm", "has_faults")
    }
    traits = jax.random.uniform(traits_key, from_log.scenario.traits.shape)
    from_log = from_log.replace(scenario=from_log.scenario.replace(traits=traits, **compiled))
    log = _log_of_lights(spawned, from_log.scenario.log, atlas, config)
    spawned = spawned.replace(scenario=spawned.scenario.replace(log=log, **compiled))
    return jax.tree.map(lambda one, other: jnp.where(row >= 0, one, other), from_log, spawned)


def reset_mixed_worlds(
    key: Key[Array, ""],
    atlas: RoadAtlas,
    config: SimulatorConfig,
    logs: LogInitialStates | None,
    num_worlds: int,
) -> WorldState:
    """``num_worlds`` initial states, spread evenly over the maps of the atlas, leaves [worlds, ...]. The key is
    consumed.

    Without ``logs`` these are the worlds of `simulator.rollout.reset_worlds`.
    """
    map_ids = jnp.arange(num_worlds, dtype=jnp.int32) % atlas.num_maps
    keys = jax.random.split(key, num_worlds)
    return jax.vmap(reset_mixed, (0, None, 0, None, None))(keys, atlas, map_ids, config, logs)


def _log_of_lights(
    spawned: WorldState, like: LogReplay, atlas: RoadAtlas, config: SimulatorConfig
) -> LogReplay:
    """A log without tracks, of the shapes of ``like``, with the light states of the map's fixed-time program."""
    stops, steps = like.light_state.shape
    own = jnp.arange(stops, dtype=jnp.int32)
    first, count = atlas.map_stop_start[spawned.map_id], atlas.map_stop_count[spawned.map_id]
    lines = jnp.where(own < count, own + first, -1)

    def lights_at(step: Int[Array, ""]) -> Int[Array, " stops"]:
        return line_states(spawned.replace(step=step), lines, atlas, config)

    blank = jax.tree.map(jnp.zeros_like, like)
    light_state = jax.vmap(lights_at, out_axes=1)(jnp.arange(steps, dtype=jnp.int32))
    return blank.replace(light_state=light_state, last_step=jnp.int32(NEVER))
