"""Look-up tables and atlases of maps that have no name of their own: of logged scenes, and of packs with one map. Their
tables are cached by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import cached_grids


def scene_grids(road_map: RoadMap) -> Grids:
    """Grids of a map, from the cache or computed and stored there. The key is a hash of the map's arrays."""
    digest = hashlib.sha256()
    for entry in fields(road_map):
        value = getattr(road_map, entry.name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
            digest.update(f"{entry.name}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return cached_grids(road_map, f"scene-{digest.hexdigest()[:32]}")


def load_scene_atlas(maps: Sequence[RoadMap]) -> RoadAtlas:
    """The atlas of the maps of logged scenes; `map_id` is the position in ``maps``."""
    return build_atlas(maps, [scene_grids(road_map) for road_map in maps])
