"""The drivable area of a map, as rings without holes, from lanes and kerbs.

Waymo gives no surfaces, only centrelines and kerbs. Its drivable area is what is visible from the lanes: at every
metre of a lane it extends to both sides up to the nearest kerb; without one in reach, up to the next lane; without
either, to the side of the lane. Gaps between lanes that are open to them, with no kerb in between, are drivable too:
parking bays, and the wedges between the turning lanes of a junction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.spatial
import shapely
from jaxtyping import Bool, Float

from simulator.roads.building.lane_widths import SampledLines, lateral_pairs
from simulator.roads.overpasses import OVERPASS_REACH_M, split_height

STATION_M = 1.0
"""Spacing of the stations along lanes."""
KERB_REACH_M = 12.0
"""A kerb this near bounds the drivable area beside a lane: a lane, a parking bay and a bus bay are not wider."""
LANE_REACH_M = 12.0
"""The ground between two centrelines this near, with no kerb between them, is drivable."""
SEAM_HALF_WIDTH_M = 0.3
"""Gaps narrower than twice this are closed."""
LARGEST_GAP_M2 = 2500.0
"""Holes up to this size may be drivable: two rows of parking bays between aisles 70 m long have less."""
OPEN_SHARE = 0.25
"""A gap is drivable when at least this share of its outline has no kerb: bays are open along one side, gardens are
not."""
TOLERANCE_M = 0.03
LEAST_M2 = 0.01


@dataclass(frozen=True)
class Strips:
    """Lanes as quadrilaterals between stations."""

    stations: SampledLines
    left: np.ndarray  # [stations, 2] m
    right: np.ndarray  # [stations, 2] m

    def quadrilaterals(self, chosen: Bool[np.ndarray, " stations"]) -> Float[np.ndarray, "pieces 4 2"]:
        """Corners from each chosen station to the next one on its lane, m."""
        line = self.stations.line
        first = np.flatnonzero((line[1:] == line[:-1]) & chosen[:-1])
        corners = [self.right[first], self.right[first + 1], self.left[first + 1], self.left[first]]
        return np.stack(corners, axis=1)

    def area(self, chosen: Bool[np.ndarray, " stations"]) -> shapely.Geometry:
        """The area in the plane, m, from each chosen station to the next one on its lane."""
        pieces = shapely.polygons(self.quadrilaterals(chosen))
        # Inside a tight bend the sides of neighbouring stations cross; their convex hull is what the lane covers.
        twisted = ~shapely.is_valid(pieces)
        pieces[twisted] = shapely.convex_hull(pieces[twisted])
        return shapely.union_all(pieces[shapely.area(pieces) > 0])


def strips_of_sides(
    centres: Sequence[np.ndarray], left: Sequence[np.ndarray], right: Sequence[np.ndarray]
) -> Strips:
    """Lanes between their own boundaries; lines [n, 3] m."""
    stations = SampledLines.of(centres, STATION_M)
    count = np.bincount(stations.line, minlength=len(centres))
    return Strips(stations, _evenly(left, count), _evenly(right, count))


def _evenly(lines: Sequence[np.ndarray], count: np.ndarray) -> np.ndarray:
    """Every line as `count` evenly spaced points, one line after the other: [points, 2] m."""
    strings = np.array([shapely.LineString(line[:, :2]) for line in lines], dtype=object)
    share = np.concatenate([np.linspace(0.0, 1.0, number) for number in count])
    return shapely.get_coordinates(
        shapely.line_interpolate_point(np.repeat(strings, count), share, normalized=True)
    )


def strips_to_kerbs(
    centres: Sequence[np.ndarray],
    half_left_m: Float[np.ndarray, " lanes"],
    half_right_m: Float[np.ndarray, " lanes"],
    edges: Sequence[np.ndarray],
) -> Strips:
    """Lanes and the drivable ground beside them up to the kerbs; centrelines and kerbs are [n, 3] m."""
    stations = SampledLines.of(centres, STATION_M)
    count = len(stations.xyz)
    kerbs = lateral_pairs(stations, SampledLines.of(edges), KERB_REACH_M)
    pairs = lateral_pairs(stations, stations, LANE_REACH_M)
    others = stations.line[pairs.station] != stations.line[pairs.point]
    lanes = pairs.where(others & (np.abs(pairs.offset) > 0.1))
    leftward = np.stack([-np.sin(stations.yaw), np.cos(stations.yaw)], axis=1)
    ends = {}
    for side, half in ((1, half_left_m), (-1, half_right_m)):
        own = half[stations.line]
        kerb, lane = kerbs.nearest(count, side)[0], lanes.nearest(count, side)[0]
        reach = np.where(np.isfinite(kerb), kerb, np.where(np.isfinite(lane), np.maximum(lane, own), own))
        ends[side] = stations.xyz[:, :2] + side * reach[:, None] * leftward
    return Strips(stations, ends[1], ends[-1])


def level_masks(stations: SampledLines) -> list[Bool[np.ndarray, " stations"]]:
    """Stations of the lower road, and of the upper one where a road crosses above another
    (`simulator.roads.overpasses`)."""
    height = stations.xyz[:, 2]
    upper = np.zeros(len(height), bool)
    if np.ptp(height) > 0:
        tree = scipy.spatial.cKDTree(stations.xyz[:, :2])
        cell = np.round(stations.xyz[:, :2] / 4.0)
        cells, member = np.unique(cell, axis=0, return_inverse=True)
        split = np.array(
            [
                split_height(height[near])
                for near in tree.query_ball_point(4.0 * cells, 1.5 * OVERPASS_REACH_M)
            ]
        )
        upper = height > split[member.ravel()]
    return [~upper, upper] if upper.any() else [~upper]


def close_seams(area: shapely.Geometry) -> shapely.Geometry:
    """The area with gaps narrower than 2 SEAM_HALF_WIDTH_M closed."""
    grown = shapely.buffer(area, SEAM_HALF_WIDTH_M, join_style="mitre")
    return shapely.simplify(shapely.buffer(grown, -SEAM_HALF_WIDTH_M, join_style="mitre"), TOLERANCE_M)


def with_open_gaps(area: shapely.Geometry, edges: Sequence[np.ndarray]) -> shapely.Geometry:
    """The area and its open holes (see OPEN_SHARE), for sources that give kerbs [n, 3] m but no surfaces."""
    holes = [shapely.Polygon(ring) for part in _polygons(area) for ring in part.interiors]
    gaps = [hole for hole in holes if hole.area <= LARGEST_GAP_M2]
    kerbs = np.array([shapely.LineString(edge[:, :2]) for edge in edges], dtype=object)
    tree = shapely.STRtree(kerbs)
    opened = [
        part
        for gap in gaps
        for part in _open_parts(gap, kerbs[tree.query(gap, "dwithin", 2 * SEAM_HALF_WIDTH_M)])
    ]
    # The parts were cut along kerbs; buffered a little, they touch the area again.
    grown = [shapely.buffer(part, 0.02, join_style="mitre") for part in opened]
    return shapely.simplify(shapely.union_all([area, *grown]), TOLERANCE_M)


def _open_parts(gap: shapely.Polygon, kerbs: np.ndarray) -> list[shapely.Geometry]:
    """The parts of a gap, divided by kerbs, that are open to the road around."""
    walls = shapely.union_all(kerbs)
    parts = shapely.get_parts(shapely.difference(gap, shapely.buffer(walls, 0.01)))
    near_walls = shapely.buffer(walls, 2 * SEAM_HALF_WIDTH_M)
    around = shapely.boundary(parts)
    free = shapely.length(shapely.difference(around, near_walls)) / np.maximum(shapely.length(around), 1e-9)
    return list(parts[free >= OPEN_SHARE])


def area_inside_outlines(rings: Sequence[np.ndarray]) -> shapely.Geometry:
    """The area inside outlines [n, 2 or 3] m; outlines inside an odd number of others are holes."""
    polygons = [shapely.make_valid(shapely.Polygon(ring[:, :2])) for ring in rings if len(ring) >= 4]
    area: shapely.Geometry = shapely.Polygon()
    for polygon in sorted(polygons, key=lambda one: -one.area):
        inside = shapely.contains(area, polygon)
        area = shapely.symmetric_difference(area, polygon) if inside else shapely.union(area, polygon)
    return area


def rings_without_holes(area: shapely.Geometry) -> list[np.ndarray]:
    """Open rings [n, 2] m that together cover the area: polygons with holes are cut through the holes."""
    result, pending = [], _polygons(area)
    while pending:
        polygon = pending.pop()
        if not polygon.interiors:
            result.append(shapely.get_coordinates(polygon.exterior)[:-1])
            continue
        low_x, low_y, high_x, high_y = polygon.bounds
        middle = shapely.Polygon(max(polygon.interiors, key=lambda ring: ring.length)).centroid
        if high_x - low_x > high_y - low_y:
            halves = (low_x, low_y, middle.x, high_y), (middle.x, low_y, high_x, high_y)
        else:
            halves = (low_x, low_y, high_x, middle.y), (low_x, middle.y, high_x, high_y)
        for half in halves:
            pending += _polygons(shapely.intersection(polygon, shapely.box(*half)))
    return result


def _polygons(area: shapely.Geometry) -> list[shapely.Polygon]:
    parts = shapely.get_parts(area)
    return [part for part in parts if part.geom_type == "Polygon" and part.area > LEAST_M2]


def with_heights(rings: Sequence[np.ndarray], heights: Float[np.ndarray, "points 3"]) -> list[np.ndarray]:
    """Rings [n, 3] m: each vertex at the height of the nearest of the points `heights`."""
    if not rings:
        return []
    tree = scipy.spatial.cKDTree(heights[:, :2])
    return [np.concatenate([ring, heights[tree.query(ring)[1], 2:3]], axis=1) for ring in rings]


def outlines(area: shapely.Geometry) -> list[np.ndarray]:
    """All outlines [n, 2] m of the area, closed, holes included."""
    return [
        shapely.get_coordinates(ring) for part in _polygons(area) for ring in (part.exterior, *part.interiors)
    ]
