"""`RoadAtlas`: several maps concatenated into JAX arrays, of which each world uses one by `map_id`.

Worlds of one batch are on different maps. With all maps in the same arrays, and offsets per map, one compiled step
serves all worlds without a copy of a map per world. Indices (lanes, points, stop lines, junctions, edge segments) are
global over the atlas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import transformed
from simulator.roads.query_grids import CELL_M, NODE_SPACING_M, TILE_NODES, Grids
from simulator.roads.road_map import RoadMap
from simulator.state import route_table


@flax.struct.dataclass
class RoadAtlas:
    """Concatenated maps; -1 pads or means "none". Axes are sums over all maps unless stated otherwise."""

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)  # [maps]
    # Lanes and their centrelines.
    lane_start: ArrayField  # [lanes] i32, first point of the lane
    lane_count: ArrayField  # [lanes] i32, points of the lane, >= 2
    lane_length_m: ArrayField  # [lanes] f32
    lane_speed_limit_mps: ArrayField  # [lanes] f32
    lane_width_m: ArrayField  # [lanes] f32
    lane_successors: ArrayField  # [lanes, successors] i32
    lane_predecessors: ArrayField  # [lanes, predecessors] i32
    lane_left: ArrayField  # [lanes] i32, neighbour going the same way
    lane_right: ArrayField  # [lanes] i32
    lane_junction: ArrayField  # [lanes] i32, global junction, -1 outside
    lane_cumulative_length_m: ArrayField  # [lanes] f32, total length up to and including this lane
    point_xyz: ArrayField  # [points, 3] f32 m
    point_yaw: ArrayField  # [points] f32 rad
    point_row: ArrayField  # [points, ROUTE_WIDTH] f32, a route along this lane; see `state.route_table`
    point_lane: ArrayField  # [points] i32
    # Lane points about 6 m apart, for queries and observations.
    sample_pose: ArrayField  # [samples, 5] f32: x, y m, cos and sin of the travel direction, z m
    sample_swapped: ArrayField  # [samples, 5] f32: y, x, sin, cos, z; see `teacher.observation.ego_frame`
    sample_lane: ArrayField  # [samples] i32
    sample_point: ArrayField  # [samples] i32
    # Stop lines and their junctions.
    stop_xyz: ArrayField  # [stops, 2, 3] f32 m, left end, right end
    stop_yaw: ArrayField  # [stops] f32 rad, travel direction of the lanes it crosses
    stop_line: ArrayField  # [stops, 5] f32: middle x, y m, cos, sin of stop_yaw, half width m (>= 0.1)
    stop_kind: ArrayField  # [stops] i32, StopKind
    stop_junction: ArrayField  # [stops] i32, global lit junction, -1 for signs
    stop_group: ArrayField  # [stops] i32, phase group inside the junction
    stop_map: ArrayField  # [stops] i32
    junction_groups: ArrayField  # [junctions] i32, phase groups; 0 where the junction is unlit
    # Road edges.
    edge_line: ArrayField  # [segments, 5] f32 m: middle x, y, vector from there to the end x, y, height
    edge_swapped: ArrayField  # [segments, 5] f32: y, x, vector y, x, height
    # Where each map begins.
    map_lane_start: ArrayField  # [maps] i32
    map_lane_count: ArrayField  # [maps] i32
    map_length_before_m: ArrayField  # [maps] f32, lane length of earlier maps, as lane_cumulative_length_m
    map_length_m: ArrayField  # [maps] f32, total lane length of this map
    map_stop_start: ArrayField  # [maps] i32
    map_stop_count: ArrayField  # [maps] i32
    # Grids, flattened over maps; a cell of map m is offset[m] + row * shape[m, 1] + col. See
    # `simulator.roads.query_grids`.
    map_origin: ArrayField  # [maps, 2] f32 m, lower left corner of the cells
    map_cell_offset: ArrayField  # [maps] i32
    map_cell_shape: ArrayField  # [maps, 2] i32, rows (y), columns (x)
    cell_row: ArrayField  # [cells] i32, row of the tables below
    level_split_m: ArrayField  # [rows] f32, height between two levels of road; +inf where there is one
    tile: ArrayField  # [rows, 2] i32, tile of the lower and of the upper level
    drivable_distance_m: ArrayField  # [tiles, 11, 11] f32, to the drivable edge, + inside, clipped to +-8
    lane_candidates: ArrayField  # [rows, 100] i32, lane samples, nearest to the cell first
    edge_candidates: ArrayField  # [rows, 100] i32, edge segments
    stop_candidates: ArrayField  # [rows, 8] i32, stop lines

    @property
    def num_maps(self) -> int:
        return len(self.names)


def swapped_columns(pairs: int, width: int) -> list[int]:
    """Column order that swaps the numbers of each of the first ``pairs`` pairs in a row of ``width``; see
    `teacher.observation.ego_frame`."""
    swapped = [2 * pair + other for pair in range(pairs) for other in (1, 0)]
    return [*swapped, *range(len(swapped), width)]


def build_atlas(maps: Sequence[RoadMap], grids: Sequence[Grids] | None = None) -> RoadAtlas:
    """Concatenate maps into one atlas. `grids` are computed here unless given (see
    `simulator.roads.sources.map_cache` for the cache).

    Every array has at least one row: a step looks up stop lines, road edges and junctions, masked, also on maps without
    them. Nothing refers to such a row.
    """
    if not maps:
        raise ValueError("maps is empty; an atlas needs at least one road map")
    if grids is None:
        from simulator.roads.bake_grids import bake_grids  # needs Shapely

        grids = [bake_grids(road_map) for road_map in maps]
    fields = _lane_fields(maps) | _stop_fields(maps) | _sample_fields(maps, grids) | _grid_fields(maps, grids)
    arrays: dict[str, Any] = {name: jnp.asarray(_not_empty(value)) for name, value in fields.items()}
    return RoadAtlas(**{"names": tuple(road_map.name for road_map in maps), **arrays})


def _not_empty(values: np.ndarray | Array) -> np.ndarray | Array:
    """The array, with one row of padding (-1, or 0 m) where it has none, since JAX cannot look up rows of none."""
    if 0 not in values.shape:
        return values
    missing = [(0, max(0, 1 - size)) for size in values.shape]
    return np.pad(values, missing, constant_values=-1 if values.dtype.kind == "i" else 0)


def table_row(atlas: RoadAtlas, map_id: Int[Array, ""], xy: Float[Array, " 2"]) -> Int[Array, ""]:
    """Row of the tables for one point (m, map); a point off the grid uses the nearest cell."""
    return _locate(atlas, map_id, xy)[0]


def table_rows(atlas: RoadAtlas, map_id: Int[Array, ""], xy: Float[Array, "n 2"]) -> Int[Array, " n"]:
    """`table_row` of points (m) on one map."""
    return jax.vmap(table_row, (None, None, 0))(atlas, map_id, xy)


def _locate(atlas: RoadAtlas, map_id: Array, xy: Array) -> tuple[Array, Array]:
    """Table row of one point, and its position in the cell in units of the node spacing [2]."""
    shape = atlas.map_cell_shape[map_id]
    position = (xy - atlas.map_origin[map_id]) / CELL_M
    corner = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, shape[::-1] - 1)
    cell = atlas.map_cell_offset[map_id] + corner[1] * shape[1] + corner[0]
    return atlas.cell_row[cell], (position - corner) * (CELL_M / NODE_SPACING_M)


def drivable_distance(
    atlas: RoadAtlas,
    map_id: Int[Array, ""],
    xyz: Float[Array, " 3"],
    map_inverse: Float[Array, "2 2"] | None = None,
) -> Float[Array, ""]:
    """Signed distance (m) from one point to the edge of the drivable area of its level, + inside, clipped to +-8.

    Bilinear between nodes 0.5 m apart. ``xyz`` is in metres of the map; its height tells a bridge from the road below.
    In a variant of the map (see `simulator.atlas.affine_variants`) ``map_inverse`` turns the distance on the map into
    one in the world, along the direction in which it grows.
    """
    row, position = _locate(atlas, map_id, xyz[:2])
    tile = atlas.tile[row, (xyz[2] > atlas.level_split_m[row]).astype(jnp.int32)]
    position = jnp.clip(position, 0.0, TILE_NODES - 1.0)
    low = jnp.minimum(jnp.floor(position).astype(jnp.int32), TILE_NODES - 2)
    across, up = position[0] - low[0], position[1] - low[1]
    grid = atlas.drivable_distance_m.reshape(-1)
    corner = (tile * TILE_NODES + low[1]) * TILE_NODES + low[0]
    below, above = (jax.lax.dynamic_slice_in_dim(grid, at, 2) for at in (corner, corner + TILE_NODES))
    left, right = below * (1.0 - up) + above * up
    distance = left * (1.0 - across) + right * across
    if map_inverse is None:
        return distance
    south, north = (
        below[0] * (1.0 - across) + below[1] * across,
        above[0] * (1.0 - across) + above[1] * across,
    )
    slope = jnp.stack([right - left, north - south])
    in_world = transformed(map_inverse.T, slope)
    return distance * (jnp.linalg.norm(slope) + 1e-6) / (jnp.linalg.norm(in_world) + 1e-6)


def _lane_fields(maps: Sequence[RoadMap]) -> dict[str, np.ndarray | Array]:
    lanes = _offsets([m.num_lanes for m in maps])
    points = _offsets([len(m.point_xyz) for m in maps])
    junctions = _offsets([_num_junctions(m) for m in maps])
    lengths = _concat(maps, "lane_length_m").astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(lengths)])
    ends = lanes + np.array([m.num_lanes for m in maps])
    counts = _concat(maps, "lane_count")
    xyz, yaw = _concat(maps, "point_xyz"), _concat(maps, "point_yaw")
    limit = np.repeat(_concat(maps, "lane_speed_limit_mps"), counts)
    return {
        "lane_start": _shifted(maps, "lane_start", points),
        "lane_count": counts,
        "lane_length_m": _concat(maps, "lane_length_m"),
        "lane_speed_limit_mps": _concat(maps, "lane_speed_limit_mps"),
        "lane_width_m": _concat(maps, "lane_width_m"),
        "lane_successors": _shifted(maps, "lane_successors", lanes),
        "lane_predecessors": _shifted(maps, "lane_predecessors", lanes),
        "lane_left": _shifted(maps, "lane_left", lanes),
        "lane_right": _shifted(maps, "lane_right", lanes),
        "lane_junction": _shifted(maps, "lane_junction", junctions),
        "lane_cumulative_length_m": total[1:].astype(np.float32),
        "point_xyz": xyz,
        "point_yaw": yaw,
        "point_row": route_table(*(jnp.asarray(value) for value in (xyz, yaw, limit))),
        "point_lane": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        "map_lane_start": lanes,
        "map_lane_count": np.array([m.num_lanes for m in maps], np.int32),
        "map_length_before_m": total[lanes].astype(np.float32),
        "map_length_m": (total[ends] - total[lanes]).astype(np.float32),
    }


def _stop_fields(maps: Sequence[RoadMap]) -> dict[str, np.ndarray]:
    junctions = _offsets([_num_junctions(m) for m in maps])
    counts = np.array([len(m.stop_line_yaw) for m in maps], np.int32)
    ends, yaw = _concat(maps, "stop_line_xyz")[..., :2], _concat(maps, "stop_line_yaw")
    half_width = np.maximum(0.5 * np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1), 0.1)
    line = np.column_stack([ends.mean(axis=1), np.cos(yaw), np.sin(yaw), half_width])
    groups = [np.pad(m.junction_groups, (0, _num_junctions(m) - len(m.junction_groups))) for m in maps]
    return {
        "stop_xyz": _concat(maps, "stop_line_xyz"),
        "stop_yaw": _concat(maps, "stop_line_yaw"),
        "stop_line": line.astype(np.float32),
        "stop_kind": _concat(maps, "stop_line_kind"),
        "stop_junction": _shifted(maps, "stop_line_junction", junctions),
        "stop_group": _concat(maps, "stop_line_group"),
        "stop_map": np.repeat(np.arange(len(maps), dtype=np.int32), counts),
        "junction_groups": np.concatenate(groups).astype(np.int32),
        "map_stop_start": _offsets(counts),
        "map_stop_count": counts,
    }


def _sample_fields(maps: Sequence[RoadMap], grids: Sequence[Grids]) -> dict[str, np.ndarray]:
    lanes = _offsets([m.num_lanes for m in maps])
    points = _offsets([len(m.point_xyz) for m in maps])
    poses, owners = [], []
    for road_map, baked, first in zip(maps, grids, lanes, strict=True):
        chosen = baked.lane_samples
        yaw = road_map.point_yaw[chosen]
        xyz = road_map.point_xyz[chosen]
        poses.append(np.column_stack([xyz[:, :2], np.cos(yaw), np.sin(yaw), xyz[:, 2]]))
        owner = np.repeat(np.arange(road_map.num_lanes), road_map.lane_count)
        owners.append(first + owner[chosen])
    pose = np.concatenate(poses).astype(np.float32)
    return {
        "sample_pose": pose,
        "sample_swapped": pose[:, swapped_columns(2, 5)],
        "sample_lane": np.concatenate(owners).astype(np.int32),
        "sample_point": _tables([g.lane_samples for g in grids], points),
    }


def _grid_fields(maps: Sequence[RoadMap], grids: Sequence[Grids]) -> dict[str, np.ndarray]:
    shape = np.array([g.cell_row.shape for g in grids], np.int32)
    if shape.astype(np.int64).prod(axis=1).sum() >= 2**31:
        raise ValueError(
            "maps hold more than 2^31 grid cells together; build an atlas of fewer or smaller maps"
        )
    rows = _offsets([len(g.tile) for g in grids])
    tiles = _offsets([len(g.drivable_distance_m) for g in grids])
    samples = _offsets([len(g.lane_samples) for g in grids])
    segments = _offsets([len(g.edge_segments) for g in grids])
    stops = _offsets([len(m.stop_line_yaw) for m in maps])
    line = np.concatenate([_edge_line(g) for g in grids])
    return {
        "edge_line": line,
        "edge_swapped": line[:, swapped_columns(2, 5)],
        "map_origin": np.stack([g.origin for g in grids]).astype(np.float32),
        "map_cell_offset": _offsets(shape.prod(axis=1)),
        "map_cell_shape": shape,
        "cell_row": np.concatenate([_shift(g.cell_row.ravel(), r) for g, r in zip(grids, rows, strict=True)]),
        "level_split_m": np.concatenate([g.level_split_m for g in grids]),
        "tile": _tables([g.tile for g in grids], tiles),
        "drivable_distance_m": np.concatenate([g.drivable_distance_m for g in grids]),
        "lane_candidates": _tables([g.lane_candidates for g in grids], samples),
        "edge_candidates": _tables([g.edge_candidates for g in grids], segments),
        "stop_candidates": _tables([g.stop_candidates for g in grids], stops),
    }


def _edge_line(grids: Grids) -> np.ndarray:
    """Columns of `RoadAtlas.edge_line` for one map."""
    start, end = grids.edge_segments[:, :2], grids.edge_segments[:, 2:]
    return np.column_stack([(start + end) / 2, (end - start) / 2, grids.edge_z]).astype(np.float32)


def _num_junctions(road_map: RoadMap) -> int:
    return max(int(road_map.lane_junction.max(initial=-1)) + 1, len(road_map.junction_groups))


def _offsets(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Exclusive running sum, int32."""
    return (np.cumsum(counts) - np.asarray(counts)).astype(np.int32)


def _concat(maps: Sequence[RoadMap], field: str) -> np.ndarray:
    return np.concatenate([getattr(road_map, field) for road_map in maps])


def _shifted(maps: Sequence[RoadMap], field: str, offsets: np.ndarray) -> np.ndarray:
    """Concatenate an index field, made global by each map's offset; -1 stays -1, ragged widths are padded."""
    pieces = [_shift(getattr(m, field), offset) for m, offset in zip(maps, offsets, strict=True)]
    if pieces[0].ndim == 2:
        width = max(piece.shape[1] for piece in pieces)
        pieces = [np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=-1) for p in pieces]
    return np.concatenate(pieces)


def _tables(tables: Sequence[np.ndarray], offsets: np.ndarray) -> np.ndarray:
    return np.concatenate([_shift(table, offset) for table, offset in zip(tables, offsets, strict=True)])


def _shift(index: np.ndarray, offset: int | np.integer) -> np.ndarray:
    return np.where(index >= 0, index + offset, -1).astype(np.int32)
