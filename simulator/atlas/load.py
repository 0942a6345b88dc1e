"""Atlases of maps by name, with grids from the cache."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.roads.sources.map_cache import load_grids, load_maps


def load_atlas(names: Sequence[str]) -> RoadAtlas:
    """The atlas of these maps (names as in `load_maps`); `map_id` is the index in `names`."""
    maps = load_maps(names)
    return build_atlas(maps, [load_grids(road_map) for road_map in maps])
