"""Evaluation in recorded scenes: each scene once, in batches of equal array shapes, so that the rollout is compiled
once.

The vehicles that the driver controls have their last logged position as goal. Pedestrians, cyclists, parked vehicles
and all other agents replay the log and do not react. An episode ends with its recording.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from simulator.config import SimulatorConfig
from simulator.logs.scene_pack import ScenePack
from simulator.logs.split import in_split
from simulator.metrics.summary import Metrics, summarise
from simulator.reset.scene_stream import Capacity, SceneBatch, SceneStream, StreamConfig
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import EpisodeRunner, Episodes, logged_distance_m, with_default_traits
from teacher.evaluation.towns import Row, evaluation_simulator, metrics_by
from teacher.evaluation.traffic import SELF, replay_config, with_traffic
from teacher.policy import Policy

LOG_ROUTE_STATIONS = 320
"""Length of a route in recorded scenes: 640 m, 20 s at 115 km/h; logged paths are cut there."""
_UNTIL_THE_END_S = 3600.0


def log_simulator(policy: Policy, config: EvaluationConfig) -> SimulatorConfig:
    """The policy's simulator for recorded scenes: one goal, long routes, detailed metrics."""
    seconds = _UNTIL_THE_END_S if config.seconds is None else config.seconds
    plain = with_traffic(evaluation_simulator(policy, config.agents_per_world, seconds), SELF)
    stations = max(plain.route_stations, LOG_ROUTE_STATIONS)
    return dataclasses.replace(plain, num_goals=1, route_stations=stations, detailed_metrics=True)


def pack_of_scene(packs: Sequence[str], split: str) -> dict[str, str]:
    """The file name of its pack for each scene in ``split``, by scene name.

    Raises OSError or ValueError for packs that cannot be read, that share a scene, or have no scene in the split.
    """
    found: list[tuple[str, str]] = []
    for path in packs:
        with ScenePack(path) as pack:
            found += [(name, Path(path).name) for name in pack.names if in_split(name, split)]
    if not found:
        raise ValueError(
            f"{', '.join(packs)}: no scene belongs to the split {split!r}; expected at least one"
        )
    name, count = Counter(name for name, _ in found).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"scene {name} is in {count} of the packs {', '.join(packs)}; expected each scene once"
        )
    return dict(found)


def check_ego_tracks(packs: Sequence[str], split: str) -> None:
    """Raises ValueError where a scene in the split does not name its ego (the recording car)."""
    for path in packs:
        with ScenePack(path) as pack:
            for name in pack.names:
                if in_split(name, split) and pack[name].log.ego_track < 0:
                    raise ValueError(
                        f"{path}: scene {name} does not name its ego (the recording car) for --traffic replay; "
                        "give --share, the share of vehicles to drive instead"
                    )


def drive_packs(
    policy: Policy,
    config: EvaluationConfig,
    traffic: str,
    record_states: bool = False,
    capacity: Capacity | None = None,
) -> tuple[list[Episodes], Capacity]:
    """The episodes of all scenes, batch by batch, and the array capacity that holds every scene: pass it to later
    calls, since measuring it reads every scene.

    Raises OSError or ValueError for packs that cannot be read or do not fit the configuration.
    """
    scenes = pack_of_scene(config.packs, config.split)
    replay = replay_config(traffic, config.share)
    if replay.ego_only:
        check_ego_tracks(config.packs, config.split)
    simulator = log_simulator(policy, config)
    batches = math.ceil(len(scenes) / config.worlds)
    size = math.ceil(len(scenes) / batches)  # repeats as few scenes as possible to fill up the last batch
    stream_config = StreamConfig(
        num_worlds=size,
        num_scenes=size,
        shuffle=False,
        seed=config.seed,
        replay=replay,
        split=config.split,
    )
    key = jax.random.key(config.seed)
    parts = []
    with SceneStream(config.packs, simulator, stream_config, capacity) as stream:
        steps = min(stream.capacity.steps - 1, simulator.episode_steps)
        run = EpisodeRunner(policy, config.driver, simulator, config.greedy, steps, record_states)
        for batch, counted in one_pass(stream, len(scenes)):
            key, drive_key = jax.random.split(key)
            worlds = with_default_traits(batch.worlds)
            parts.append(run(drive_key, worlds, batch.atlas, batch.road_maps, batch.scenes, counted))
        return parts, stream.capacity


def one_pass(stream: SceneStream, scenes: int) -> Iterator[tuple[SceneBatch, np.ndarray]]:
    """The batches of one pass over a stream of ``scenes`` scenes, each with a mask [worlds] of the worlds that count:
    the last batch is filled up with scenes that have been driven already."""
    seen: set[str] = set()
    position = 0
    while position < scenes:
        batch = next(stream)
        position = batch.position
        counted = []
        for name in batch.scenes:
            counted.append(name not in seen)
            seen.add(name)
        yield batch, np.array(counted)


def metrics_per_pack(parts: Sequence[Episodes], packs: dict[str, str]) -> tuple[Metrics, dict[str, Row], int]:
    """Metrics of all scenes together, metrics of each pack by its file name, and the number of scenes."""
    final = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.final for part in parts))
    agent_steps, wall_s = sum(part.agent_steps for part in parts), sum(part.wall_s for part in parts)
    logged_m = logged_distance_m(final)
    files = np.array([packs[part.names[number]] for part in parts for number in part.final.map_id])
    masks = {file: files == file for file in dict.fromkeys(packs.values())}
    total = summarise(final, agent_steps, wall_s, logged_m)
    return total, metrics_by(final, masks, logged_m), len(files)
