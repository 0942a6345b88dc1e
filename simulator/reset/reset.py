"""Episodes that begin in towns and in recorded scenes, in one batch: how each scene begins lies ready on the device.

Worlds of one batch have the same arrays. Where some of them replay a recording, a world in a town carries one too: it
has no tracks, and says what the town's traffic lights will show.
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
from simulator.reset.log_scenario import ReplayConfig, logged_worlds, settle, stack_worlds
from simulator.reset.log_tracks import num_logged_steps
from simulator.reset.map_set import Places
from simulator.reset.spawn import reset
from simulator.state import Logged, WorldState
from simulator.traffic_lights import line_states

_log = logging.getLogger(__name__)

BEYOND_S = 8.0
"""A town's lights are told so long beyond the episode, for forks that leave it; after that they stay as they are."""
NEVER = 1 << 30
"""A step after the end of every episode."""


@struct.dataclass
class RecordedStarts:
    """How an episode begins in each recorded scene of some places."""

    first: WorldState  # leaves [scenes, ...]
    row: ArrayField  # [maps] int32: row of ``first``, -1 in towns


def load_starts(
    places: Places, config: SimulatorConfig, replay: ReplayConfig | None
) -> RecordedStarts | None:
    """The starts of the recorded scenes of these places; None where there are none, or nothing shall be replayed.

    Who drives what is decided here, once for each scene. Raises ValueError for scenes that cannot be replayed, see
    `simulator.reset.log_scenario.logged_worlds`.
    """
    scenes = {number: scene for number, scene in enumerate(places.scenes) if scene is not None}
    if replay is None or not scenes:
        return None
    steps = [num_logged_steps(scene.log, config, replay.start_step) for scene in scenes.values()]
    if len(scenes) < len(places.scenes):  # lights of towns are told there as well
        steps.append(config.episode_steps + round(BEYOND_S / config.timestep_s))
    stops = max(1, int(np.asarray(places.atlas.map_stop_count).max()))
    worlds = []
    for number, scene in scenes.items():
        generator = np.random.default_rng(number)
        worlds += logged_worlds(scene, number, config, replay, generator, 1, max(steps), stops, tell=False)
    crowded = sum(scene.log.num_tracks > config.num_agents for scene in scenes.values())
    if crowded:
        _log.info(
            "%d of %d recorded scenes have more tracks than num_agents=%d; the nearest stay",
            crowded, len(scenes), config.num_agents,
        )  # fmt: skip
    row = np.full(len(places.scenes), -1, np.int32)
    row[list(scenes)] = np.arange(len(scenes))
    first = jax.tree.map(jnp.asarray, stack_worlds(worlds))
    sound = jax.jit(jax.vmap(partial(settle, config=config), (0, None)))
    return RecordedStarts(sound(first, places.atlas), jnp.asarray(row))


def begin(
    key: Key[Array, ""],
    atlas: RoadAtlas,
    map_id: Int[Array, ""],
    config: SimulatorConfig,
    starts: RecordedStarts | None,
) -> WorldState:
    """A new episode of one world: as it was recorded where ``starts`` has its map, else spawned. The key is consumed.

    In a recorded scene the key draws the drivers' traits; all else is as in ``starts``.
    """
    if starts is None:
        return reset(key, atlas, map_id, config)
    spawn_key, traits_key = jax.random.split(key)
    row = starts.row[map_id]
    scene = jax.tree.map(lambda leaf: leaf[jnp.maximum(row, 0)], starts.first)
    town = reset(spawn_key, atlas, map_id, config)
    driven = {
        name: getattr(town.scenario, name) or getattr(scene.scenario, name)
        for name in ("has_idm", "has_noise")
    }
    traits = jax.random.uniform(traits_key, scene.scenario.traits.shape)
    scene = scene.replace(scenario=scene.scenario.replace(traits=traits, **driven))
    logged = _untracked(town, scene.scenario.logged, atlas, config)
    town = town.replace(scenario=town.scenario.replace(logged=logged, **driven))
    return jax.tree.map(lambda recorded, spawned: jnp.where(row >= 0, recorded, spawned), scene, town)


def begin_worlds(
    key: Key[Array, ""],
    atlas: RoadAtlas,
    config: SimulatorConfig,
    starts: RecordedStarts | None,
    num_worlds: int,
) -> WorldState:
    """``num_worlds`` new episodes, spread evenly over the maps of the atlas, leaves [worlds, ...]. The key is consumed.

    Without ``starts`` these are the worlds of `simulator.rollout.reset_worlds`.
    """
    map_ids = jnp.arange(num_worlds, dtype=jnp.int32) % atlas.num_maps
    keys = jax.random.split(key, num_worlds)
    return jax.vmap(begin, (0, None, 0, None, None))(keys, atlas, map_ids, config, starts)


def _untracked(town: WorldState, like: Logged, atlas: RoadAtlas, config: SimulatorConfig) -> Logged:
    """A recording of nobody, shaped as another one, that shows what the lights of this town will show."""
    stops, steps = like.light_state.shape
    own = jnp.arange(stops, dtype=jnp.int32)
    lines = jnp.where(own < atlas.map_stop_count[town.map_id], own + atlas.map_stop_start[town.map_id], -1)

    def shown(step: Int[Array, ""]) -> Int[Array, " stops"]:
        return line_states(town.replace(step=step), lines, atlas, config)

    blank = jax.tree.map(jnp.zeros_like, like)
    states = jax.vmap(shown, out_axes=1)(jnp.arange(steps, dtype=jnp.int32))
    return blank.replace(light_state=states, last_step=jnp.int32(NEVER))
