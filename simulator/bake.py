"""Bake one town into `Grids`: rasters, nearest neighbours and exact distances, with SciPy and Shapely.

Shapely comes with py123d, the map importer; machines without it read baked grids from the cache.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.spatial
import shapely
from jaxtyping import Bool, Float, Float32, Int32
from PIL import Image, ImageDraw

from simulator.grids import (
    COARSE_CELL_M,
    DISTANCE_LIMIT_M,
    EDGE_CANDIDATES,
    EDGE_RADIUS_M,
    FINE_CELL_M,
    LANE_CANDIDATES,
    LANE_RADIUS_M,
    STOP_CANDIDATES,
    STOP_RADIUS_M,
    Grids,
)
from simulator.road_map import RoadMap
from simulator.road_surface import drivable_area

MARGIN_M = 15.0  # of grid around all geometry
CANDIDATE_SPACING_M = 6.0  # lane points offered as candidates are about this far apart
EDGE_SEGMENT_M = 5.0  # longest road edge segment
EDGE_TOLERANCE_M = 0.1  # segments stay this close to the edge they stand for


def bake_grids(road_map: RoadMap) -> Grids:
    """All grids of one town."""
    low, high = road_map.bounds()
    origin = np.floor((low - MARGIN_M) / COARSE_CELL_M) * COARSE_CELL_M
    coarse = np.ceil((high + MARGIN_M - origin) / COARSE_CELL_M).astype(int)[::-1]  # rows (y), columns (x)
    fine = coarse * round(COARSE_CELL_M / FINE_CELL_M)
    segments, edge_z = edge_segments(road_map)
    centres = cell_centres(origin, (int(coarse[0]), int(coarse[1])), COARSE_CELL_M).reshape(-1, 2)
    table = (int(coarse[0]), int(coarse[1]), -1)
    return Grids(
        origin=origin,
        drivable_distance_m=drivable_distance_grid(road_map, origin, (int(fine[0]), int(fine[1]))),
        edge_segments=segments,
        edge_z=edge_z,
        lane_point_candidates=_lane_candidates(road_map, centres).reshape(table),
        edge_candidates=_edge_candidates(segments, centres).reshape(table),
        stop_candidates=_stop_candidates(road_map, centres).reshape(table),
    )


def cell_centres(
    origin: Float[np.ndarray, " 2"], shape: tuple[int, int], cell_m: float
) -> Float[np.ndarray, "rows cols 2"]:
    """Centre (x, y) of every cell, m."""
    y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return origin + (np.stack([x, y], axis=-1) + 0.5) * cell_m


def drivable_distance_grid(
    road_map: RoadMap, origin: Float[np.ndarray, " 2"], shape: tuple[int, int]
) -> Float32[np.ndarray, "rows cols"]:
    """Signed distance (m) from each fine cell centre to the edge of the drivable area, clipped.

    A raster finds the band where the distance matters; there it is measured to the outline itself, sampled every
    5 cm, so that the grid is not limited by its own cells.
    """
    area = drivable_area(road_map.pieces("drivable"))
    inside = _rasterise(area, origin, shape)
    apart = np.where(inside, 1.0, -1.0) * (
        scipy.ndimage.distance_transform_edt(inside) + scipy.ndimage.distance_transform_edt(~inside) - 0.5
    ) * FINE_CELL_M  # fmt: skip
    rows, cols = np.nonzero(np.abs(apart) < DISTANCE_LIMIT_M + 2 * FINE_CELL_M)
    centres = origin + (np.stack([cols, rows], axis=1) + 0.5) * FINE_CELL_M
    outline = shapely.get_coordinates(shapely.segmentize(area.boundary, 0.05))
    exact, _ = scipy.spatial.cKDTree(outline).query(centres, distance_upper_bound=DISTANCE_LIMIT_M + 2.0)
    doubtful = exact < 2 * FINE_CELL_M
    sign = inside[rows, cols]
    shapely.prepare(area)
    sign[doubtful] = shapely.contains_xy(area, centres[doubtful])
    result = np.clip(apart, -DISTANCE_LIMIT_M, DISTANCE_LIMIT_M)
    result[rows, cols] = np.clip(np.where(sign, exact, -exact), -DISTANCE_LIMIT_M, DISTANCE_LIMIT_M)
    return result.astype(np.float32)


def _rasterise(
    area: shapely.Geometry, origin: Float[np.ndarray, " 2"], shape: tuple[int, int]
) -> Bool[np.ndarray, "rows cols"]:
    """Cells whose centre is (about) inside: exact enough for everything farther than a cell from the outline."""
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for polygon in shapely.get_parts(area):
        for ring, fill in ((polygon.exterior, 1), *((hole, 0) for hole in polygon.interiors)):
            pixels = (shapely.get_coordinates(ring) - origin) / FINE_CELL_M - 0.5
            draw.polygon([tuple(pixel) for pixel in pixels], fill=fill)
    return np.array(image)


def edge_segments(
    road_map: RoadMap,
) -> tuple[Float32[np.ndarray, "segments 4"], Float32[np.ndarray, " segments"]]:
    """Road edges as straight segments (x0, y0, x1, y1) no longer than EDGE_SEGMENT_M, and their heights."""
    starts, ends = [], []
    for line in road_map.pieces("edge"):
        thin = shapely.simplify(shapely.LineString(line.astype(np.float64)), EDGE_TOLERANCE_M)
        points = np.asarray(shapely.segmentize(thin, EDGE_SEGMENT_M).coords)
        starts.append(points[:-1])
        ends.append(points[1:])
    if not starts:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    first, last = np.concatenate(starts), np.concatenate(ends)
    segments = np.concatenate([first[:, :2], last[:, :2]], axis=1).astype(np.float32)
    return segments, ((first[:, 2] + last[:, 2]) / 2).astype(np.float32)


def candidate_points(road_map: RoadMap) -> Int32[np.ndarray, " candidates"]:
    """Lane points about CANDIDATE_SPACING_M apart: at least one per lane, except on slivers shorter than 1 m."""
    chosen = []
    for lane in range(road_map.num_lanes):
        length, count = float(road_map.lane_length_m[lane]), int(road_map.lane_count[lane])
        if length < 1.0:
            continue
        pieces = max(1, round(length / CANDIDATE_SPACING_M))
        middles = (np.arange(pieces) + 0.5) / pieces * (count - 1)
        chosen.append(road_map.lane_start[lane] + np.unique(np.round(middles)).astype(np.int32))
    return np.concatenate(chosen).astype(np.int32) if chosen else road_map.lane_start.copy()


def _lane_candidates(
    road_map: RoadMap, centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 16"]:
    points = candidate_points(road_map)
    return _nearest(road_map.point_xyz[points, :2], points, centres, LANE_CANDIDATES, LANE_RADIUS_M)


def _stop_candidates(
    road_map: RoadMap, centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 8"]:
    middles = road_map.stop_line_xyz[:, :, :2].mean(axis=1)
    return _nearest(middles, np.arange(len(middles), dtype=np.int32), centres, STOP_CANDIDATES, STOP_RADIUS_M)


def _edge_candidates(
    segments: Float32[np.ndarray, "segments 4"], centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 16"]:
    """Nearest segments by true distance to the segment; middles only preselect (they err by half a segment)."""
    middles = (segments[:, :2] + segments[:, 2:]) / 2
    wide = _nearest(middles, np.arange(len(segments), dtype=np.int32), centres, 2 * EDGE_CANDIDATES,
                    EDGE_RADIUS_M + EDGE_SEGMENT_M / 2)  # fmt: skip
    if len(segments) == 0:
        return wide[:, :EDGE_CANDIDATES]
    first, last = segments[wide, :2], segments[wide, 2:]
    along = last - first
    share = np.sum((centres[:, None] - first) * along, -1) / np.maximum(np.sum(along**2, -1), 1e-9)
    foot = first + np.clip(share, 0.0, 1.0)[..., None] * along
    apart = np.linalg.norm(centres[:, None] - foot, axis=-1)
    apart = np.where((wide < 0) | (apart > EDGE_RADIUS_M), np.inf, apart)
    order = np.argsort(apart, axis=1, kind="stable")[:, :EDGE_CANDIDATES]
    chosen = np.take_along_axis(wide, order, axis=1)
    return np.where(np.isfinite(np.take_along_axis(apart, order, axis=1)), chosen, -1).astype(np.int32)


def _nearest(
    points: Float[np.ndarray, "points 2"],
    ids: Int32[np.ndarray, " points"],
    centres: Float[np.ndarray, "cells 2"],
    number: int,
    radius_m: float,
) -> Int32[np.ndarray, "cells number"]:
    """Identifiers of the `number` points nearest to each centre within the radius, nearest first, -1 pad."""
    if len(points) == 0:
        return np.full((len(centres), number), -1, np.int32)
    _, found = scipy.spatial.cKDTree(points).query(centres, k=number, distance_upper_bound=radius_m)
    return np.append(ids, -1)[found].astype(np.int32)  # a miss is reported as index len(points)
