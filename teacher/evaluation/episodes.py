"""Episodes of a batch of worlds, driven to their ends once: their last states and, where asked for, every instant."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
from simulator.rollout import Choose, is_over, select_worlds, step_worlds
from simulator.state import WorldState
from teacher.evaluation.config import POLICY_DRIVER
from teacher.observation.observe import observe
from teacher.policy import Policy
from teacher.reward import careful_traits


class Instant(NamedTuple):
    """What a picture needs to know of one moment; leaves [worlds, agents, ...]."""

    position: ArrayField  # [..., 3] m, world
    yaw: ArrayField  # rad
    speed: ArrayField  # m/s
    present: ArrayField  # bool
    active: ArrayField  # bool
    goal_index: ArrayField  # int32
    route_m: ArrayField  # m
    collisions: ArrayField  # int32 so far
    offroads: ArrayField  # int32 so far
    red_lights: ArrayField  # int32 so far


@dataclass(frozen=True)
class Episodes:
    """Finished episodes of some worlds, and what it takes to show them."""

    config: SimulatorConfig
    atlas: RoadAtlas
    road_maps: tuple[RoadMap, ...]  # by map id
    names: tuple[str, ...]  # of the town or the recorded scene, by map id
    final: WorldState  # last states, numpy, leaves [worlds, ...]
    agent_steps: int  # steps of agents that count and still drove
    wall_s: float  # compilation included
    instants: Instant | None = None  # numpy, leaves [steps + 1, worlds, agents, ...], where asked for

    def metrics(self) -> Metrics:
        """The figures of these episodes."""
        logged = self.final.scenario.logged
        logged_m = None if logged is None else logged_metres(self.final)
        return summarise(self.final, self.agent_steps, self.wall_s, logged_m)


def logged_metres(state: WorldState) -> np.ndarray:
    """How far (m) the log of each agent that a policy drives moves, [worlds, agents]: its only goal is its log's last
    place."""
    return np.asarray(state.scenario.goal_m)[..., 0]


def choose_with(policy: Policy, atlas: RoadAtlas, config: SimulatorConfig, greedy: bool) -> Choose:
    """The policy as a function of batched worlds and a key, for `simulator.rollout.roll`."""

    def choose(worlds: WorldState, key: Array) -> Array:
        seen = jax.vmap(observe, (0, None, None, None))(worlds, atlas, config, policy.observation)
        return policy.act(seen, key, greedy)

    return choose


def choose_for(
    driver: str, policy: Policy, atlas: RoadAtlas, config: SimulatorConfig, greedy: bool, noisy: bool
) -> Choose:
    """Actions where ``driver`` drives the agents that count; a baseline looks at none.

    The policy also drives the blind and the braking of ``noisy`` traffic, whoever the driver is: figures of drivers
    compare where all else is the same.
    """
    if driver == POLICY_DRIVER or noisy:
        return choose_with(policy, atlas, config, greedy)
    return lambda worlds, key: jnp.full(worlds.yaw.shape, COAST, jnp.int32)


def careful(worlds: WorldState) -> WorldState:
    """The worlds with the careful driver's traits for every agent."""
    traits = jnp.broadcast_to(careful_traits(), worlds.scenario.traits.shape)
    return worlds.replace(scenario=worlds.scenario.replace(traits=traits))


def put_at_the_wheel(worlds: WorldState, driver: str) -> WorldState:
    """The worlds with ``driver`` for the agents that count."""
    return with_baseline(worlds, NO_BASELINE if driver == POLICY_DRIVER else driver)


def roll_to_the_end(
    key: Array,
    worlds: WorldState,
    choose: Choose,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    steps: int,
    filmed: bool,
) -> tuple[WorldState, Array, Instant | None]:
    """Drives batched worlds for ``steps``; worlds that are over stand still. The key is consumed.

    Gives the last states, the agent-steps taken in each world [worlds], and the instants [steps, ...] if ``filmed``.
    """

    def one(carry: tuple[WorldState, Array], step_key: Array) -> tuple[tuple[WorldState, Array], Any]:
        before, taken = carry
        following, _ = step_worlds(before, choose(before, step_key), atlas, config)
        running = ~is_over(before, config)
        drove = (before.active & before.spawned).sum(axis=1) * running
        following = select_worlds(running, following, before).replace(scenario=before.scenario)
        return (following, taken + drove), instant_of(following) if filmed else None

    start = (worlds, jnp.zeros(worlds.step.shape, jnp.int32))
    (final, taken), instants = jax.lax.scan(one, start, jax.random.split(key, steps))
    return final, taken, instants


def instant_of(worlds: WorldState) -> Instant:
    """The moment of batched worlds that pictures are made of."""
    return Instant(*(getattr(worlds, name) for name in Instant._fields))


class Drive:
    """One compiled drive, for one batch of worlds after the other as long as their arrays have the same shapes."""

    def __init__(
        self, policy: Policy, driver: str, config: SimulatorConfig, greedy: bool, steps: int, filmed: bool
    ) -> None:
        self.config, self._driver, self._filmed = config, driver, filmed

        @jax.jit
        def drive(key: Array, worlds: WorldState, atlas: RoadAtlas) -> Any:
            choose = choose_for(driver, policy, atlas, config, greedy, worlds.scenario.has_noise)
            return roll_to_the_end(key, worlds, choose, atlas, config, steps, filmed)

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
        """Drives first states to their ends. The key is consumed.

        ``counted`` [worlds] bool says which worlds are kept; others only fill up the batch.
        """
        worlds = put_at_the_wheel(worlds, self._driver)
        began = time.perf_counter()
        result = self.compiled(key, worlds, atlas)
        final, taken, instants = jax.tree.map(np.asarray, jax.block_until_ready(result))
        wall_s = time.perf_counter() - began
        if self._filmed:
            first = jax.tree.map(np.asarray, instant_of(worlds))
            instants = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), first, instants)
        if counted is not None and not counted.all():
            final, taken = jax.tree.map(lambda leaf: leaf[counted], (final, taken))
            instants = jax.tree.map(lambda leaf: leaf[:, counted], instants)
        return Episodes(self.config, atlas, road_maps, names, final, int(taken.sum()), wall_s, instants)
