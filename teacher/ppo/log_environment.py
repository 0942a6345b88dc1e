"""Logged traffic as an environment of PPO: log-replay RL ("Scaling Is All You Need", arXiv 2312.15122).

Worlds come from a stream of scenes in batches, each driven for a few updates and then replaced. A batch is the `data`
of the environment's functions: the atlas of its scenes, and their first states, one of which a reset restores with new
driver traits. By default vehicles are driven by policy to where their logs end, and all other agents replay their logs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.ppo.environment import Environment, Transition, make_environment

AFTER_EPISODE = 1 << 30
"""A step after the end of every episode."""


@struct.dataclass
class LogData:
    """What the worlds of a batch share."""

    atlas: Any  # of its scenes
    first: WorldState  # the states that their episodes begin with, leaves [worlds, ...]


def make_log_environment(config: TeacherConfig) -> Environment:
    """Logged scenes as an environment of PPO; `data` is a `LogData`."""
    town = make_environment(config)

    def reset(data: LogData, keys: jax.Array) -> WorldState:
        def one(key: jax.Array) -> WorldState:
            pick_key, traits_key = jax.random.split(key)
            number = jax.random.randint(pick_key, (), 0, data.first.step.shape[0])
            world = jax.tree.map(lambda leaf: leaf[number], data.first)
            traits = jax.random.uniform(traits_key, world.scenario.traits.shape)
            return world.replace(scenario=world.scenario.replace(traits=traits))

        return jax.vmap(one)(keys)

    def step(data: LogData, state: WorldState, action: jax.Array) -> Transition:
        return town.step(data.atlas, state, action)

    return dataclasses.replace(
        town, reset=reset, step=step, observe=lambda data, state: town.observe(data.atlas, state)
    )


def ended(worlds: WorldState) -> WorldState:
    """The worlds with their episodes ended, so that the next update resets them in the next batch."""
    return worlds.replace(step=jnp.full_like(worlds.step, AFTER_EPISODE))
