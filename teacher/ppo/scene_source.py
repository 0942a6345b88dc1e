"""The `data` of a run's worlds: maps, and perhaps scenes, for the whole run; or batches of logged scenes in turn."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from simulator.atlas.load import load_atlas
from simulator.reset.placement import check_capacity
from simulator.reset.scene_stream import SceneStream, StreamConfig
from teacher.config import TeacherConfig
from teacher.ppo.environment import Environment, make_environment
from teacher.ppo.log_environment import LogData, make_log_environment
from teacher.ppo.mixed_environment import load_mixed_data, make_mixed_environment


@runtime_checkable  # tests check argument types at run time
class SceneSource(Protocol):
    """The `data` of an environment's functions, batch by batch."""

    position: int  # of the current batch in the endless order; a source opened there starts with that batch

    def next(self) -> Any:
        """The next batch, which becomes the current one."""

    def is_due(self, update: int) -> bool:
        """Whether the current batch must be replaced before this update."""

    def close(self) -> None:
        """Release files and threads."""


class FixedMaps:
    """The same maps for the whole run."""

    position = 0

    def __init__(self, data: Any) -> None:
        self._data = data

    def next(self) -> Any:
        """The maps, always the same."""
        return self._data

    def is_due(self, update: int) -> bool:
        """False: maps are never replaced."""
        return False

    def close(self) -> None:
        """Maps hold no files or threads."""


class LogScenes:
    """Batches of recorded scenes, in an order that follows from the seed alone.

    Args:
        config: the run's configuration.
        position: where in the endless order of scenes the first batch begins (0 for a new run).
    """

    def __init__(self, config: TeacherConfig, position: int) -> None:
        logs = config.logs
        stream = StreamConfig(
            num_worlds=config.num_worlds,
            num_scenes=logs.num_scenes,
            seed=config.seed,
            split=logs.split,
            replay=logs.replay,
        )
        self._stream = SceneStream(logs.packs, config.simulator, stream, position=position)
        self._updates_per_batch = logs.updates_per_batch
        self.position = self._after = position

    def next(self) -> LogData:
        """The next batch; waits until it is prepared."""
        batch = next(self._stream)
        self.position, self._after = self._after, batch.position
        return LogData(batch.atlas, batch.worlds)

    def is_due(self, update: int) -> bool:
        """True after every `updates_per_batch` updates."""
        return update > 0 and update % self._updates_per_batch == 0

    def close(self) -> None:
        """Stop the thread that prepares batches."""
        self._stream.close()


def open_source(config: TeacherConfig, position: int) -> tuple[Environment, SceneSource]:
    """The environment that a configuration asks for, and its batches from `position` on.

    Raises OSError or ValueError for maps and packs that cannot be read or are too small.
    """
    if config.logs.town_share > 0:
        return make_mixed_environment(config), FixedMaps(load_mixed_data(config))
    if config.logs.packs:
        return make_log_environment(config), LogScenes(config, position)
    atlas = load_atlas(config.maps)
    check_capacity(atlas, config.simulator.num_agents)
    return make_environment(config), FixedMaps(atlas)
