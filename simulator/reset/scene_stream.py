"""An endless stream of batches of worlds made from logs; the next batch is prepared while the current one is driven.

    with SceneStream(["womd.h5"], simulator, StreamConfig(num_worlds=64, num_scenes=16)) as stream:
        for batch in stream:  # batch.atlas and batch.worlds lie on the device
            ...

The order of scenes is shuffled for every pass over the packs and depends on the seed alone. All batches have arrays of
the same shapes, so that nothing is compiled again after the first. A background thread reads, builds and transfers the
next batch; its errors are raised by the next ``next(stream)``.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

import jax
import numpy as np

from simulator.atlas.padding import (
    Shapes,
    capacity_for,
    combined_capacity,
    first_overflow,
    pad_atlas,
    shapes_of,
)
from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.atlas.scene_grids import scene_grids
from simulator.config import SimulatorConfig
from simulator.logs.scene_pack import LoggedScene, ScenePack
from simulator.logs.split import ALL, check_split, in_split
from simulator.reset.log_scenario import ReplayConfig, demote_invalid_to_replay, stack_worlds, worlds_from_log
from simulator.reset.log_tracks import num_log_steps
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.state import WorldState

_log = logging.getLogger(__name__)
_POLL_S = 0.05
_REPORT_EVERY = 20


@dataclass(frozen=True)
class StreamConfig:
    """Contents of a stream's batches.

    Attributes:
        num_worlds: Worlds per batch.
        num_scenes: Different scenes per batch, assigned to the worlds in turn; must divide num_worlds.
        shuffle: Shuffle the scenes of each pass instead of taking them in the packs' order.
        seed: Of the order, the controllers and the agents' traits.
        replay: Controllers of the logged tracks.
        split: Scenes of the packs that are used: "all", "train" or "held_out" (see `simulator.logs.split`).
    """

    num_worlds: int = 16
    num_scenes: int = 16
    shuffle: bool = True
    seed: int = 0
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    split: str = ALL

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.num_worlds < 1 or self.num_scenes < 1 or self.num_worlds % self.num_scenes:
            raise ValueError(
                f"num_scenes={self.num_scenes} must be at least 1 and divide num_worlds={self.num_worlds}"
            )


@dataclass(frozen=True)
class Capacity:
    """The shapes that all batches of a stream have."""

    atlas: Shapes  # of the atlas of a batch's scenes
    steps: int  # logged states at the simulator's step
    stops: int  # stop lines of one scene


@dataclass(frozen=True)
class SceneBatch:
    """A batch of worlds on the device."""

    atlas: RoadAtlas  # on the device, padded; map m is scene m
    worlds: WorldState  # on the device, leaves [worlds, ...]
    scenes: tuple[str, ...]  # names by map
    road_maps: tuple[RoadMap, ...]  # by map, on the host
    position: int  # position in the order of scenes at which a stream resumes after this batch


class SceneStream:
    """Endless iterator over batches of the scenes of packs; see the module. Close it, or use it in a `with` block.

    Without ``capacity`` it is measured over all scenes, which bakes the grids of each one (once; they are cached beside
    those of towns). With a given one this is skipped; scenes that do not fit it are skipped too, with a warning.
    ``position`` resumes a stream after the batch with that `SceneBatch.position`. Raises OSError or ValueError for
    packs that cannot be read, and ValueError where they hold fewer than ``num_scenes``.
    """

    def __init__(
        self,
        packs: Sequence[str | os.PathLike[str]],
        simulator: SimulatorConfig,
        config: StreamConfig,
        capacity: Capacity | None = None,
        position: int = 0,
    ) -> None:
        self.simulator, self.config = simulator, config
        self._reader = _Reader(packs, config.split)
        try:
            if len(self._reader) < config.num_scenes:
                raise ValueError(
                    f"num_scenes={config.num_scenes} is more than the {len(self._reader)} scenes of the packs "
                    f"(split: {config.split})"
                )
            self.capacity = capacity or self._reader.measure(simulator, config)
        except BaseException:
            self._reader.close()
            raise
        self._position = position
        self._warned: set[int] = set()
        self._demote = jax.jit(jax.vmap(partial(demote_invalid_to_replay, config=simulator), (0, None)))
        self._ready: queue.Queue[SceneBatch | BaseException] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scene stream", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[SceneBatch]:
        return self

    def __next__(self) -> SceneBatch:
        """The next batch; blocks until it is ready. Raises the errors of the background thread."""
        while not self._stop.is_set():
            try:
                item = self._ready.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                self.close()
                raise item
            return item
        raise StopIteration

    def __enter__(self) -> SceneStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the background thread and closes the packs; a closed stream has no more batches."""
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _work(self) -> None:
        position = self._position
        while not self._stop.is_set():
            item: SceneBatch | BaseException
            try:
                item = self._prepare(position)
                position = item.position
            except BaseException as error:
                item = error
            while not self._stop.is_set():
                try:
                    self._ready.put(item, timeout=_POLL_S)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def _prepare(self, position: int) -> SceneBatch:
        """The batch that starts at a position of the endless order of scenes."""
        generator = np.random.default_rng([self.config.seed, position, 1])
        worlds: list[list[WorldState]] = []
        chosen: list[tuple[LoggedScene, Grids]] = []
        needed: list[Shapes] = []
        skipped = 0
        while len(chosen) < self.config.num_scenes:
            number = self._number(position)
            scene, grids = self._reader.scene(number)
            shapes = self._reader.shapes(number, scene, grids)
            position += 1
            try:
                overflow = first_overflow(combined_capacity([*needed, shapes]), self.capacity.atlas)
                if overflow:
                    raise ValueError(f"{scene.log.source_file}: scene {scene.log.name}: {overflow}")
                worlds.append(self._worlds(scene, len(chosen), generator, number))
            except ValueError as error:
                _log.warning("skipped: %s", error)
                skipped += 1
                if skipped >= len(self._reader):
                    raise ValueError(
                        f"no scene fits: all {skipped} tried were skipped, the last because {error}"
                    ) from error
                continue
            chosen.append((scene, grids))
            needed.append(shapes)
        return self._put(chosen, worlds, position)

    def _worlds(
        self, scene: LoggedScene, map_id: int, generator: np.random.Generator, number: int
    ) -> list[WorldState]:
        """The worlds of one scene, which differ in controllers and traits. Warns of tracks left out once per scene."""
        copies = self.config.num_worlds // self.config.num_scenes
        warn = number not in self._warned
        self._warned.add(number)
        return worlds_from_log(
            scene,
            map_id,
            self.simulator,
            self.config.replay,
            generator,
            copies,
            self.capacity.steps,
            self.capacity.stops,
            warn,
        )

    def _put(
        self, chosen: list[tuple[LoggedScene, Grids]], worlds: list[list[WorldState]], position: int
    ) -> SceneBatch:
        """The batch on the device. World w has scene w modulo the number of scenes."""
        maps, grids = [scene.road_map for scene, _ in chosen], [baked for _, baked in chosen]
        with jax.default_device(jax.devices("cpu")[0]):
            atlas = pad_atlas(build_atlas(maps, grids), self.capacity.atlas)
        in_turn = [copies[turn] for turn in range(len(worlds[0])) for copies in worlds]
        device = jax.devices()[0]
        on_device, batch = jax.device_put((atlas, stack_worlds(in_turn)), device)
        return SceneBatch(
            atlas=on_device,
            worlds=jax.block_until_ready(self._demote(batch, on_device)),
            scenes=tuple(scene.log.name for scene, _ in chosen),
            road_maps=tuple(maps),
            position=position,
        )

    def _number(self, position: int) -> int:
        """Index of the scene at a position of the endless order."""
        turn, index = divmod(position, len(self._reader))
        if not self.config.shuffle:
            return index
        return int(np.random.default_rng([self.config.seed, turn, 0]).permutation(len(self._reader))[index])


class _Reader:
    """The scenes of several packs by one index, with their grids."""

    def __init__(self, packs: Sequence[str | os.PathLike[str]], split: str) -> None:
        if isinstance(packs, (str, os.PathLike)) or not packs:
            raise ValueError(f"packs is {packs!r}; expected a list of paths of scene packs")
        self._packs: list[ScenePack] = []
        try:
            for path in packs:
                self._packs.append(ScenePack(path))
        except BaseException:
            self.close()
            raise
        self._shapes: dict[int, Shapes] = {}
        self._where = [
            (pack, number)
            for pack in self._packs
            for number, name in enumerate(pack.names)
            if in_split(name, split)
        ]

    def __len__(self) -> int:
        return len(self._where)

    def close(self) -> None:
        for pack in self._packs:
            pack.close()

    def scene(self, number: int) -> tuple[LoggedScene, Grids]:
        """A scene and its grids, which are baked where the cache lacks them."""
        pack, own = self._where[number]
        scene = pack[own]
        return scene, scene_grids(scene.road_map)

    def shapes(self, number: int, scene: LoggedScene, grids: Grids) -> Shapes:
        """Shapes of the atlas of one scene; computed once for each."""
        if number not in self._shapes:
            with jax.default_device(jax.devices("cpu")[0]):
                self._shapes[number] = shapes_of(build_atlas([scene.road_map], [grids]))
        return self._shapes[number]

    def measure(self, simulator: SimulatorConfig, config: StreamConfig) -> Capacity:
        """The capacity that fits any `num_scenes` scenes of the packs."""
        shapes, steps, stops = [], [], []
        for number in range(len(self)):
            scene, grids = self.scene(number)
            shapes.append(self.shapes(number, scene, grids))
            steps.append(num_log_steps(scene.log, simulator))
            stops.append(len(scene.log.light_state))
            if (number + 1) % _REPORT_EVERY == 0:
                _log.info("measured %d of %d scenes", number + 1, len(self))
        return Capacity(capacity_for(shapes, config.num_scenes), max(steps), max(1, *stops))
