"""Rollouts of whole episodes in a batch of worlds: their final states and, on request, the states of every step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from simulator.agents.baselines import NO_BASELINE, with_baseline
from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.metrics.summary import Metrics, summarise
from simulator.roads.road_map import RoadMap
from simulator.rollout import PolicyFn, Step, is_over, rollout, step_fn_of
from simulator.state import WorldState
from teacher.evaluation.config import POLICY_DRIVER
from teacher.policy import Policy, make_policy_fn
from teacher.reward import default_traits


class AgentStates(NamedTuple):
    """The part of a world state that videos need, of one step; leaves [worlds, agents, ...]."""

    position: ArrayField  # [..., 3] m, world
    yaw: ArrayField  # rad
    speed: ArrayField  # m/s
    present: ArrayField  # bool
    active: ArrayField  # bool
    goal_index: ArrayField  # int32
    route_m: ArrayField  # m
    collisions: ArrayField  # int32, so far in the episode
    offroads: ArrayField  # int32, so far in the episode
    red_lights: ArrayField  # int32, so far in the episode


@dataclass(frozen=True)
class Episodes:
    """Finished episodes of some worlds, with what is needed to draw them."""

    config: SimulatorConfig
    atlas: RoadAtlas
    road_maps: tuple[RoadMap, ...]  # by map id
    names: tuple[str, ...]  # of the map or the recorded scene, by map id
    final: WorldState  # final states, numpy, leaves [worlds, ...]
    agent_steps: int  # steps of active agents that count in the metrics
    wall_s: float  # s, compilation included
    states: AgentStates | None = None  # numpy, leaves [steps + 1, worlds, agents, ...]; None if not recorded

    def metrics(self) -> Metrics:
        """The metrics of these episodes."""
        logged = self.final.scenario.log
        logged_m = None if logged is None else logged_distance_m(self.final)
        return summarise(self.final, self.agent_steps, self.wall_s, logged_m)


def logged_distance_m(state: WorldState) -> np.ndarray:
    """Distance (m) that each agent covers in its log, [worlds, agents]: the arc length of its only goal, which is its
    last logged position."""
    return np.asarray(state.scenario.goal_m)[..., 0]


def policy_fn_for(
    driver: str, policy: Policy, atlas: RoadAtlas, config: SimulatorConfig, greedy: bool, noisy: bool
) -> PolicyFn:
    """The actions of ``driver``, as `policy_fn`; baselines ignore actions, so theirs are constant.

    In ``noisy`` traffic the policy acts whatever the driver, because it also controls the faulty agents: the traffic
    must not depend on the driver that is evaluated.
    """
    if driver == POLICY_DRIVER or noisy:
        return make_policy_fn(policy, atlas, config, greedy)
    return lambda worlds, key: jnp.full(worlds.yaw.shape, COAST, jnp.int32)


def with_default_traits(worlds: WorldState) -> WorldState:
    """The worlds with `default_traits` for every agent."""
    traits = jnp.broadcast_to(default_traits(), worlds.scenario.traits.shape)
    return worlds.replace(scenario=worlds.scenario.replace(traits=traits))


def set_controller(worlds: WorldState, driver: str) -> WorldState:
    """The worlds with ``driver`` as the controller of the agents that count in the metrics."""
    return with_baseline(worlds, NO_BASELINE if driver == POLICY_DRIVER else driver)


def rollout_until_done(
    key: Array,
    worlds: WorldState,
    policy_fn: PolicyFn,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    steps: int,
    record_states: bool,
) -> tuple[WorldState, Array, AgentStates | None]:
    """Drives batched worlds for ``steps``; worlds whose episode is over do not change. The key is consumed.

    Returns the final states, the agent-steps taken in each world [worlds], and with ``record_states`` the states after
    each step, leaves [steps, worlds, agents, ...].
    """

    def record(step: Step) -> tuple[Array, AgentStates | None]:
        runs = ~is_over(step.state, config)
        acts = (step.state.active & step.state.spawned).sum(axis=1) * runs
        return acts, agent_states(step.next_state) if record_states else None

    step_fn = step_fn_of(atlas, config, stop=partial(is_over, config=config))
    final, (acts, states) = rollout(policy_fn, step_fn, worlds, jax.random.split(key, steps), record)
    return final, acts.sum(axis=0), states


def agent_states(worlds: WorldState) -> AgentStates:
    """The fields of `AgentStates` of batched worlds."""
    return AgentStates(*(getattr(worlds, name) for name in AgentStates._fields))


class EpisodeRunner:
    """Drives batches of worlds with one compiled rollout, as long as their arrays have the same shapes."""

    def __init__(
        self,
        policy: Policy,
        driver: str,
        config: SimulatorConfig,
        greedy: bool,
        steps: int,
        record_states: bool,
    ) -> None:
        self.config, self._driver, self._record_states = config, driver, record_states

        @jax.jit
        def drive(key: Array, worlds: WorldState, atlas: RoadAtlas) -> Any:
            act = policy_fn_for(driver, policy, atlas, config, greedy, worlds.scenario.has_faults)
            return rollout_until_done(key, worlds, act, atlas, config, steps, record_states)

        self.compiled = drive

    def __call__(
        self,
        key: Array,
        worlds: WorldState,
        atlas: RoadAtlas,
        road_maps: tuple[RoadMap, ...],
        names: tuple[str, ...],
        counted: np.ndarray | None = None,
    ) -> Episodes:
        """The episodes that begin in ``worlds``. The key is consumed.

        ``counted`` [worlds] bool masks the worlds whose episodes are kept; the others only fill up the batch.
        """
        worlds = set_controller(worlds, self._driver)
        began = time.perf_counter()
        result = self.compiled(key, worlds, atlas)
        final, taken, states = jax.tree.map(np.asarray, jax.block_until_ready(result))
        wall_s = time.perf_counter() - began
        if self._record_states:
            first = jax.tree.map(np.asarray, agent_states(worlds))
            states = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), first, states)
        if counted is not None and not counted.all():
            final, taken = jax.tree.map(lambda leaf: leaf[counted], (final, taken))
            states = jax.tree.map(lambda leaf: leaf[:, counted], states)
        return Episodes(self.config, atlas, road_maps, names, final, int(taken.sum()), wall_s, states)
