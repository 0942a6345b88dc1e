"""Padding of atlases to given shapes, so that one compiled step serves different batches of maps.

The capacity that a batch needs follows from the shapes of the atlases of its maps: the first axis of every array is the
sum over the maps, the others are the largest. Padding is never read: it follows the last map.
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
"""Fields that are searched by bisection: padded with their last value."""


def array_fields() -> list[str]:
    """The fields of an atlas that are arrays."""
    return [field.name for field in dataclasses.fields(RoadAtlas) if field.name != "names"]  # type: ignore[arg-type]


def shapes_of(atlas: RoadAtlas) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of an atlas, by field."""
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


def first_overflow(needed: Shapes, capacity: Shapes) -> str | None:
    """Describes the first array that does not fit, such as ``tile needs (90, 2) of (80, 2)``; None where all fit."""
    for name, shape in needed.items():
        if any(size > most for size, most in zip(shape, capacity[name], strict=True)):
            return f"{name} needs {tuple(shape)} of {tuple(capacity[name])}"
    return None


def pad_atlas(atlas: RoadAtlas, capacity: Shapes) -> RoadAtlas:
    """The atlas with every array padded to the shapes ``capacity``, as NumPy arrays.

    Its names are replaced by ones that are the same for every batch, because a change of names would recompile the
    step. Raises ValueError where an array does not fit.
    """
    overflow = first_overflow(shapes_of(atlas), capacity)
    if overflow:
        raise ValueError(f"the atlas of {', '.join(atlas.names)} does not fit its capacity: {overflow}")
    fields: dict[str, Any] = {
        name: _padded(name, np.asarray(getattr(atlas, name)), capacity[name]) for name in array_fields()
    }
    names = tuple(f"scene {number}" for number in range(atlas.num_maps))
    return RoadAtlas(names=names, **fields)


def _padded(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    missing = [(0, capacity - size) for capacity, size in zip(shape, values.shape, strict=True)]
    if name in _SORTED:
        return np.pad(values, missing, mode="edge")
    nothing = -1 if values.dtype.kind == "i" else 0
    return np.pad(values, missing, constant_values=nothing)
