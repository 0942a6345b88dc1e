"""Atlases of recorded scenes: every scene has a map of its own, whose grids are baked once and then cached."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np

from simulator.atlas.padding import combined_capacity, pad_atlas, shapes_of
from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import cached_grids


def scene_grids(road_map: RoadMap) -> Grids:
    """Grids of a recorded scene's map, baked once. The cache knows a map by its contents: importers change."""
    digest = hashlib.sha256()
    for entry in fields(road_map):
        value = getattr(road_map, entry.name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
            digest.update(f"{entry.name}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return cached_grids(road_map, f"scene-{digest.hexdigest()[:32]}")


def load_scene_atlas(maps: Sequence[RoadMap]) -> RoadAtlas:
    """The atlas of the maps of logged scenes; `map_id` is the position in ``maps``.

    Every array has a row at least: many recorded scenes have no stop line at all, and a step looks at one.
    """
    atlas = build_atlas(maps, [scene_grids(road_map) for road_map in maps])
    return jax.tree.map(jnp.asarray, pad_atlas(atlas, combined_capacity([shapes_of(atlas)])))
