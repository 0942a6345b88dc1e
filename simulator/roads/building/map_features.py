"""The fields of a `RoadMap` beside its lanes: road edges, markings, crosswalks, drivable area and walkways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from simulator.roads.building.lane_widths import SampledLines
from simulator.roads.building.raw_map import RawMap, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.building.road_surface import (
    close_seams,
    level_masks,
    outlines,
    rings_without_holes,
    strips_of_sides,
    strips_to_kerbs,
    with_heights,
    with_open_gaps,
)
from simulator.roads.polylines import simplified, split_long
from simulator.roads.road_map import MAX_EDGE_LENGTH_M, MAX_SPACING_M, MarkingType, piece_fields

PARKING_MARGIN_M = 0.5
"""Width of the ground around a parked vehicle that is added to the drivable area."""

Lines = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
"""Centreline, left and right side of every lane, [n, 3] m each."""


def map_feature_fields(
    source: RawMap, lanes: Lines, parked: Sequence[shapely.Polygon], repairs: Repairs
) -> dict[str, np.ndarray]:
    """Road edges, markings, crosswalks, drivable rings and walkways as flat arrays, by field of `RoadMap`.

    `parked` has the footprint of every vehicle that is parked throughout, in the plane, m.
    """
    heights = SampledLines.of(lanes[0])
    levels = _drivable(source, lanes)
    edges = source.edges
    if not edges:
        edges = [edge for area, points in levels for edge in with_heights(outlines(area), points)]
        repairs.add("road edges taken from the outline of the drivable area", len(edges))
    bays = parking_areas(parked, [area for area, _ in levels])
    repairs.add("parking places added under parked vehicles", len(bays))
    rings = [ring for area, points in levels for ring in with_heights(rings_without_holes(area), points)]
    kerbs = [
        simplified(piece, MAX_SPACING_M) for edge in edges for piece in split_long(edge, MAX_EDGE_LENGTH_M)
    ]
    paint = [kind if kind is not None else _paint_kind(line, heights) for line, kind in source.markings]
    repairs.add("paint without a kind judged by its lanes", sum(kind is None for _, kind in source.markings))
    pieces = {
        "edge": [kerb for kerb in kerbs if len(kerb) >= 2],
        "marking": [line for line, _ in source.markings],
        "crosswalk": source.crosswalks,
        "drivable": rings + with_heights(bays, heights.xyz),
        "walkway": source.walkways,
    }
    return {"marking_type": np.array(paint, np.int32), **piece_fields(pieces)}


def _drivable(source: RawMap, lanes: Lines) -> list[tuple[shapely.Geometry, np.ndarray]]:
    """Per level, the lower one first: the drivable area in the plane, and the points [n, 3] that give its height."""
    if source.surface_rule is SurfaceRule.KERBS:
        left, right = _half_widths(lanes[1], lanes[0]), _half_widths(lanes[2], lanes[0])
        strips = strips_to_kerbs(lanes[0], left, right, source.edges)
    else:
        strips = strips_of_sides(*lanes)
    result = []
    for level, mask in enumerate(level_masks(strips.stations)):
        parts = [strips.area(mask)] + (source.surfaces if level == 0 else [])
        area = close_seams(shapely.union_all(parts))
        if source.surface_rule is SurfaceRule.KERBS:
            area = with_open_gaps(area, source.edges)
        result.append((area, strips.stations.xyz[mask]))
    return result


def parking_areas(parked: Sequence[shapely.Polygon], levels: Sequence[shapely.Geometry]) -> list[np.ndarray]:
    """Rings [n, 2] around the footprints that are not completely inside the drivable area of some level.

    Maps leave out driveways and car parks; a parked vehicle shows where one is. Without these areas such a vehicle
    would be off the road from the first step on.
    """
    result = []
    for box in parked:
        if not any(shapely.covers(area, box) for area in levels):
            result.append(
                shapely.get_coordinates(shapely.buffer(box, PARKING_MARGIN_M, join_style="mitre"))[:-1]
            )
    return result


def _half_widths(sides: Sequence[np.ndarray], centres: Sequence[np.ndarray]) -> np.ndarray:
    """Distance [lanes] from the middle vertex of a side to the middle vertex of its centreline, m."""
    pairs = zip(sides, centres, strict=True)
    return np.array(
        [np.linalg.norm((side[len(side) // 2] - line[len(line) // 2])[:2]) for side, line in pairs]
    )


def _paint_kind(line: np.ndarray, heights: SampledLines) -> MarkingType:
    """Type of a marking that the source does not give: yellow between lanes of opposite directions, dashed white
    between lanes of the same direction, solid white elsewhere."""
    middle = line[len(line) // 2]
    tangent = line[min(len(line) // 2 + 1, len(line) - 1)] - line[max(len(line) // 2 - 1, 0)]
    apart = heights.xyz[:, :2] - middle[:2]
    near = np.flatnonzero(np.linalg.norm(apart, axis=1) < 4.0)
    lateral = tangent[0] * apart[near, 1] - tangent[1] * apart[near, 0]
    along = np.cos(heights.yaw[near] - np.arctan2(tangent[1], tangent[0]))
    left, right = along[(lateral > 0) & (np.abs(along) > 0.9)], along[(lateral < 0) & (np.abs(along) > 0.9)]
    if not len(left) or not len(right):
        return MarkingType.SOLID_WHITE
    against = np.sign(left.mean()) != np.sign(right.mean())
    return MarkingType.SOLID_YELLOW if against else MarkingType.DASHED_WHITE
