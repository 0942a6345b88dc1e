"""Atlases of maps by name, with grids from the cache."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.atlas.scene_grids import scene_grids
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_grids, load_maps


def load_atlas(names: Sequence[str]) -> RoadAtlas:
    """The atlas of these maps (names as in `load_maps`); `map_id` is the index in `names`."""
    maps = load_maps(names)
    return build_atlas(
        maps, [grids_of(str(name), road_map) for name, road_map in zip(names, maps, strict=True)]
    )


def grids_of(name: str, road_map: RoadMap) -> Grids:
    """Grids of the map that `load_maps` has by this name. Packs may share name and source and yet differ, so their
    grids are found by content."""
    return scene_grids(road_map) if name.endswith((".h5", ".hdf5")) else load_grids(road_map)
