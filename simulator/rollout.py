"""The batch edge: the only place where one world becomes many (``vmap``) and one step becomes an episode (``scan``)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.spawn import reset
from simulator.state import Events, WorldState
from simulator.step import step

Choose = Callable[[WorldState, Array], Array]
"""Picks actions [worlds, agents] from batched states and a key (consumed)."""


def reset_worlds(
    key: Key[Array, ""], atlas: RoadAtlas, config: SimulatorConfig, num_worlds: int
) -> WorldState:
    """``num_worlds`` new episodes, spread evenly over the atlas's towns. Fields get a leading [worlds] axis."""
    map_ids = jnp.arange(num_worlds, dtype=jnp.int32) % atlas.num_maps
    return jax.vmap(reset, (0, None, 0, None))(jax.random.split(key, num_worlds), atlas, map_ids, config)


def reset_anywhere(keys: Key[Array, " worlds"], atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """As many new episodes as there are keys, each in a town of the atlas that its key draws. The keys are consumed."""

    def one(key: Array) -> WorldState:
        map_key, world_key = jax.random.split(key)
        return reset(world_key, atlas, jax.random.randint(map_key, (), 0, atlas.num_maps), config)

    return jax.vmap(one)(keys)


def step_worlds(
    state: WorldState, action: Int[Array, "worlds agents"], atlas: RoadAtlas, config: SimulatorConfig
) -> tuple[WorldState, Events]:
    """One step of every world."""
    return jax.vmap(step, (0, 0, None, None))(state, action, atlas, config)


def needs_reset(state: WorldState, config: SimulatorConfig) -> Bool[Array, " worlds"]:
    """Worlds whose episode or recording is over, or too jammed to be worth continuing. Agents that do not count in
    metrics do not count here either; where nobody counts, only time ends the episode."""
    gone = (state.spawned & ~state.active).sum(axis=-1)
    inactive = gone / jnp.maximum(state.spawned.sum(axis=-1), 1)
    return is_over(state, config) | (inactive >= config.inactive_reset_share)


def is_over(state: WorldState, config: SimulatorConfig) -> Bool[Array, " worlds"]:
    """Worlds whose time is up or whose recording has ended."""
    return (state.step >= config.episode_steps) | has_ended(state)


def has_ended(state: WorldState) -> Bool[Array, " worlds"]:
    """Worlds whose recording is over: nothing is known of what its agents did next. Never worlds in towns."""
    if state.scenario.logged is None:
        return jnp.zeros(state.step.shape, bool)
    return state.step >= state.scenario.logged.last_step


def select_worlds(which: Bool[Array, " worlds"], new: WorldState, old: WorldState) -> WorldState:
    """Worlds of ``new`` where ``which``, else of ``old``."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def roll(
    key: Key[Array, ""],
    state: WorldState,
    choose: Choose,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    num_steps: int,
) -> tuple[WorldState, Int[Array, ""]]:
    """Drives batched worlds for ``num_steps`` without resets; returns the last state and the agent-steps taken."""

    def one(carry: tuple[WorldState, Array], step_key: Array) -> tuple[tuple[WorldState, Array], None]:
        world, taken = carry
        following, _ = step_worlds(world, choose(world, step_key), atlas, config)
        return (following, taken + (world.active & world.spawned).sum()), None

    start = (state, jnp.zeros((), jnp.int32))
    (state, taken), _ = jax.lax.scan(one, start, jax.random.split(key, num_steps))
    return state, taken
