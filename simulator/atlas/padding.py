"""Atlases of one size: arrays padded to given shapes, so that a compiled step serves one batch of maps after another.

What a batch of maps needs is told from the shapes of the atlases of its maps alone: the first axis of every array
grows with each map, the others take the largest. Padding is never read: it lies behind the last map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.atlas.road_atlas import RoadAtlas

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every array of an atlas, by field."""
_SORTED = ("lane_cumulative_length_m",)
"""Searched by bisection as a whole: padded with its last value."""


def array_fields() -> list[str]:
    """The fields of an atlas that are arrays."""
    return [field.name for field in dataclasses.fields(RoadAtlas) if field.name != "names"]  # type: ignore[arg-type]


def shapes_of(atlas: RoadAtlas) -> dict[str, tuple[int, ...]]:
    """Shapes of an atlas's arrays."""
    return {name: tuple(getattr(atlas, name).shape) for name in array_fields()}


def combined_capacity(parts: Sequence[Shapes]) -> dict[str, tuple[int, ...]]:
    """Shapes of the atlas of all maps whose own atlases have these shapes; at least 1 along every axis."""
    return capacity_for(parts, len(parts))


def capacity_for(parts: Sequence[Shapes], count: int) -> dict[str, tuple[int, ...]]:
    """Shapes that hold the atlas of any ``count`` of these maps, each at most once."""
    result = {}
    for name in array_fields():
        shapes = np.array([part[name] for part in parts])
        most = shapes.max(axis=0)
        most[0] = np.sort(shapes[:, 0])[::-1][:count].sum()
        result[name] = tuple(int(size) for size in np.maximum(most, 1))
    return result


def first_overflow(needed: Shapes, room: Shapes) -> str | None:
    """About the first array that does not fit, such as ``tile needs (90, 2) of (80, 2)``; None where all do."""
    for name, shape in needed.items():
        if any(size > most for size, most in zip(shape, room[name], strict=True)):
            return f"{name} needs {tuple(shape)} of {tuple(room[name])}"
    return None


def pad_atlas(atlas: RoadAtlas, room: Shapes) -> RoadAtlas:
    """The atlas with every array padded to ``room``, as numpy arrays, and with names that are the same for every batch.

    Names are part of what a program is compiled for; `load_maps` and packs know what the maps are really called.
    Raises ValueError where an array does not fit.
    """
    overflow = first_overflow(shapes_of(atlas), room)
    if overflow:
        raise ValueError(f"the atlas of {', '.join(atlas.names)} does not fit its capacity: {overflow}")
    fields: dict[str, Any] = {
        name: _padded(name, np.asarray(getattr(atlas, name)), room[name]) for name in array_fields()
    }
    names = tuple(f"scene {number}" for number in range(atlas.num_maps))
    return RoadAtlas(names=names, **fields)


def _padded(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    missing = [(0, room - size) for room, size in zip(shape, values.shape, strict=True)]
    if name in _SORTED:
        return np.pad(values, missing, mode="edge")
    nothing = -1 if values.dtype.kind == "i" else 0
    return np.pad(values, missing, constant_values=nothing)
