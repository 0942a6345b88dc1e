"""The drivable area of a map as one plane shape, signed distances to its edge, and small holes that count as road.

Levels are flattened: a bridge and the road below it are one area (`simulator.roads.overpasses` separates them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.spatial
import shapely
from jaxtyping import Float

from simulator.conventions import BRIDGE_CLEARANCE_M

SEAM_M = 0.3
"""Gaps between drivable polygons narrower than this are road."""
ISLAND_M2 = 60.0
"""Holes smaller than this are road: wedges between the turning lanes of a junction."""
ISLAND_REACH_M = 0.6
"""A road edge this close to such a hole runs around it."""
_SIDE_REACH_M = 2.5  # corners of roads this close to a hole's own corners lie beside it
_SAMPLE_M = 0.25  # spacing at which an outline is sampled to find the segment nearest to a point
_NEAREST = 4  # samples whose segments are measured exactly
_POINTS_PER_CHUNK = 500_000  # points measured at a time


def drivable_area(rings: Sequence[np.ndarray]) -> shapely.Geometry:
    """Union of drivable rings [n, 2 or 3] (m) in the plane, with seams narrower than SEAM_M closed."""
    return join_grown(grow_rings([ring for ring in rings if len(ring) >= 3]))


def grow_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Drivable rings [n, 2 or 3] (m), as polygons with half a seam around each, to be united by `join_grown`.

    Mitred corners keep straight kerbs straight when growing and shrinking back. Growing also repairs rings that
    intersect themselves, which make_valid would split.
    """
    if not len(rings):
        return np.zeros(0, object)
    corners = np.concatenate([ring[:, :2] for ring in rings])
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    return shapely.buffer(
        shapely.polygons(shapely.linearrings(corners, indices=owner)), SEAM_M / 2, join_style="mitre"
    )


def join_grown(pieces: Sequence[shapely.Geometry] | np.ndarray) -> shapely.Geometry:
    """The drivable area that rings from `grow_rings`, or parts of them, make up together."""
    return shapely.buffer(shapely.union_all(pieces), -SEAM_M / 2, join_style="mitre")


class SignedDistance:
    """Distances (m) to the outline of an area, + inside, - outside.

    The nearest segments are found by sampling the outline; the distance to these is exact.
    """

    def __init__(self, area: shapely.Geometry) -> None:
        self._area = area
        if not area.is_empty:
            shapely.prepare(area)
            self._starts, self._ends, samples, self._owner = _outline_samples(area)
            self._tree = scipy.spatial.cKDTree(samples)

    def __call__(self, points: Float[np.ndarray, "points 2"], limit_m: float) -> Float[np.ndarray, " points"]:
        """The distance of each point, clipped to +-limit_m."""
        if self._area.is_empty:
            return np.full(len(points), -limit_m)
        result = np.empty(len(points))
        for first in range(0, len(points), _POINTS_PER_CHUNK):
            some = points[first : first + _POINTS_PER_CHUNK]
            apart = np.full(len(some), limit_m)
            reach, found = self._tree.query(
                some, k=_NEAREST, distance_upper_bound=limit_m + _SAMPLE_M, workers=-1
            )
            near = np.isfinite(reach[:, 0])
            known = np.minimum(found[near], self._tree.n - 1)  # misses repeat some segment, harmlessly
            segments = self._owner[known]
            exact = distance_to_segments(some[near], self._starts[segments], self._ends[segments])
            apart[near] = np.minimum(exact.min(axis=1), limit_m)
            result[first : first + len(some)] = np.where(shapely.contains_xy(self._area, some), apart, -apart)
        return result


def _outline_samples(area: shapely.Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Segments of the outline (starts, ends [segments, 2] m), points on them [samples, 2] m and the segment of each."""
    lines = shapely.get_parts(shapely.boundary(area))
    coordinates, line = shapely.get_coordinates(lines, return_index=True)
    same_line = line[1:] == line[:-1]
    starts, ends = coordinates[:-1][same_line], coordinates[1:][same_line]
    count = np.ceil(np.linalg.norm(ends - starts, axis=1) / _SAMPLE_M).astype(int) + 1
    owner = np.repeat(np.arange(len(starts)), count)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    share = (position / np.maximum(count[owner] - 1, 1))[:, None]
    return starts, ends, starts[owner] * (1 - share) + ends[owner] * share, owner


def distance_to_segments(
    points: Float[np.ndarray, "n 2"], starts: Float[np.ndarray, "n k 2"], ends: Float[np.ndarray, "n k 2"]
) -> Float[np.ndarray, "n k"]:
    """Distance (m) of each point to each of its own k segments."""
    along = ends - starts
    share = np.sum((points[:, None] - starts) * along, -1) / np.maximum(np.sum(along**2, -1), 1e-12)
    foot = starts + np.clip(share, 0.0, 1.0)[..., None] * along
    return np.linalg.norm(points[:, None] - foot, axis=-1)


def small_islands(rings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rings [n, 3] m around the holes of the drivable area that are smaller than ISLAND_M2.

    The curved lanes of a junction overlap and leave slivers and triangles between them. On the real junction these are
    road; left as holes, a vehicle whose corner crosses one would be off the road. Holes between a bridge and the road
    below it are not road and are left out.
    """
    corners = np.concatenate(list(rings))
    tree = scipy.spatial.cKDTree(corners[:, :2])
    result = []
    for polygon in shapely.get_parts(drivable_area(rings)):
        for hole in polygon.interiors:
            if shapely.Polygon(hole).area >= ISLAND_M2:
                continue
            xy = shapely.get_coordinates(hole)[:-1]
            beside = tree.query(xy)[0].max() + _SIDE_REACH_M
            near = corners[np.unique(np.concatenate(tree.query_ball_point(xy, beside)).astype(int))]
            apart = np.linalg.norm(near[None, :, :2] - xy[:, None], axis=-1)
            height = near[apart.argmin(axis=1), 2]
            around = near[(apart < _SIDE_REACH_M).any(axis=0), 2]
            if np.ptp(np.concatenate([height, around])) < BRIDGE_CLEARANCE_M:
                result.append(np.concatenate([xy, height[:, None]], axis=1))
    return result


def without_edges_of(edges: Sequence[np.ndarray], islands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Road edges [n, 3] m without the parts that run around one of the holes.

    Parts shorter than a metre are dropped: they remain where an edge touches a hole at a point.
    """
    if not islands:
        return list(edges)
    covered = shapely.union_all(
        [shapely.buffer(shapely.Polygon(ring[:, :2]), ISLAND_REACH_M) for ring in islands]
    )
    rest = [shapely.difference(shapely.LineString(edge), covered) for edge in edges]
    parts = [part for part in shapely.get_parts(rest) if part.length > 1.0]
    return [shapely.get_coordinates(part, include_z=True) for part in parts]
