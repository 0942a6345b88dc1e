"""Compute the `Grids` of a map: nearest neighbours with SciPy, exact distances and levels with Shapely.

Shapely comes with py123d, the map importer; machines without it read the grids from the cache.
"""

from __future__ import annotations

import numpy as np
import scipy.spatial
import shapely
from jaxtyping import Float, Float32, Int, Int32

from simulator.roads.drivable_area import SignedDistance, distance_to_segments, drivable_area
from simulator.roads.overpasses import Levels, find_levels
from simulator.roads.polylines import simplified
from simulator.roads.query_grids import (
    CELL_M,
    DISTANCE_LIMIT_M,
    EDGE_CANDIDATES,
    EDGE_RADIUS_M,
    LANE_CANDIDATES,
    LANE_RADIUS_M,
    LANE_SAMPLE_SPACING_M,
    NODE_SPACING_M,
    STOP_CANDIDATES,
    STOP_RADIUS_M,
    TILE_NODES,
    Grids,
)
from simulator.roads.road_map import RoadMap

GRID_MARGIN_M = 15.0  # width of the band of cells around all geometry
NEAR_ROAD_M = 25.0  # cells whose centre is this close to a lane, a road edge or drivable ground get a row
EDGE_SEGMENT_M = 5.0  # longest road edge segment
SEGMENT_TOLERANCE_M = 0.1  # segments stay this close to the original edge
EDGE_SIDE_M = 0.5  # lateral distance from an edge at which the side of the road is determined
_CHUNK = 4096  # cells handled at a time
_QUERIES = 65_536  # cells whose neighbours are searched at a time


def bake_grids(road_map: RoadMap) -> Grids:
    """All look-up tables of one map. Raises ValueError for a map without drivable area, where no agent could be on the
    road."""
    if not any(len(ring) > 2 for ring in road_map.pieces("drivable")):
        raise ValueError(
            f"map {road_map.name}: drivable_start holds no ring of three points or more; expected the outlines of its "
            "lanes at least"
        )
    low, high = road_map.bounds()
    origin = np.floor((low - GRID_MARGIN_M) / CELL_M) * CELL_M
    shape = np.ceil((high + GRID_MARGIN_M - origin) / CELL_M).astype(int)[::-1]  # rows (y), columns (x)
    cells = _cells_near_road(road_map, origin, (int(shape[0]), int(shape[1])))
    cell_row = np.zeros(tuple(shape), np.int32)
    cell_row[cells[:, 0], cells[:, 1]] = np.arange(1, len(cells) + 1)
    corners = origin + cells[:, ::-1] * CELL_M
    centres = corners + 0.5 * CELL_M
    levels = find_levels(road_map, centres)
    area = drivable_area(road_map.pieces("drivable"))
    tile, distance = _tiles(area, corners, levels)
    samples = lane_samples(road_map)
    segments, edge_z = edge_segments(road_map)
    segments = _road_on_the_left(segments, area)
    return Grids(
        origin=origin,
        cell_row=cell_row,
        level_split_m=np.append(np.float32(np.inf), levels.split_m).astype(np.float32),
        tile=tile,
        drivable_distance_m=distance,
        lane_samples=samples,
        edge_segments=segments,
        edge_z=edge_z,
        lane_candidates=_with_empty_row(_lane_candidates(road_map, samples, centres)),
        edge_candidates=_with_empty_row(_edge_candidates(segments, centres)),
        stop_candidates=_with_empty_row(_stop_candidates(road_map, centres)),
    )


def _cells_near_road(
    road_map: RoadMap, origin: Float[np.ndarray, " 2"], shape: tuple[int, int]
) -> Int[np.ndarray, "cells 2"]:
    """Row and column of every cell near the road, row by row."""
    lines = [road_map.point_xyz, road_map.point_left_xyz, road_map.point_right_xyz, road_map.edge_points]
    rings = [shapely.LinearRing(ring[:, :2]) for ring in road_map.pieces("drivable") if len(ring) > 2]
    points = [np.asarray(p[:, :2], np.float64) for p in lines] + [
        shapely.get_coordinates(shapely.segmentize(rings, CELL_M))
    ]
    occupied = np.unique(np.floor((np.concatenate(points) - origin) / CELL_M).astype(int), axis=0)[:, ::-1]
    reach = int(np.ceil(NEAR_ROAD_M / CELL_M))
    around = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    around = around[np.linalg.norm(around, axis=1) * CELL_M <= NEAR_ROAD_M]
    near = np.zeros(shape, bool)
    for offset in around:
        rows, cols = (occupied + offset).T
        inside = (rows >= 0) & (cols >= 0) & (rows < shape[0]) & (cols < shape[1])
        near[rows[inside], cols[inside]] = True
    return np.argwhere(near)


def _tiles(
    area: shapely.Geometry, corners: Float[np.ndarray, "cells 2"], levels: Levels
) -> tuple[Int32[np.ndarray, "rows 2"], Float32[np.ndarray, "tiles 11 11"]]:
    """Tile numbers of every table row, and the tiles. Tile 0 lies outside everywhere; row 0 and all rows like it use
    it."""
    outside = np.full((TILE_NODES, TILE_NODES), -DISTANCE_LIMIT_M, np.float32)
    tiles = _tile_distances(area, corners)
    upper = {}
    for cell, (below, above) in levels.areas.items():
        lower, upper[cell] = (
            _tile_distances(level, corners[cell : cell + 1]).get(0, outside) for level in (below, above)
        )
        tiles[cell] = lower
        if (lower == outside).all():
            del tiles[cell]
    used = np.sort(np.fromiter(tiles, int, len(tiles)))
    number = np.zeros(len(corners), int)
    number[used] = np.arange(1, len(used) + 1)
    tile = np.stack([number, number], axis=1)
    tile[list(upper), 1] = 1 + len(used) + np.arange(len(upper))
    distances = np.stack([outside, *(tiles[cell] for cell in used.tolist()), *upper.values()])
    return np.concatenate([[[0, 0]], tile]).astype(np.int32), distances


def _tile_distances(
    area: shapely.Geometry, corners: Float[np.ndarray, "cells 2"]
) -> dict[int, Float32[np.ndarray, "11 11"]]:
    """Signed distances (m) at the nodes of the tiles whose lower left corners are given, by the number of the cell;
    without those that lie outside everywhere.

    Most cells are so far from the outline that their middle decides: only tiles across it are computed node by node.
    """
    distance = SignedDistance(area)
    steps = np.arange(TILE_NODES) * NODE_SPACING_M
    y, x = np.meshgrid(steps, steps, indexing="ij")
    reach = DISTANCE_LIMIT_M + CELL_M  # the nodes of a tile are nearer to its middle than a cell is wide
    middle = distance(corners + 0.5 * CELL_M, reach)
    inside = np.full((TILE_NODES, TILE_NODES), DISTANCE_LIMIT_M, np.float32)
    tiles = dict.fromkeys(np.flatnonzero(middle >= reach).tolist(), inside)
    near = np.flatnonzero(np.abs(middle) < reach)
    for cells in np.array_split(near, -(-len(near) // _CHUNK) or 1):
        nodes = corners[cells][:, None, None] + np.stack([x, y], axis=-1)
        found = distance(nodes.reshape(-1, 2), DISTANCE_LIMIT_M).reshape(nodes.shape[:3]).astype(np.float32)
        used = (found > -DISTANCE_LIMIT_M).any(axis=(1, 2))
        tiles |= dict(zip(cells[used].tolist(), found[used], strict=True))
    return tiles


def edge_segments(
    road_map: RoadMap,
) -> tuple[Float32[np.ndarray, "segments 4"], Float32[np.ndarray, " segments"]]:
    """Road edges as straight segments (x0, y0, x1, y1; m) of at most EDGE_SEGMENT_M, and their heights (m)."""
    starts, ends = [], []
    for line in road_map.pieces("edge"):
        points = simplified(line.astype(np.float64), EDGE_SEGMENT_M, SEGMENT_TOLERANCE_M)
        starts.append(points[:-1])
        ends.append(points[1:])
    if not starts:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    first, last = np.concatenate(starts), np.concatenate(ends)
    segments = np.concatenate([first[:, :2], last[:, :2]], axis=1).astype(np.float32)
    return segments, ((first[:, 2] + last[:, 2]) / 2).astype(np.float32)


def _road_on_the_left(
    segments: Float32[np.ndarray, "segments 4"], area: shapely.Geometry
) -> Float32[np.ndarray, "segments 4"]:
    """Segments oriented with the drivable area on their left; those with road on both sides keep their orientation."""
    along = (segments[:, 2:] - segments[:, :2]).astype(np.float64)
    left = (
        np.stack([-along[:, 1], along[:, 0]], axis=1)
        / np.maximum(np.linalg.norm(along, axis=1), 1e-6)[:, None]
    )
    middle = 0.5 * (segments[:, :2] + segments[:, 2:])
    shapely.prepare(area)
    road_left, road_right = (
        shapely.contains_xy(area, *(middle + side * EDGE_SIDE_M * left).T) for side in (1.0, -1.0)
    )
    return np.where((road_right & ~road_left)[:, None], segments[:, [2, 3, 0, 1]], segments)


def lane_samples(road_map: RoadMap) -> Int32[np.ndarray, " samples"]:
    """Lane points about LANE_SAMPLE_SPACING_M apart: at least one per lane, none on lanes shorter than 1 m."""
    chosen = []
    for lane in range(road_map.num_lanes):
        length, count = float(road_map.lane_length_m[lane]), int(road_map.lane_count[lane])
        if length < 1.0:
            continue
        pieces = max(1, round(length / LANE_SAMPLE_SPACING_M))
        middles = (np.arange(pieces) + 0.5) / pieces * (count - 1)
        chosen.append(road_map.lane_start[lane] + np.unique(np.round(middles)).astype(np.int32))
    return np.concatenate(chosen).astype(np.int32) if chosen else road_map.lane_start.copy()


def _lane_candidates(
    road_map: RoadMap, samples: Int32[np.ndarray, " samples"], centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 100"]:
    return _nearest(road_map.point_xyz[samples, :2], centres, LANE_CANDIDATES, LANE_RADIUS_M)


def _stop_candidates(
    road_map: RoadMap, centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 8"]:
    middles = road_map.stop_line_xyz[:, :, :2].mean(axis=1)
    return _nearest(middles, centres, STOP_CANDIDATES, STOP_RADIUS_M)


def _edge_candidates(
    segments: Float32[np.ndarray, "segments 4"], centres: Float[np.ndarray, "cells 2"]
) -> Int32[np.ndarray, "cells 100"]:
    """Nearest segments by exact distance; candidates are preselected by their middles, which err by half a segment."""
    if len(segments) == 0:
        return np.full((len(centres), EDGE_CANDIDATES), -1, np.int32)
    middles = (segments[:, :2] + segments[:, 2:]) / 2
    wide = _nearest(middles, centres, EDGE_CANDIDATES * 3 // 2, EDGE_RADIUS_M + EDGE_SEGMENT_M / 2)
    chunks = [slice(first, first + _CHUNK) for first in range(0, len(centres), _CHUNK)]
    return np.concatenate([_nearest_edges(segments, wide[chunk], centres[chunk]) for chunk in chunks])


def _nearest_edges(
    segments: Float32[np.ndarray, "segments 4"],
    wide: Int32[np.ndarray, "cells wide"],
    centres: Float[np.ndarray, "cells 2"],
) -> Int32[np.ndarray, "cells 100"]:
    """The nearest of the preselected segments `wide`, nearest first, -1 pad."""
    apart = distance_to_segments(centres, segments[wide, :2], segments[wide, 2:])
    apart = np.where((wide < 0) | (apart > EDGE_RADIUS_M), np.inf, apart)
    order = np.argsort(apart, axis=1, kind="stable")[:, :EDGE_CANDIDATES]
    chosen = np.take_along_axis(wide, order, axis=1)
    return np.where(np.isfinite(np.take_along_axis(apart, order, axis=1)), chosen, -1).astype(np.int32)


def _nearest(
    points: Float[np.ndarray, "points 2"],
    centres: Float[np.ndarray, "cells 2"],
    number: int,
    radius_m: float,
) -> Int32[np.ndarray, "cells number"]:
    """Indices of the `number` points nearest to each centre within the radius, nearest first, -1 pad."""
    if len(points) == 0:
        return np.full((len(centres), number), -1, np.int32)
    tree = scipy.spatial.cKDTree(points)
    result = np.empty((len(centres), number), np.int32)
    for first in range(0, len(centres), _QUERIES):
        some = centres[first : first + _QUERIES]
        _, found = tree.query(some, k=number, distance_upper_bound=radius_m, workers=-1)
        found = found.reshape(len(some), number)  # SciPy drops the axis for k = 1
        # a miss is reported as len(points)
        result[first : first + len(some)] = np.where(found < len(points), found, -1)
    return result


def _with_empty_row(table: Int32[np.ndarray, "cells number"]) -> Int32[np.ndarray, "rows number"]:
    """The table with row 0, of cells far from every road, prepended."""
    return np.concatenate([np.full((1, table.shape[1]), -1, np.int32), table])
