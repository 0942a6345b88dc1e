"""Road edges: the outline of the drivable area, level by level where one road crosses above another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from simulator.roads.building.lane_widths import SampledLines
from simulator.roads.building.road_surface import Strips, level_masks, outlines, with_heights
from simulator.roads.drivable_area import SEAM_M, drivable_area, join_grown
from simulator.roads.polylines import split_long
from simulator.roads.road_map import MAX_EDGE_LENGTH_M

CROSSING_MARGIN_M = 2.0
"""Around the area where two levels overlap, the outlines of both are road edges."""

Sides = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Centreline, left and right side of a strip of road surface, [n, 3] m each."""


def road_edges(surfaces: Sequence[Sides]) -> list[np.ndarray]:
    """Polylines [n, 3] m around the surfaces, each at most MAX_EDGE_LENGTH_M long."""
    strips = _strips(surfaces)
    masks = level_masks(strips.stations)
    # With seams closed as the drivable area closes them.
    levels = [drivable_area(list(strips.quadrilaterals(mask))) for mask in masks]
    edges = []
    if len(levels) == 1:
        edges = with_heights(outlines(levels[0]), strips.stations.xyz)
    else:
        # Where a level begins on a ramp its outline runs across the road: there only the outline of both together is
        # an edge. Around a crossing, each level has its own.
        crossing = shapely.buffer(shapely.intersection(levels[0], levels[1]), CROSSING_MARGIN_M)
        inside = shapely.buffer(join_grown([shapely.buffer(area, SEAM_M / 2) for area in levels]), -0.1)
        hidden = shapely.difference(inside, crossing)
        for area, mask in zip(levels, masks, strict=True):
            lines = [shapely.LineString(ring) for ring in outlines(area)]
            kept = shapely.get_parts(shapely.line_merge(shapely.get_parts(shapely.difference(lines, hidden))))
            points = [shapely.get_coordinates(line) for line in shapely.get_parts(kept) if line.length > 0.2]
            edges += with_heights(points, strips.stations.xyz[mask])
    return [piece for edge in edges for piece in split_long(edge, MAX_EDGE_LENGTH_M)]


def _strips(surfaces: Sequence[Sides]) -> Strips:
    centres = [centre for centre, _, _ in surfaces]
    stations = SampledLines(
        xyz=np.concatenate(centres),
        yaw=np.zeros(sum(len(line) for line in centres)),
        line=np.repeat(np.arange(len(centres)), [len(line) for line in centres]),
    )
    left = np.concatenate([side[:, :2] for _, side, _ in surfaces])
    right = np.concatenate([side[:, :2] for _, _, side in surfaces])
    return Strips(stations, left, right)
