"""`RoadAtlas`: several towns packed flat into JAX arrays, so that each world picks its town by `map_id`.

Worlds of one batch live in different towns. Packing all towns into the same arrays, with offsets per map, lets one
compiled step serve them all without copying a map per world. Indices (lanes, points, stop lines, junctions, edge
segments) are global over the atlas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from simulator.grids import COARSE_CELL_M, FINE_CELL_M, Grids
from simulator.road_map import RoadMap
from simulator.world import Leaf


@flax.struct.dataclass
class RoadAtlas:
    """Towns packed flat; -1 pads or means "none". Shapes: sums over all maps unless said otherwise."""

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)  # [maps]
    # Lanes and their centrelines.
    lane_start: Leaf  # [lanes] i32, first point of the lane
    lane_count: Leaf  # [lanes] i32, points of the lane, >= 2
    lane_length_m: Leaf  # [lanes] f32
    lane_speed_limit_mps: Leaf  # [lanes] f32
    lane_width_m: Leaf  # [lanes] f32
    lane_successors: Leaf  # [lanes, successors] i32
    lane_predecessors: Leaf  # [lanes, predecessors] i32
    lane_left: Leaf  # [lanes] i32, neighbour going the same way
    lane_right: Leaf  # [lanes] i32
    lane_junction: Leaf  # [lanes] i32, global junction, -1 outside
    lane_cumulative_length_m: Leaf  # [lanes] f32, total length of the atlas up to and including this lane
    point_xyz: Leaf  # [points, 3] f32 m
    point_yaw: Leaf  # [points] f32 rad
    point_lane: Leaf  # [points] i32
    # Stop lines and the junctions they guard.
    stop_xyz: Leaf  # [stops, 2, 3] f32 m, left end, right end
    stop_yaw: Leaf  # [stops] f32 rad, travel direction of whoever crosses it
    stop_kind: Leaf  # [stops] i32, StopKind
    stop_junction: Leaf  # [stops] i32, global lit junction, -1 for signs
    stop_group: Leaf  # [stops] i32, phase group inside the junction
    stop_map: Leaf  # [stops] i32
    junction_groups: Leaf  # [junctions] i32, phase groups; 0 where the junction is unlit
    # Road edges.
    edge_segments: Leaf  # [segments, 4] f32 m, x0 y0 x1 y1
    edge_z: Leaf  # [segments] f32 m
    # Where each map begins.
    map_lane_start: Leaf  # [maps] i32
    map_lane_count: Leaf  # [maps] i32
    map_length_before_m: (
        Leaf  # [maps] f32, total lane length of earlier maps (matches lane_cumulative_length_m)
    )
    map_length_m: Leaf  # [maps] f32, total lane length of this map
    map_stop_start: Leaf  # [maps] i32
    map_stop_count: Leaf  # [maps] i32
    # Grids, flattened over maps; a cell of map m is offset[m] + row * shape[m, 1] + col.
    map_origin: Leaf  # [maps, 2] f32 m, lower left corner of both grids
    map_fine_offset: Leaf  # [maps] i32
    map_fine_shape: Leaf  # [maps, 2] i32, rows (y), columns (x)
    map_coarse_offset: Leaf  # [maps] i32
    map_coarse_shape: Leaf  # [maps, 2] i32
    drivable_distance_m: (
        Leaf  # [fine cells] f32, signed distance to the drivable edge, + inside, clipped to +-8
    )
    lane_point_candidates: Leaf  # [coarse cells, 16] i32, points about 6 m apart, nearest to the cell first
    edge_candidates: Leaf  # [coarse cells, 16] i32, edge segments
    stop_candidates: Leaf  # [coarse cells, 8] i32, stop lines

    @property
    def num_maps(self) -> int:
        return len(self.names)


def build_atlas(maps: Sequence[RoadMap], grids: Sequence[Grids] | None = None) -> RoadAtlas:
    """Pack towns into one atlas. `grids` are baked here unless given (see `simulator.maps` for the cache)."""
    if not maps:
        raise ValueError("maps is empty; an atlas needs at least one road map")
    if grids is None:
        from simulator.bake import bake_grids  # needs Shapely; given grids do without

        grids = [bake_grids(road_map) for road_map in maps]
    fields = _lane_fields(maps) | _stop_fields(maps) | _grid_fields(maps, grids)
    arrays: dict[str, Any] = {name: jnp.asarray(value) for name, value in fields.items()}
    return RoadAtlas(**{"names": tuple(road_map.name for road_map in maps), **arrays})


def drivable_distance(atlas: RoadAtlas, map_id: Int[Array, ""], xy: Float[Array, " 2"]) -> Float[Array, ""]:
    """Signed distance (m) from one point to the edge of the drivable area, + inside; bilinear, clipped to +-8."""
    shape = atlas.map_fine_shape[map_id]
    place = (xy - atlas.map_origin[map_id]) / FINE_CELL_M - 0.5  # cell centres are the samples
    col, row = jnp.clip(place[0], 0.0, shape[1] - 1.0), jnp.clip(place[1], 0.0, shape[0] - 1.0)
    left = jnp.minimum(jnp.floor(col).astype(jnp.int32), shape[1] - 2)
    low = jnp.minimum(jnp.floor(row).astype(jnp.int32), shape[0] - 2)
    corner = atlas.map_fine_offset[map_id] + low * shape[1] + left
    right_share, up_share = col - left, row - low
    grid = atlas.drivable_distance_m
    below = grid[corner] * (1.0 - right_share) + grid[corner + 1] * right_share
    above = grid[corner + shape[1]] * (1.0 - right_share) + grid[corner + shape[1] + 1] * right_share
    return below * (1.0 - up_share) + above * up_share


def coarse_cell(atlas: RoadAtlas, map_id: Int[Array, ""], xy: Float[Array, " 2"]) -> Int[Array, ""]:
    """Row of the candidate tables for one point; points off the grid use the nearest cell."""
    shape = atlas.map_coarse_shape[map_id]
    place = jnp.floor((xy - atlas.map_origin[map_id]) / COARSE_CELL_M).astype(jnp.int32)
    col, row = jnp.clip(place[0], 0, shape[1] - 1), jnp.clip(place[1], 0, shape[0] - 1)
    return atlas.map_coarse_offset[map_id] + row * shape[1] + col


def _lane_fields(maps: Sequence[RoadMap]) -> dict[str, np.ndarray]:
    lanes = _offsets([m.num_lanes for m in maps])
    points = _offsets([len(m.point_xyz) for m in maps])
    junctions = _offsets([_num_junctions(m) for m in maps])
    lengths = _concat(maps, "lane_length_m").astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(lengths)])
    ends = lanes + np.array([m.num_lanes for m in maps])
    counts = _concat(maps, "lane_count")
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
        "point_xyz": _concat(maps, "point_xyz"),
        "point_yaw": _concat(maps, "point_yaw"),
        "point_lane": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        "map_lane_start": lanes,
        "map_lane_count": np.array([m.num_lanes for m in maps], np.int32),
        "map_length_before_m": total[lanes].astype(np.float32),
        "map_length_m": (total[ends] - total[lanes]).astype(np.float32),
    }


def _stop_fields(maps: Sequence[RoadMap]) -> dict[str, np.ndarray]:
    junctions = _offsets([_num_junctions(m) for m in maps])
    counts = np.array([len(m.stop_line_yaw) for m in maps], np.int32)
    groups = [np.pad(m.junction_groups, (0, _num_junctions(m) - len(m.junction_groups))) for m in maps]
    return {
        "stop_xyz": _concat(maps, "stop_line_xyz"),
        "stop_yaw": _concat(maps, "stop_line_yaw"),
        "stop_kind": _concat(maps, "stop_line_kind"),
        "stop_junction": _shifted(maps, "stop_line_junction", junctions),
        "stop_group": _concat(maps, "stop_line_group"),
        "stop_map": np.repeat(np.arange(len(maps), dtype=np.int32), counts),
        "junction_groups": np.concatenate(groups).astype(np.int32),
        "map_stop_start": _offsets(counts),
        "map_stop_count": counts,
    }


def _grid_fields(maps: Sequence[RoadMap], grids: Sequence[Grids]) -> dict[str, np.ndarray]:
    fine = np.array([g.drivable_distance_m.shape for g in grids], np.int32)
    coarse = np.array([g.lane_point_candidates.shape[:2] for g in grids], np.int32)
    if fine.astype(np.int64).prod(axis=1).sum() >= 2**31:
        raise ValueError(
            "maps hold more than 2^31 fine grid cells together; build an atlas of fewer or smaller maps"
        )
    points = _offsets([len(m.point_xyz) for m in maps])
    stops = _offsets([len(m.stop_line_yaw) for m in maps])
    segments = _offsets([len(g.edge_segments) for g in grids])
    return {
        "edge_segments": np.concatenate([g.edge_segments for g in grids]),
        "edge_z": np.concatenate([g.edge_z for g in grids]),
        "map_origin": np.stack([g.origin for g in grids]).astype(np.float32),
        "map_fine_offset": _offsets(fine.prod(axis=1)),
        "map_fine_shape": fine,
        "map_coarse_offset": _offsets(coarse.prod(axis=1)),
        "map_coarse_shape": coarse,
        "drivable_distance_m": np.concatenate([g.drivable_distance_m.ravel() for g in grids]),
        "lane_point_candidates": _tables([g.lane_point_candidates for g in grids], points),
        "edge_candidates": _tables([g.edge_candidates for g in grids], segments),
        "stop_candidates": _tables([g.stop_candidates for g in grids], stops),
    }


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
    flat = [table.reshape(-1, table.shape[-1]) for table in tables]
    return np.concatenate([_shift(table, offset) for table, offset in zip(flat, offsets, strict=True)])


def _shift(index: np.ndarray, offset: int | np.integer) -> np.ndarray:
    return np.where(index >= 0, index + offset, -1).astype(np.int32)
