"""The drivable area of a town as one plane shape, and the islands in it that are no islands.

Levels are flattened: under a bridge the road below and the bridge above are one area.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

SEAM_M = 0.3  # gaps between drivable polygons narrower than this are road
ISLAND_M2 = 60.0  # holes smaller than this are road: wedges between the turning lanes of a junction
ISLAND_REACH_M = 0.6  # a road edge this close to an island belongs to it


def drivable_area(rings: Sequence[np.ndarray]) -> shapely.Geometry:
    """Union of drivable rings [n, 2 or 3] (m) in the plane, with seams narrower than SEAM_M closed."""
    polygons = [shapely.Polygon(ring[:, :2]) for ring in rings if len(ring) >= 3]
    # Mitred corners keep straight kerbs straight when growing and shrinking back. Growing also mends rings that
    # cross themselves, which make_valid would cut to pieces.
    grown = [shapely.buffer(polygon, SEAM_M / 2, join_style="mitre") for polygon in polygons]
    return shapely.buffer(shapely.union_all(grown), -SEAM_M / 2, join_style="mitre")


def small_islands(rings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rings [n, 3] around the holes of the drivable area that are smaller than ISLAND_M2.

    Lanes of a junction overlap along their own curves and leave slivers and triangles between them. On the real
    junction these are asphalt; left as holes, a car that cuts one by a hand's breadth would have left the road.
    """
    corners = np.concatenate(list(rings))
    result = []
    for polygon in shapely.get_parts(drivable_area(rings)):
        for hole in polygon.interiors:
            if shapely.Polygon(hole).area < ISLAND_M2:
                xy = shapely.get_coordinates(hole)[:-1]
                nearest = [np.argmin(np.linalg.norm(corners[:, :2] - point, axis=1)) for point in xy]
                result.append(np.concatenate([xy, corners[nearest, 2:3]], axis=1))
    return result


def without_edges_of(edges: Sequence[np.ndarray], islands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Road edges [n, 3] without the parts that run around one of the islands.

    Parts shorter than a metre are dropped too: they are what is left where an edge grazes an island's tip.
    """
    if not islands:
        return list(edges)
    covered = shapely.union_all(
        [shapely.buffer(shapely.Polygon(ring[:, :2]), ISLAND_REACH_M) for ring in islands]
    )
    rest = [shapely.difference(shapely.LineString(edge), covered) for edge in edges]
    parts = [part for part in shapely.get_parts(rest) if part.length > 1.0]
    return [shapely.get_coordinates(part, include_z=True) for part in parts]
