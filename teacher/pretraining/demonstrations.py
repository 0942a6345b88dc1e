"""Training samples from scene packs: observations, actions and returns of all recorded drivers, on the host."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from simulator.atlas.road_atlas import RoadAtlas
from simulator.logs.scene_pack import ScenePack
from simulator.logs.split import is_held_out
from simulator.reset.scene_stream import SceneBatch, SceneStream, StreamConfig
from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.pretraining.config import PretrainConfig
from teacher.pretraining.log_expert import Demonstration, demonstrate

_log = logging.getLogger(__name__)
CLOSE_TO_LOG_M = 0.3
"""An expert within this distance of its log counts as close to it."""


class ExpertSamples(NamedTuple):
    """Steps of experts, ordered by scene, step and agent; numpy arrays."""

    observation: Any  # pytree, leaves [samples, ...]
    action: Any  # [samples] i32
    target: Any  # [samples] f32: discounted return
    valued: Any  # [samples] bool: `target` is the complete return


class Demonstrations(NamedTuple):
    """The samples of all scenes, by split."""

    train: ExpertSamples
    held_out: ExpertSamples | None  # None if the held-out scenes have no expert
    scenes: int
    near_share: float  # share of all steps within CLOSE_TO_LOG_M of the log


def gather_demonstrations(config: PretrainConfig, teacher: TeacherConfig, seed: int) -> Demonstrations:
    """The samples of all scenes of the packs, in memory.

    ``seed`` determines the agents' traits. Raises ValueError or OSError for packs that cannot be read, and ValueError
    if their training scenes have no expert.
    """
    parts: dict[bool, list[ExpertSamples]] = {False: [], True: []}
    scenes, near = 0, []
    for name, shown in _demonstrations(config, teacher, seed):
        scenes += 1
        near.append(shown.apart_m[shown.acts] < CLOSE_TO_LOG_M)
        parts[is_held_out(name)].append(_samples(shown))
    train, held_out = (_joined(parts[part]) for part in (False, True))
    if train is None:
        raise ValueError(
            f"pretrain.packs={list(config.packs)}: no vehicle drives in the {len(parts[False])} training scenes; "
            "expected scenes with cars or trucks that are present at the start and move"
        )
    return Demonstrations(train, held_out, scenes, float(np.concatenate(near).mean()))


def _demonstrations(
    config: PretrainConfig, teacher: TeacherConfig, seed: int
) -> Iterator[tuple[str, Demonstration]]:
    """Name and demonstration of each scene; leaves [worlds, steps, agents, ...], on the host."""
    simulator = dataclasses.replace(teacher.simulator, num_agents=config.num_agents)
    one_by_one = StreamConfig(num_worlds=config.worlds_per_scene, num_scenes=1, shuffle=False, seed=seed)

    @jax.jit
    def show(batch_worlds: WorldState, atlas: RoadAtlas) -> Demonstration:
        return jax.vmap(lambda world: demonstrate(world, atlas, simulator, teacher))(batch_worlds)

    with SceneStream(config.packs, simulator, one_by_one) as stream:
        for batch in _one_pass(stream, count_scenes(config.packs)):
            yield batch.scenes[0], jax.device_get(show(batch.worlds, batch.atlas))


def _one_pass(stream: SceneStream, count: int) -> Iterator[SceneBatch]:
    """The batches of one pass over a stream of ``count`` scenes, one scene per batch."""
    for batch in stream:
        if batch.position > count:  # the last scenes were skipped, and this is the first one again
            return
        yield batch
        if batch.position == count:
            return


def count_scenes(packs: Sequence[str]) -> int:
    """Number of scenes in the packs."""
    total = 0
    for path in packs:
        with ScenePack(path) as pack:
            total += len(pack)
    return total


def _samples(shown: Demonstration) -> ExpertSamples:
    """The steps in which an expert acts; leaves [samples, ...]."""
    kept = ExpertSamples(shown.observation, shown.action, shown.target, shown.valued)
    return jax.tree.map(lambda leaf: leaf[shown.acts], kept)


def _joined(parts: list[ExpertSamples]) -> ExpertSamples | None:
    if not sum(len(part.action) for part in parts):
        return None
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
