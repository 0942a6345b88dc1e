"""What lies on a bridge and what below it, for pictures: NumPy alone, so that drawing needs no Shapely.

A place is at a crossing where the lanes near it leave a gap in height that a lorry fits into (as
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


class Crossings:
    """Cells of a town in which one road passes above another, and the height between the two."""

    def __init__(self, road_map: RoadMap) -> None:
        self.cells, self.split_m = _splits(road_map.point_xyz.astype(np.float64))

    def level(self, points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """Of each point: 1 on the upper level of a crossing, -1 on the lower one, 0 elsewhere."""
        if len(self.cells) == 0:
            return np.zeros(len(points), int)
        cell = _cell(points)
        row = np.minimum(np.searchsorted(self.cells, cell), len(self.cells) - 1)
        side = np.where(points[:, 2] > self.split_m[row], 1, -1)
        return np.where(self.cells[row] == cell, side, 0)

    def upper(self, rings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Rings [n, 3] with some part on the upper level of a crossing."""
        if len(self.cells) == 0:
            return []
        closed = (
            resampled(np.concatenate([ring, ring[:1]]).astype(np.float64), _SPACING_M) for ring in rings
        )
        return [ring for ring, line in zip(rings, closed, strict=True) if (self.level(line) > 0).any()]

    def without_lower(self, line: Float[np.ndarray, "n 3"]) -> list[np.ndarray]:
        """The parts [m, 3] of a line that do not lie on the lower level of a crossing."""
        fine = resampled(line, _SPACING_M)
        shown = self.level(fine) >= 0
        runs = np.split(fine, np.flatnonzero(np.diff(shown)) + 1)
        starts = np.split(shown, np.flatnonzero(np.diff(shown)) + 1)
        return [run for run, keep in zip(runs, starts, strict=True) if keep[0] and len(run) > 1]


def _splits(places: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the cells at a crossing, increasing, and the middle of the widest gap in height around each (m)."""
    if np.ptp(places[:, 2]) < BRIDGE_CLEARANCE_M:
        return np.zeros(0, np.int64), np.zeros(0)
    around = np.array([[x, y] for x in (-1, 0, 1) for y in (-1, 0, 1)]) * CELL_M
    near = np.concatenate([_cell(places[:, :2] + offset) for offset in around])
    height = np.tile(places[:, 2], len(around))
    order = np.lexsort((height, near))
    near, height = near[order], height[order]
    gap = np.where(near[1:] == near[:-1], np.diff(height), 0.0)
    wide = np.flatnonzero(gap >= BRIDGE_CLEARANCE_M)
    wide = wide[np.argsort(-gap[wide], kind="stable")]
    cells, first = np.unique(near[wide], return_index=True)
    return cells, (height[wide[first]] + height[wide[first] + 1]) / 2


def _cell(points: Float[np.ndarray, "n axes"]) -> Int[np.ndarray, " n"]:
    place = np.floor(points[:, :2] / CELL_M).astype(np.int64)
    return place[:, 0] + place[:, 1] * _ROW
