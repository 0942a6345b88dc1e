"""The maps of the worlds of one batch: towns and scenes of logs, together in one atlas.

An entry of a map set is a town, as `simulator.roads.sources.map_cache` reads it, or a pack of scenes:
`womd.h5` stands for all scenes of the pack, `womd.h5:train` and `womd.h5:held_out` for those of a split (see
`simulator.logs.split`), and `womd.h5:NAME` for one. All of them are kept in memory, at about 3 MB for a scene of Waymo
and 20 MB for one of nuScenes: larger packs are for `simulator.reset.scene_stream`, which loads them batch by batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.atlas.load import grids_of
from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.atlas.scene_grids import scene_grids
from simulator.logs.scene_pack import LoggedScene, ScenePack, holds_logged_scenes
from simulator.logs.split import ALL, SPLITS, in_split
from simulator.reset.placement import check_capacity
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources import map_cache

_PACK = re.compile(r"(?P<path>.+\.(?:h5|hdf5))(?::(?P<part>.+))?")


@dataclass(frozen=True)
class MapSet:
    """Towns and scenes in one atlas; `map_id` is the index into the tuples below."""

    road_maps: tuple[RoadMap, ...]  # [maps]
    scenes: tuple[LoggedScene | None, ...]  # [maps] the scene of each map; None: a town
    atlas: RoadAtlas
    entries: tuple[range, ...]  # the maps of each entry that was asked for

    @property
    def log_maps(self) -> tuple[int, ...]:
        """The maps that have a log."""
        return tuple(number for number, scene in enumerate(self.scenes) if scene is not None)

    def check_capacity(self, num_agents: int, replayed: bool) -> None:
        """Raises ValueError where a map has too little road to spawn ``num_agents``; maps whose log is ``replayed`` are
        not checked, since their agents start where the log has them."""
        spawned = [number for number, scene in enumerate(self.scenes) if scene is None or not replayed]
        check_capacity(self.atlas, num_agents, spawned)


def load_map_set(names: Sequence[str]) -> MapSet:
    """The maps of these entries, in their order.

    Raises OSError or ValueError for towns and packs that cannot be read, that lack the scene, or whose split is empty.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"maps are {names!r}; expected a list such as ['Town02', 'womd.h5']")
    road_maps: list[RoadMap] = []
    scenes: list[LoggedScene | None] = []
    grids: list[Grids] = []
    entries = []
    for name in names:
        found = _scenes(name)
        maps = [scene.road_map for scene in found] or map_cache.load_maps([name])
        entries.append(range(len(road_maps), len(road_maps) + len(maps)))
        grids += [scene_grids(road_map) if found else grids_of(name, road_map) for road_map in maps]
        road_maps += maps
        scenes += found or [None]
    return MapSet(tuple(road_maps), tuple(scenes), build_atlas(road_maps, grids), tuple(entries))


def single_map_entry(name: str, number: int) -> str:
    """The entry of a single map of the entry ``name``: a town itself, or of several scenes the one at ``number`` modulo
    their count. Raises what `load_map_set` raises."""
    path, scenes = _named_scenes(name)
    return f"{path}:{scenes[number % len(scenes)]}" if scenes else name


def _named_scenes(name: str) -> tuple[str, list[str]]:
    """Path of the pack and names of its scenes that an entry stands for; none for a town."""
    match = _PACK.fullmatch(name)
    if match is None or (match["part"] is None and not holds_logged_scenes(match["path"])):
        return name, []
    path, part = match["path"], match["part"] or ALL
    with ScenePack(path) as pack:
        if part not in SPLITS:
            return path, [part]
        found = [scene for scene in pack.names if in_split(scene, part)]
    if not found:
        raise ValueError(f"{path}: no scene belongs to the split {part!r}; expected at least one")
    return path, found


def _scenes(name: str) -> list[LoggedScene]:
    """The scenes that an entry stands for; none for a town."""
    path, names = _named_scenes(name)
    if not names:
        return []
    with ScenePack(path) as pack:
        return [pack[scene] for scene in names]
