"""From scene packs to samples: what every recorded driver saw and did, scene by scene, on the host."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from simulator.logs.scene_pack import ScenePack
from simulator.logs.split import is_held_out
from simulator.reset.scene_stream import SceneBatch, SceneStream, StreamConfig
from teacher.config import TeacherConfig
from teacher.pretraining.config import PretrainConfig
from teacher.pretraining.log_expert import Demonstration, demonstrate

_log = logging.getLogger(__name__)
NEAR_M = 0.3


class Samples(NamedTuple):
    """Steps of experts, in the order of scenes, steps and agents; numpy arrays."""

    observation: Any  # pytree, leaves [samples, ...]
    action: Any  # [samples] i32
    target: Any  # [samples] f32: discounted return
    valued: Any  # [samples] bool: `target` is the whole return


class Demonstrations(NamedTuple):
    """All that was recorded, by the two parts of the packs."""

    train: Samples
    held_out: Samples | None  # None where no scene is held out, or nobody drives in those that are
    scenes: int
    near_share: float  # of all steps: the expert is within NEAR_M of the log


def gather(config: PretrainConfig, teacher: TeacherConfig, seed: int) -> Demonstrations:
    """The samples of all scenes of the packs, held in memory.

    ``seed`` decides on the drivers' traits. Raises ValueError or OSError for packs that cannot be read, and ValueError
    where their training scenes hold nobody that drives.
    """
    parts: dict[bool, list[Samples]] = {False: [], True: []}
    scenes, near = 0, []
    for name, shown in _demonstrations(config, teacher, seed):
        scenes += 1
        near.append(shown.apart_m[shown.acts] < NEAR_M)
        parts[is_held_out(name)].append(_samples(shown))
    train, held_out = (_joined(parts[part]) for part in (False, True))
    if train is None:
        raise ValueError(
            f"pretrain.packs={list(config.packs)}: nobody drives in the {len(parts[False])} training scenes; expected "
            "scenes with cars or trucks that are there at the start and drive"
        )
    return Demonstrations(train, held_out, scenes, float(np.concatenate(near).mean()))


def _demonstrations(
    config: PretrainConfig, teacher: TeacherConfig, seed: int
) -> Iterator[tuple[str, Demonstration]]:
    """Name and demonstration of every scene in turn; leaves [worlds, steps, agents, ...], on the host."""
    simulator = dataclasses.replace(teacher.simulator, num_agents=config.num_agents)
    one_by_one = StreamConfig(num_worlds=config.worlds_per_scene, num_scenes=1, shuffle=False, seed=seed)

    @jax.jit
    def show(batch_worlds: Any, atlas: Any) -> Demonstration:
        return jax.vmap(lambda world: demonstrate(world, atlas, simulator, teacher))(batch_worlds)

    with SceneStream(config.packs, simulator, one_by_one) as stream:
        for batch in _one_pass(stream, count_scenes(config.packs)):
            yield batch.scenes[0], jax.device_get(show(batch.worlds, batch.atlas))


def _one_pass(stream: SceneStream, count: int) -> Iterator[SceneBatch]:
    """The batches of a stream that shows one scene at a time, until it has been through ``count`` scenes."""
    for batch in stream:
        if batch.position > count:  # the last ones were skipped, and this is the first one again
            return
        yield batch
        if batch.position == count:
            return


def count_scenes(packs: Sequence[str]) -> int:
    """How many scenes the packs hold."""
    total = 0
    for path in packs:
        with ScenePack(path) as pack:
            total += len(pack)
    return total


def _samples(shown: Demonstration) -> Samples:
    """The steps of experts; leaves [samples, ...]."""
    kept = Samples(shown.observation, shown.action, shown.target, shown.valued)
    return jax.tree.map(lambda leaf: leaf[shown.acts], kept)


def _joined(parts: list[Samples]) -> Samples | None:
    if not sum(len(part.action) for part in parts):
        return None
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
