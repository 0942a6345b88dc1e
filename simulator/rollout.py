"""Batches and episodes: ``vmap`` of resets and steps over worlds, and `rollout`, the one loop of steps over time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.action_model import StepModel
from simulator.dynamics.jerk_actions import JERK_ACTIONS
from simulator.reset.spawn import reset
from simulator.state import Events, WorldState
from simulator.step import step

PolicyFn = Callable[[WorldState, Array], Any]
"""Actions of batched worlds, leaves [worlds, agents, ...], from their state and a key (consumed)."""
StepFn = Callable[[WorldState, Any], tuple[WorldState, Events]]


class Step(NamedTuple):
    """One step of a `rollout`, as its recorder sees it."""

    state: Any  # before the step
    action: Any  # of the policy
    next_state: Any
    outcome: Any  # result of the step besides the next state: `Events` of worlds


def reset_worlds(
    key: Key[Array, ""], atlas: RoadAtlas, config: SimulatorConfig, num_worlds: int
) -> WorldState:
    """First states of ``num_worlds`` episodes, spread evenly over the atlas's maps; leaves [worlds, ...]. The key is
    consumed."""
    map_ids = jnp.arange(num_worlds, dtype=jnp.int32) % atlas.num_maps
    return jax.vmap(reset, (0, None, 0, None))(jax.random.split(key, num_worlds), atlas, map_ids, config)


def reset_anywhere(keys: Key[Array, " worlds"], atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """First states of episodes, one for each key, on maps of the atlas drawn by the keys, which are consumed."""

    def one(key: Array) -> WorldState:
        map_key, world_key = jax.random.split(key)
        return reset(world_key, atlas, jax.random.randint(map_key, (), 0, atlas.num_maps), config)

    return jax.vmap(one)(keys)


def step_worlds(
    state: WorldState,
    action: Any,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    model: StepModel = JERK_ACTIONS,
) -> tuple[WorldState, Events]:
    """One step of every world; ``action`` has leaves [worlds, agents, ...], see `simulator.step.step`."""
    return jax.vmap(lambda world, act: step(world, act, atlas, config, model))(state, action)


def needs_reset(state: WorldState, config: SimulatorConfig) -> Bool[Array, " worlds"]:
    """Worlds whose episode or log is over, or in which ``inactive_reset_share`` of the agents that count in metrics no
    longer drive. Without such agents only time ends the episode."""
    gone = (state.spawned & ~state.active).sum(axis=-1)
    inactive = gone / jnp.maximum(state.spawned.sum(axis=-1), 1)
    return is_over(state, config) | (inactive >= config.inactive_reset_share)


def is_over(state: WorldState, config: SimulatorConfig) -> Bool[Array, " worlds"]:
    """Worlds whose episode has reached its length or whose log has ended."""
    return (state.step >= config.episode_steps) | has_ended(state)


def has_ended(state: WorldState) -> Bool[Array, " worlds"]:
    """Worlds whose log has ended, so that no traffic can be replayed; never worlds without a log."""
    if state.scenario.log is None:
        return jnp.zeros(state.step.shape, bool)
    return state.step >= state.scenario.log.last_step


def driving(state: WorldState) -> Bool[Array, "worlds agents"]:
    """Agents that act in the next step: active ones of worlds whose log has not ended."""
    return state.active & ~has_ended(state)[:, None]


def select_worlds(which: Bool[Array, " worlds"], new: WorldState, old: WorldState) -> WorldState:
    """Worlds of ``new`` where ``which``, else of ``old``."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def rollout(
    policy_fn: Callable[[Any, Any], Any],
    step_fn: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    inputs: Any,
    record: Callable[[Step], Any] | None = None,
) -> tuple[Any, Any]:
    """Acts and steps once for every entry of ``inputs``; all rollouts of worlds go through this loop.

    ``policy_fn(state, input)`` gives the action from the state and that step's entry of ``inputs`` (a pytree whose
    leaves have a leading [steps] axis: PRNG keys, logged poses, ...), ``step_fn(state, action)`` the next state and an
    outcome. State, action and outcome may be any pytrees; worlds are advanced by `step_fn_of`.

    Returns the last state and what ``record`` made of every `Step`, with a leading [steps] axis (None without one).
    """

    def one(state: Any, step_input: Any) -> tuple[Any, Any]:
        action = policy_fn(state, step_input)
        next_state, outcome = step_fn(state, action)
        kept = None if record is None else record(Step(state, action, next_state, outcome))
        return next_state, kept

    return jax.lax.scan(one, state, inputs)


def step_fn_of(
    atlas: RoadAtlas,
    config: SimulatorConfig,
    model: StepModel = JERK_ACTIONS,
    stop: Callable[[WorldState], Bool[Array, " worlds"]] | None = None,
) -> StepFn:
    """`step_worlds` as a function of batched worlds and their actions alone, for `rollout`.

    Worlds for which ``stop`` holds before the step stay as they are.
    """

    def step_fn(state: WorldState, action: Any) -> tuple[WorldState, Events]:
        next_state, events = step_worlds(state, action, atlas, config, model)
        if stop is not None:
            goes_on = ~stop(state)
            next_state = select_worlds(goes_on, next_state, state).replace(scenario=state.scenario)
        return next_state, events

    return step_fn


def rollout_worlds(
    policy_fn: PolicyFn,
    key: Key[Array, ""],
    state: WorldState,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    num_steps: int,
) -> tuple[WorldState, Int[Array, ""]]:
    """Drives batched worlds for ``num_steps`` without resets; the key is consumed.

    Returns the last state and the agent-steps taken by agents that count in metrics.
    """
    keys = jax.random.split(key, num_steps)
    state, taken = rollout(policy_fn, step_fn_of(atlas, config), state, keys, count_agent_steps)
    return state, taken.sum()


def count_agent_steps(step: Step) -> Int[Array, ""]:
    """Agents of all worlds that count in metrics and acted in this step; a recorder for `rollout`."""
    return (step.state.active & step.state.spawned).sum()
