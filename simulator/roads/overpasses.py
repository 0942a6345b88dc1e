"""Overpasses: the cells with two levels of road, the height that separates the levels, and the area of each.

The world is 2.5-D (GIGAFLOW, arXiv 2502.03349): every position has at most a lower and an upper road. Our rule: where
the heights of the lanes near a cell have a gap of at least BRIDGE_CLEARANCE_M, drivable surfaces below the middle of
the widest gap are the lower level and those above it the upper. On a ramp heights are continuous: the cell has one
level.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import scipy.spatial
import shapely
from jaxtyping import Float

from simulator.conventions import BRIDGE_CLEARANCE_M
from simulator.roads.drivable_area import grow_rings, join_grown
from simulator.roads.query_grids import CELL_M, DISTANCE_LIMIT_M
from simulator.roads.road_map import RoadMap

OVERPASS_REACH_M = DISTANCE_LIMIT_M + 0.75 * CELL_M
"""Lanes this close to the centre of a cell decide on its levels: all lanes that distances in its tile can depend on."""

_QUERIES = 65_536
"""Cells whose lanes are searched at a time, to bound memory."""

_log = logging.getLogger(__name__)
Areas = tuple[shapely.Geometry, shapely.Geometry]


@dataclass(frozen=True)
class Levels:
    """The levels of a list of cells."""

    split_m: np.ndarray  # [cells] f32, height between the levels; +inf where there is one
    areas: dict[int, Areas]  # drivable area of the lower and of the upper level around each split cell


def find_levels(road_map: RoadMap, centres: Float[np.ndarray, "cells 2"]) -> Levels:
    """Levels of the cells with these centres (x, y; m)."""
    split = np.full(len(centres), np.inf, np.float32)
    tree = scipy.spatial.cKDTree(road_map.point_xyz[:, :2])
    height = road_map.point_xyz[:, 2]
    for first in range(0, len(centres), _QUERIES):
        around = tree.query_ball_point(centres[first : first + _QUERIES], OVERPASS_REACH_M)
        for cell, near in enumerate(around, first):
            if near and np.ptp(height[near]) > BRIDGE_CLEARANCE_M:
                split[cell] = split_height(height[near])
    cells = np.flatnonzero(np.isfinite(split)).tolist()
    if not cells:
        return Levels(split, {})
    _log.info("%s: %d cells where a road crosses above another", road_map.name, len(cells))
    surfaces = _Surfaces(road_map)
    return Levels(split, {cell: surfaces.areas(centres[cell], float(split[cell])) for cell in cells})


def split_height(heights: Float[np.ndarray, " n"]) -> float:
    """Middle of the widest gap between the heights (m); +inf when no gap reaches BRIDGE_CLEARANCE_M."""
    ordered = np.sort(heights)
    gaps = np.diff(ordered)
    widest = int(np.argmax(gaps)) if len(gaps) else 0
    if not len(gaps) or gaps[widest] < BRIDGE_CLEARANCE_M:
        return np.inf
    return float(ordered[widest] + ordered[widest + 1]) / 2


class _Surfaces:
    """Drivable rings of a map in a spatial index, to be cut out around cells."""

    def __init__(self, road_map: RoadMap) -> None:
        self.rings = [ring for ring in road_map.pieces("drivable") if len(ring) > 2]
        self.polygons = grow_rings(self.rings)
        self.tree = shapely.STRtree(self.polygons)

    def areas(self, centre: Float[np.ndarray, " 2"], split_m: float) -> Areas:
        """Lower and upper drivable area in the square that reaches OVERPASS_REACH_M + CELL_M from the centre."""
        reach = OVERPASS_REACH_M + CELL_M
        window = shapely.box(*(centre - reach), *(centre + reach))
        pieces: tuple[list[shapely.Geometry], list[shapely.Geometry]] = ([], [])
        for index in self.tree.query(window).tolist():
            for piece in shapely.get_parts(shapely.intersection(self.polygons[index], window)):
                if piece.area > 0:
                    pieces[int(self._height(index, piece) > split_m)].append(piece)
        return join_grown(pieces[0]), join_grown(pieces[1])

    def _height(self, index: int, piece: shapely.Geometry) -> float:
        """Height (m) of the ring's vertex nearest to a point inside a piece of it."""
        middle = shapely.get_coordinates(shapely.point_on_surface(piece))[0]
        ring = self.rings[index]
        return float(ring[np.argmin(np.linalg.norm(ring[:, :2] - middle, axis=1)), 2])
