"""Towns and logged scenes together as an environment of PPO: every reset draws one or the other.

All maps are in one atlas, and all scenes are kept in memory (`simulator.reset.map_set`). In a world that replays a log,
nothing after the log's end counts: its replayed agents would stand still there.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.reset.map_set import load_map_set
from simulator.reset.mixed_reset import LogInitialStates, load_log_initial_states, reset_mixed
from simulator.rollout import has_ended
from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.ppo.environment import Environment, Transition, make_environment


@struct.dataclass
class MixedData:
    """What the worlds share."""

    atlas: RoadAtlas  # towns first
    logs: LogInitialStates  # the first states of the scenes
    towns: ArrayField  # [towns] int32: maps without a log
    scenes: ArrayField  # [scenes] int32: maps with one


def load_mixed_data(config: TeacherConfig) -> MixedData:
    """The towns and the scenes of a configuration.

    Raises OSError or ValueError for maps and packs that cannot be read, have no scene of the split, or are too small.
    """
    packs = [f"{pack}:{config.logs.split}" for pack in config.logs.packs]
    map_set = load_map_set([*config.maps, *packs])
    map_set.check_capacity(config.simulator.num_agents, replayed=True)
    logs = load_log_initial_states(map_set, config.simulator, config.logs.replay)
    if logs is None:
        raise ValueError(f"logs.packs={list(config.logs.packs)} hold no scene; expected at least one")
    scenes = np.asarray(map_set.log_maps, np.int32)
    towns = np.setdiff1d(np.arange(len(map_set.scenes), dtype=np.int32), scenes)
    return MixedData(map_set.atlas, logs, jnp.asarray(towns), jnp.asarray(scenes))


def make_mixed_environment(config: TeacherConfig) -> Environment:
    """Towns and logged scenes as an environment of PPO; `data` is a `MixedData`.

    A reset draws a town with probability ``logs.town_share``, else a scene, and then one of them uniformly.
    """
    town = make_environment(config)

    def reset(data: MixedData, keys: jax.Array) -> WorldState:
        def one(key: jax.Array) -> WorldState:
            kind_key, town_key, scene_key, world_key = jax.random.split(key, 4)
            in_town = jax.random.uniform(kind_key) < config.logs.town_share
            map_id = jnp.where(
                in_town, jax.random.choice(town_key, data.towns), jax.random.choice(scene_key, data.scenes)
            )
            return reset_mixed(world_key, data.atlas, map_id, config.simulator, data.logs)

        return jax.vmap(one)(keys)

    def step(data: MixedData, state: WorldState, action: jax.Array) -> Transition:
        transition = town.step(data.atlas, state, action)
        return transition._replace(valid=transition.valid & ~has_ended(state)[:, None])

    return dataclasses.replace(
        town, reset=reset, step=step, observe=lambda data, state: town.observe(data.atlas, state)
    )
