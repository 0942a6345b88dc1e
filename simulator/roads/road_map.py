"""`RoadMap`: one map on the host, as the simulator, the renderer and the top-down images use it.

A road map is a frozen dataclass of NumPy arrays in metres and radians, in the world frame (x east, y north, z up).
Polylines and polygons are stored flat: all points one after the other, with `start` and `count` per piece. `save` and
`load` write and read one HDF5 file with its schema version.
"""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from simulator.roads.array_file import PackFormat, read_pack, write_pack

SCHEMA_VERSION = 1
MAX_SPACING_M = 2.0  # largest spacing of the points of lanes and road edges
MAX_EDGE_LENGTH_M = 100.0  # longer road edges are cut, so that they can be culled
FARTHEST_M = 100_000.0  # from the map's origin; float32 resolves 8 mm there
LARGEST_MAP_M2 = 2.5e9  # of the rectangle around a map: 50 km x 50 km, 100 million cells of its grids
FASTEST_MPS = 150.0  # of a speed limit
_FORMAT = PackFormat("gigapixel scene pack", "road_map", SCHEMA_VERSION)


class MarkingType(enum.IntEnum):
    """Pattern and colour of a painted line. Mixed patterns (solid beside dashed) count as double."""

    SOLID_WHITE = 0
    DASHED_WHITE = 1
    DOUBLE_WHITE = 2
    SOLID_YELLOW = 3
    DASHED_YELLOW = 4
    DOUBLE_YELLOW = 5


class StopKind(enum.IntEnum):
    """What a stop line belongs to."""

    TRAFFIC_LIGHT = 0
    STOP_SIGN = 1
    YIELD = 2


@dataclass(frozen=True)
class RoadMap:
    """One map. Indices are local to it; -1 pads or means "none".

    Junction indices: lit junctions come first (0..J-1, J = len(junction_groups)), unlit ones follow.
    """

    name: str
    source_file: str  # file name the map was imported from
    source_sha256: str  # of the file's bytes as read
    importer: str  # importer and reader versions
    lane_ids: np.ndarray  # [lanes] str, identifiers of the source
    lane_start: np.ndarray  # [lanes] i32, first centreline point of the lane
    lane_count: np.ndarray  # [lanes] i32, number of centreline points, >= 2
    point_xyz: np.ndarray  # [points, 3] f32, m, centreline, evenly spaced per lane, in travel direction
    point_yaw: np.ndarray  # [points] f32, rad, travel direction
    point_left_xyz: np.ndarray  # [points, 3] f32, m, left lane boundary at the same station
    point_right_xyz: np.ndarray  # [points, 3] f32, m, right lane boundary at the same station
    lane_length_m: np.ndarray  # [lanes] f32, m, along the centreline
    lane_speed_limit_mps: np.ndarray  # [lanes] f32, m/s
    lane_width_m: np.ndarray  # [lanes] f32, m, mean over the stations
    lane_successors: np.ndarray  # [lanes, successors] i32, lanes that begin where this one ends, -1 pad
    lane_predecessors: np.ndarray  # [lanes, predecessors] i32, lanes that end where this one begins
    lane_left: np.ndarray  # [lanes] i32, neighbour on the left going the same way
    lane_right: np.ndarray  # [lanes] i32, neighbour on the right going the same way
    lane_junction: np.ndarray  # [lanes] i32, junction the lane lies in, -1 outside junctions
    edge_points: np.ndarray  # [edge_points, 3] f32, m, road edges (kerbs), polylines
    edge_start: np.ndarray  # [edges] i32
    edge_count: np.ndarray  # [edges] i32
    marking_points: np.ndarray  # [marking_points, 3] f32, m, painted lines, polylines
    marking_start: np.ndarray  # [markings] i32
    marking_count: np.ndarray  # [markings] i32
    marking_type: np.ndarray  # [markings] i32, MarkingType
    crosswalk_points: np.ndarray  # [crosswalk_points, 3] f32, m, open rings (last point not repeated)
    crosswalk_start: np.ndarray  # [crosswalks] i32
    crosswalk_count: np.ndarray  # [crosswalks] i32
    drivable_points: np.ndarray  # [drivable_points, 3] f32, m, open rings: lanes, car parks, other drivable
    drivable_start: np.ndarray  # [drivables] i32
    drivable_count: np.ndarray  # [drivables] i32
    walkway_points: np.ndarray  # [walkway_points, 3] f32, m, open rings: pavements
    walkway_start: np.ndarray  # [walkways] i32
    walkway_count: np.ndarray  # [walkways] i32
    stop_line_xyz: np.ndarray  # [stops, 2, 3] f32, m, left end, right end, just before the junction
    stop_line_yaw: np.ndarray  # [stops] f32, rad, travel direction of the lanes it crosses
    stop_line_kind: np.ndarray  # [stops] i32, StopKind
    stop_line_junction: np.ndarray  # [stops] i32, lit junction, -1 for signs
    stop_line_group: np.ndarray  # [stops] i32, phase group within the junction; opposing approaches share one
    junction_groups: np.ndarray  # [junctions] i32, number of phase groups of each lit junction, >= 1
    origin: np.ndarray = field(
        default_factory=lambda: np.zeros(3)
    )  # [3] f64, m, of the map in its source's frame
    left_out: str = ""  # what the importer left out, e.g. "12 bus lanes, 3 railways"

    @property
    def num_lanes(self) -> int:
        """Number of lanes."""
        return len(self.lane_start)

    def bounds(self) -> Float[np.ndarray, "2 2"]:
        """Smallest and largest (x, y) of all geometry, m."""
        pieces = [self.point_left_xyz, self.point_right_xyz, self.edge_points, self.drivable_points]
        xy = np.concatenate([piece[:, :2] for piece in pieces]).astype(np.float64)
        return np.stack([xy.min(0), xy.max(0)])

    def lane(self, index: int | np.integer) -> Float32[np.ndarray, "points 3"]:
        """Centreline of one lane, m."""
        start = self.lane_start[index]
        return self.point_xyz[start : start + self.lane_count[index]]

    def pieces(self, kind: str) -> list[np.ndarray]:
        """All polylines or rings [n, 3] m of one kind: 'edge', 'marking', 'crosswalk', 'drivable' or 'walkway'."""
        points, start, count = (getattr(self, f"{kind}_{part}") for part in ("points", "start", "count"))
        return [points[first : first + number] for first, number in zip(start, count, strict=True)]

    def validate(self) -> RoadMap:
        """This map. Raises ValueError, which names field and value, for a wrong shape or type, a value out of range
        or not finite."""
        _check_shapes(self)
        _check_numbers(self)
        _check_indices(self)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map as one HDF5 scene pack, atomically."""
        self.validate()
        write_pack(Path(path), _FORMAT, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RoadMap:
        """Read and validate a scene pack written by `save`."""
        fields = read_pack(Path(path), _FORMAT, cls)
        try:
            return cls(**fields).validate()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def pack_pieces(
    pieces: list[np.ndarray],
) -> tuple[Float32[np.ndarray, "points 3"], Int32[np.ndarray, " pieces"], Int32[np.ndarray, " pieces"]]:
    """Flatten polylines [n_i, 3] into (points, start, count)."""
    count = np.array([len(piece) for piece in pieces], np.int32)
    start = (np.cumsum(count) - count).astype(np.int32)
    points = np.concatenate(pieces) if pieces else np.zeros((0, 3))
    return points.astype(np.float32), start, count


def piece_fields(pieces: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """The fields `points`, `start` and `count` of `RoadMap` for each kind of piece (see `RoadMap.pieces`)."""
    fields: dict[str, np.ndarray] = {}
    for kind, items in pieces.items():
        names = (f"{kind}_points", f"{kind}_start", f"{kind}_count")
        fields |= dict(zip(names, pack_pieces(items), strict=True))
    return fields


def pad_indices(rows: list[list[int]]) -> Int[np.ndarray, "rows width"]:
    """Stack ragged index lists into one array padded with -1 (at least one column)."""
    width = max([len(row) for row in rows] + [1])
    return np.array([row + [-1] * (width - len(row)) for row in rows], np.int32).reshape(len(rows), width)


_AXES = {  # fields whose first axis is the same
    "lane": (
        "lane_ids", "lane_start", "lane_count", "lane_length_m", "lane_speed_limit_mps", "lane_width_m",
        "lane_successors", "lane_predecessors", "lane_left", "lane_right", "lane_junction",
    ),
    "point": ("point_xyz", "point_yaw", "point_left_xyz", "point_right_xyz"),
    "stop line": (
        "stop_line_xyz", "stop_line_yaw", "stop_line_kind", "stop_line_junction", "stop_line_group",
    ),
    "edge": ("edge_start", "edge_count"),
    "marking": ("marking_start", "marking_count", "marking_type"),
    "crosswalk": ("crosswalk_start", "crosswalk_count"),
    "drivable polygon": ("drivable_start", "drivable_count"),
    "walkway": ("walkway_start", "walkway_count"),
}  # fmt: skip
_PIECES = {
    "lane": "point_xyz", "edge": "edge_points", "marking": "marking_points", "crosswalk": "crosswalk_points",
    "drivable": "drivable_points", "walkway": "walkway_points",
}  # fmt: skip
_TABLES = ("lane_successors", "lane_predecessors")  # [lanes, n]; all other integer fields are [n]


def _check_shapes(road_map: RoadMap) -> None:
    if road_map.origin.shape != (3,) or road_map.origin.dtype != np.float64:
        raise ValueError(f"map {road_map.name}: origin is {road_map.origin}; expected three float64")
    for each in dataclasses.fields(road_map):
        value = getattr(road_map, each.name)
        if not isinstance(value, np.ndarray) or each.name == "origin":
            continue
        if each.name == "lane_ids":
            if value.ndim != 1 or value.dtype.kind != "U":
                raise ValueError(
                    f"map {road_map.name}: lane_ids is no list of text; expected one name per lane"
                )
            continue
        real = each.name.endswith(("_xyz", "_points", "_yaw", "_m", "_mps"))
        if value.dtype != (np.float32 if real else np.int32):
            accepted = "float32" if real else "int32"
            raise ValueError(f"map {road_map.name}: {each.name} has type {value.dtype}; expected {accepted}")
        tail = (
            (2, 3) if each.name == "stop_line_xyz" else (3,) if each.name.endswith(("xyz", "points")) else ()
        )
        rows = ("n", "m") if each.name in _TABLES else ("n", *tail)
        if value.ndim != len(rows) or (each.name not in _TABLES and value.shape[1:] != tail):
            raise ValueError(f"map {road_map.name}: {each.name} has shape {value.shape}; expected {rows}")
    for axis, names in _AXES.items():
        length = len(getattr(road_map, names[0]))
        for name in names:
            found = len(getattr(road_map, name))
            if found != length:
                raise ValueError(
                    f"map {road_map.name}: {name} has {found} rows; expected {length}, one per {axis}"
                )
    if road_map.num_lanes == 0:
        raise ValueError(f"map {road_map.name}: lane_ids is empty; expected at least one driving lane")


def _check_numbers(road_map: RoadMap) -> None:
    for each in dataclasses.fields(road_map):
        value = getattr(road_map, each.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            row = int(np.argwhere(~np.isfinite(value))[0][0])
            found = value[row].tolist()
            raise ValueError(f"map {road_map.name}: {each.name}[{row}] is {found}; expected finite numbers")
    for name, least in (("lane_length_m", 0.0), ("lane_speed_limit_mps", 0.0), ("lane_count", 1)):
        value = getattr(road_map, name)
        if (value <= least).any():
            row = int(np.argmin(value))
            raise ValueError(
                f"map {road_map.name}: {name}[{row}] is {value[row]}; expected more than {least:g}"
            )
    if road_map.lane_speed_limit_mps.max() > FASTEST_MPS:
        row = int(np.argmax(road_map.lane_speed_limit_mps))
        raise ValueError(
            f"map {road_map.name}: lane_speed_limit_mps[{row}] is {road_map.lane_speed_limit_mps[row]}; "
            f"expected at most {FASTEST_MPS:g}"
        )
    _check_extent(road_map)


def _check_extent(road_map: RoadMap) -> None:
    """Raises ValueError for a point too far away, and for a map too large for its grids."""
    for name in ("point_left_xyz", "point_right_xyz", "stop_line_xyz", *_PIECES.values()):
        value = getattr(road_map, name)
        far = np.abs(value) > FARTHEST_M
        if far.any():
            row = int(np.argwhere(far)[0][0])
            raise ValueError(
                f"map {road_map.name}: {name}[{row}] is {value[row].tolist()}; expected points at most "
                f"{FARTHEST_M / 1000:g} km from the origin of the map"
            )
    low, high = road_map.bounds()
    width, height = high - low
    if width * height > LARGEST_MAP_M2:
        raise ValueError(
            f"map {road_map.name}: its roads cover {width / 1000:.0f} km x {height / 1000:.0f} km; expected at most "
            f"{LARGEST_MAP_M2 / 1e6:g} km2, cut it into tiles"
        )


def _check_indices(road_map: RoadMap) -> None:
    lanes, lit = road_map.num_lanes, len(road_map.junction_groups)
    ranges = {  # first and last accepted value
        "lane_successors": (-1, lanes - 1), "lane_predecessors": (-1, lanes - 1), "lane_left": (-1, lanes - 1),
        "lane_right": (-1, lanes - 1), "lane_junction": (-1, lanes - 1), "stop_line_junction": (-1, lit - 1),
        "stop_line_kind": (0, len(StopKind) - 1), "marking_type": (0, len(MarkingType) - 1),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(road_map, name)
        outside = (value < low) | (value > high)
        if outside.any():
            raise ValueError(
                f"map {road_map.name}: {name} holds {value[outside][0]}; expected {low} to {high}"
            )
    controlled = road_map.stop_line_junction >= 0
    groups = road_map.junction_groups[road_map.stop_line_junction[controlled]]
    if (road_map.stop_line_group[controlled] >= groups).any() or (road_map.stop_line_group < 0).any():
        raise ValueError(
            f"map {road_map.name}: stop_line_group holds {road_map.stop_line_group.max()} or a negative number; "
            "expected 0 to junction_groups - 1"
        )
    if (road_map.junction_groups < 1).any():
        raise ValueError(
            f"map {road_map.name}: junction_groups holds {road_map.junction_groups.min()}; expected 1 or more"
        )
    for kind, points in _PIECES.items():
        start, count = getattr(road_map, f"{kind}_start"), getattr(road_map, f"{kind}_count")
        size = len(getattr(road_map, points))
        if (count < 0).any() or count.sum() != size or (start != np.cumsum(count) - count).any():
            raise ValueError(
                f"map {road_map.name}: {kind}_start and {kind}_count must tile the {size} {points}"
            )
