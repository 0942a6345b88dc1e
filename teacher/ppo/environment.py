"""What PPO needs of an environment: pure functions over a batch of worlds.

`update.py` uses nothing else of the simulator, so that a probe environment with a known value plugs in as well as maps
do. Every function takes `data` first: the arrays that worlds share and that never change (the road atlas).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simulator.atlas.road_atlas import RoadAtlas
from simulator.dynamics.bicycle import ACTIONS
from simulator.metrics.summary import agent_metrics
from simulator.rollout import needs_reset, reset_anywhere
from simulator.state import Scenario, WorldState
from simulator.step import step
from teacher.config import TeacherConfig
from teacher.observation.observe import observe_worlds
from teacher.reward import reward


class Transition(NamedTuple):
    """What one step of every world gives."""

    state: Any  # the next state of all worlds, leaves [worlds, ...]
    reward: jax.Array  # [worlds, agents] f32
    terminated: jax.Array  # [worlds, agents] bool: crashed, went off-road or arrived; no bootstrap
    valid: jax.Array  # [worlds, agents] bool: was active when the step began; other samples are ignored
    reward_terms: dict[str, jax.Array]  # name -> [worlds, agents] f32, for logs
    events: dict[str, jax.Array]  # name -> [worlds, agents] bool or f32, for logs


@dataclass(frozen=True)
class Environment:
    """Pure functions over a batch of worlds; hashable, so that `jit` can hold it static.

    Attributes:
        num_worlds, num_agents, num_actions: sizes of the batch (of all shards together) and of the action table.
        reset: (data, keys [n]) -> states of n fresh worlds, leaves [n, ...]; the keys are consumed.
        step: (data, state, action [worlds, agents] i32) -> Transition.
        observe: (data, state) -> observation, leaves [worlds, agents, ...].
        needs_reset: (data, state) -> [worlds] bool: episode over, or too few agents left.
        episode_metrics: (data, state) -> name -> [worlds, agents] f32 of finished episodes, NaN for empty slots.
        reset_chunk: how many worlds are reset at a time; a reset costs in proportion to the worlds that need one.
        split, join: states apart into (what stays fixed within an episode, what moves), and together again.
    """

    num_worlds: int
    num_agents: int
    num_actions: int
    reset: Callable[[Any, jax.Array], Any]
    step: Callable[[Any, Any, jax.Array], Transition]
    observe: Callable[[Any, Any], Any]
    needs_reset: Callable[[Any, Any], jax.Array]
    episode_metrics: Callable[[Any, Any], dict[str, jax.Array]] | None = None
    reset_chunk: int = 4
    split: Callable[[Any], tuple[Any, Any]] = lambda state: (None, state)
    join: Callable[[Any, Any], Any] = lambda fixed, moving: moving


def make_environment(config: TeacherConfig) -> Environment:
    """Maps as an environment of PPO. The atlas of `config.maps` is the `data` of every function.

    A world's map is drawn again at each reset.
    """
    simulator = config.simulator

    def step_worlds(atlas: RoadAtlas, state: WorldState, action: jax.Array) -> Transition:
        def one(state: WorldState, action: jax.Array) -> Transition:
            following, events = step(state, action, atlas, simulator)
            total, terms = reward(state, events, following, simulator, config.reward)
            crashed = events.collision | events.offroad
            learns = state.active & state.spawned  # faulty agents drive, but are not trained on
            named = {
                name: getattr(events, name)
                for name in ("collision", "offroad", "red_light", "stop_sign", "goal", "arrived")
            }
            return Transition(following, total, crashed | events.arrived, learns, terms, named)

        return jax.vmap(one)(state, action)

    return Environment(
        num_worlds=config.num_worlds,
        num_agents=simulator.num_agents,
        num_actions=ACTIONS.shape[0],
        reset=lambda atlas, keys: reset_anywhere(keys, atlas, simulator),
        step=step_worlds,
        observe=lambda atlas, state: observe_worlds(state, atlas, simulator, config.observation),
        needs_reset=lambda atlas, state: needs_reset(state, simulator),
        episode_metrics=lambda atlas, state: finished_metrics(state),
        reset_chunk=config.reset_chunk,
        split=split_worlds,
        join=lambda scenario, moving: WorldState(scenario=scenario, **moving),
    )


def split_worlds(state: WorldState) -> tuple[Scenario, dict[str, Any]]:
    """The scenarios, and by name everything that a step changes."""
    moving = {field.name: getattr(state, field.name) for field in fields(state)}
    return moving.pop("scenario"), moving


def finished_metrics(state: WorldState) -> dict[str, jax.Array]:
    """Metrics of each agent in finished episodes, [worlds, agents] f32: those of `simulator.metrics` and the metres
    driven; NaN in slots where no agent was placed."""
    driven = jnp.where(state.spawned, state.distance_m, jnp.nan)
    return {name: metric.or_nan() for name, metric in agent_metrics(state).items()} | {"distance_m": driven}
