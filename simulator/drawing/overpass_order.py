"""The drawing order at overpasses: what is on a bridge and what below it, in NumPy so that drawing needs no Shapely.

A cell is at an overpass where the heights of the lanes near it have a gap of at least BRIDGE_CLEARANCE_M (as in
`simulator.roads.overpasses`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from simulator.conventions import BRIDGE_CLEARANCE_M
from simulator.roads.polylines import resampled
from simulator.roads.query_grids import CELL_M
from simulator.roads.road_map import RoadMap

_SPACING_M = 1.0
_ROW = 1 << 32  # cells are numbered column + row * _ROW


class Overpasses:
    """Cells of a map in which one road passes above another, and the height that separates the two."""

    def __init__(self, road_map: RoadMap) -> None:
        self.cells, self.split_m = _splits(road_map.point_xyz.astype(np.float64))

    def level(self, points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """Per point: 1 on the upper level of an overpass, -1 on the lower one, 0 elsewhere."""
        if len(self.cells) == 0:
            return np.zeros(len(points), int)
        cell = _cell(points)
        row = np.minimum(np.searchsorted(self.cells, cell), len(self.cells) - 1)
        side = np.where(points[:, 2] > self.split_m[row], 1, -1)
        return np.where(self.cells[row] == cell, side, 0)

    def upper(self, rings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Rings [n, 3] m of which some part is on the upper level of an overpass."""
        if len(self.cells) == 0:
            return []
        closed = (
            resampled(np.concatenate([ring, ring[:1]]).astype(np.float64), _SPACING_M) for ring in rings
        )
        return [ring for ring, line in zip(rings, closed, strict=True) if (self.level(line) > 0).any()]

    def without_lower(self, line: Float[np.ndarray, "n 3"]) -> list[np.ndarray]:
        """The parts [m, 3] m of a line that are not on the lower level of an overpass."""
        fine = resampled(line, _SPACING_M)
        shown = self.level(fine) >= 0
        runs = np.split(fine, np.flatnonzero(np.diff(shown)) + 1)
        starts = np.split(shown, np.flatnonzero(np.diff(shown)) + 1)
        return [run for run, keep in zip(runs, starts, strict=True) if keep[0] and len(run) > 1]


def _splits(xyz: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted numbers of the cells at overpasses, and the middle of the widest gap of heights around each (m)."""
    if np.ptp(xyz[:, 2]) < BRIDGE_CLEARANCE_M:
        return np.zeros(0, np.int64), np.zeros(0)
    around = np.array([[x, y] for x in (-1, 0, 1) for y in (-1, 0, 1)]) * CELL_M
    near = np.concatenate([_cell(xyz[:, :2] + offset) for offset in around])
    height = np.tile(xyz[:, 2], len(around))
    order = np.lexsort((height, near))
    near, height = near[order], height[order]
    gap = np.where(near[1:] == near[:-1], np.diff(height), 0.0)
    wide = np.flatnonzero(gap >= BRIDGE_CLEARANCE_M)
    wide = wide[np.argsort(-gap[wide], kind="stable")]
    cells, first = np.unique(near[wide], return_index=True)
    return cells, (height[wide[first]] + height[wide[first] + 1]) / 2


def _cell(points: Float[np.ndarray, "n axes"]) -> Int[np.ndarray, " n"]:
    corner = np.floor(points[:, :2] / CELL_M).astype(np.int64)
    return corner[:, 0] + corner[:, 1] * _ROW
