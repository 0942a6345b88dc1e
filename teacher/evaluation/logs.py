"""Evaluation on recorded scenes: each scene once, in batches whose arrays have one shape, so that the drive is compiled
once.

The vehicles that the driver gets go to their logged end points. Pedestrians, cyclists, parked vehicles and whoever else
is not driven replay the log, blind to what the others do differently. An episode is over when its recording is.
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
from teacher.evaluation.episodes import Drive, Episodes, careful, logged_metres
from teacher.evaluation.towns import Row, evaluation_simulator, figures_by
from teacher.evaluation.traffic import SELF, in_traffic, replay_in
from teacher.policy import Policy

LOG_ROUTE_STATIONS = 320
"""Logged paths are cut where their route ends: 640 m, 20 s at 115 km/h."""
_UNTIL_THE_END_S = 3600.0


def log_simulator(policy: Policy, config: EvaluationConfig) -> SimulatorConfig:
    """The simulator of recorded scenes: the policy's, with one goal, long routes and the detailed metrics."""
    seconds = _UNTIL_THE_END_S if config.seconds is None else config.seconds
    plain = in_traffic(evaluation_simulator(policy, config.agents_per_world, seconds), SELF)
    stations = max(plain.route_stations, LOG_ROUTE_STATIONS)
    return dataclasses.replace(plain, num_goals=1, route_stations=stations, detailed_metrics=True)


def scenes_of(packs: Sequence[str], split: str) -> dict[str, str]:
    """The pack's file name by name of scene, of the scenes in ``split``.

    Raises OSError or ValueError for packs that cannot be read, that share a scene, or where no scene is in the split.
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


def check_recording_cars(packs: Sequence[str], split: str) -> None:
    """Raises ValueError where a scene in the split does not name its recording car."""
    for path in packs:
        with ScenePack(path) as pack:
            for name in pack.names:
                if in_split(name, split) and pack[name].log.ego_track < 0:
                    raise ValueError(
                        f"{path}: scene {name} does not name its recording car, which --traffic replay is to drive; "
                        "give --share, the share of vehicles to drive instead"
                    )


def drive_packs(
    policy: Policy,
    config: EvaluationConfig,
    traffic: str,
    filmed: bool = False,
    capacity: Capacity | None = None,
) -> tuple[list[Episodes], Capacity]:
    """One episode in each scene, batch by batch, and the capacity that holds them all: to be handed in again, since
    measuring it reads every scene.

    Raises OSError or ValueError for packs that cannot be read or cannot be driven as asked.
    """
    scenes = scenes_of(config.packs, config.split)
    replay = replay_in(traffic, config.share)
    if replay.ego_only:
        check_recording_cars(config.packs, config.split)
    simulator = log_simulator(policy, config)
    batches = math.ceil(len(scenes) / config.worlds)
    size = math.ceil(len(scenes) / batches)  # as few as possible are driven twice to fill up the last one
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
        drive = Drive(policy, config.driver, simulator, config.greedy, steps, filmed)
        for batch, counted in one_pass(stream, len(scenes)):
            key, drive_key = jax.random.split(key)
            worlds = careful(batch.worlds)
            parts.append(drive(drive_key, worlds, batch.atlas, batch.road_maps, batch.scenes, counted))
        return parts, stream.capacity


def one_pass(stream: SceneStream, scenes: int) -> Iterator[tuple[SceneBatch, np.ndarray]]:
    """The batches of one pass over a stream of so many scenes, and which worlds [worlds] bool to count: the last batch
    is filled up with scenes from the beginning."""
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


def pack_figures(parts: Sequence[Episodes], packs: dict[str, str]) -> tuple[Metrics, dict[str, Row], int]:
    """Figures of all scenes, of each pack (by its file name), and how many scenes were driven."""
    final = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.final for part in parts))
    agent_steps, wall_s = sum(part.agent_steps for part in parts), sum(part.wall_s for part in parts)
    logged_m = logged_metres(final)
    files = np.array([packs[part.names[number]] for part in parts for number in part.final.map_id])
    chosen = {file: files == file for file in dict.fromkeys(packs.values())}
    total = summarise(final, agent_steps, wall_s, logged_m)
    return total, figures_by(final, chosen, logged_m), len(files)
