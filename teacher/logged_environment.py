"""Recorded traffic as PPO sees it: log-replay reinforcement learning ("Scaling Is All You Need", arXiv 2312.15122).

Worlds come from a stream of scenes in batches, each driven for a few updates and then replaced. A batch is the `data`
of the environment's functions: the atlas of its scenes, and their first states, one of which a reset puts back with new
drivers. Vehicles are driven by policy to where their logs end, everybody else replays its log, by default.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import struct

from simulator.logged_world import ReplayConfig
from simulator.logs.stream import SceneBatch, SceneStream, StreamConfig
from simulator.world import WorldState
from teacher.environment import Environment, Transition, make_environment

if TYPE_CHECKING:
    from teacher.config import TeacherConfig

OVER = 1 << 30
"""A step after the end of every episode."""


@dataclass(frozen=True)
class LogConfig:
    """Training in recorded traffic instead of towns.

    Attributes:
        packs: scene packs (`gigapixel scenes ...`); empty: train in towns.
        split: scenes to train in: `train` leaves out those that evaluations hold out (see `simulator.logs.split`).
        num_scenes: different scenes in a batch; must divide num_worlds.
        updates_per_batch: updates driven in a batch before the next takes its place.
        replay: who drives the recorded tracks.
    """

    packs: tuple[str, ...] = ()
    split: str = "train"
    num_scenes: int = 16
    updates_per_batch: int = 4
    replay: ReplayConfig = field(default_factory=ReplayConfig)

    def __post_init__(self) -> None:
        if isinstance(self.packs, str):
            raise ValueError(f"logs.packs={self.packs!r} must be a list of scene packs, such as [womd.h5]")
        for name in ("num_scenes", "updates_per_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"logs.{name}={getattr(self, name)} must be at least 1")


@struct.dataclass
class LoggedData:
    """What the worlds of a batch share."""

    atlas: Any  # of its scenes
    first: WorldState  # the states that their episodes begin with, leaves [worlds, ...]


def make_logged_environment(config: TeacherConfig) -> Environment:
    """Recorded scenes as PPO sees them; `data` is a `LoggedData`."""
    town = make_environment(config)

    def reset(data: LoggedData, keys: jax.Array) -> WorldState:
        def one(key: jax.Array) -> WorldState:
            pick_key, traits_key = jax.random.split(key)
            number = jax.random.randint(pick_key, (), 0, data.first.step.shape[0])
            world = jax.tree.map(lambda leaf: leaf[number], data.first)
            traits = jax.random.uniform(traits_key, world.scenario.traits.shape)
            return world.replace(scenario=world.scenario.replace(traits=traits))

        return jax.vmap(one)(keys)

    def step(data: LoggedData, state: WorldState, action: jax.Array) -> Transition:
        return town.step(data.atlas, state, action)

    return dataclasses.replace(
        town, reset=reset, step=step, observe=lambda data, state: town.observe(data.atlas, state)
    )


def retired(worlds: WorldState) -> WorldState:
    """The worlds with their episodes over, so that the next update begins new ones, in another batch."""
    return worlds.replace(step=jnp.full_like(worlds.step, OVER))


class LogSource:
    """The batches of a run, in an order that follows from the seed alone.

    Args:
        config: the run's configuration.
        position: the place in the endless order of scenes where the present batch begins (0 for a new run).
    """

    def __init__(self, config: TeacherConfig, position: int) -> None:
        stream = StreamConfig(
            num_worlds=config.num_worlds,
            num_scenes=config.logs.num_scenes,
            seed=config.seed,
            split=config.logs.split,
            replay=config.logs.replay,
        )
        self._stream = SceneStream(config.logs.packs, config.simulator, stream, position=position)
        self.position = position
        self._after = position

    def next(self) -> LoggedData:
        """The next batch; `position` is then where it begins."""
        batch: SceneBatch = next(self._stream)
        self.position, self._after = self._after, batch.position
        return LoggedData(batch.atlas, batch.worlds)

    def close(self) -> None:
        """End the thread that prepares batches."""
        self._stream.close()
