"""Road maps built from named lanes; all other fields of a `RoadMap` are derived from them.

Flat, in the world frame. The drivable area is the union of the lanes, with gaps closed as in imported maps; road edges
are its outline, left open where a road leads out of the map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float

from simulator.roads.drivable_area import drivable_area, small_islands
from simulator.roads.lane_geometry import resample_lane
from simulator.roads.polylines import arc_length, offset_line, resampled, simplified, without_duplicates
from simulator.roads.road_map import (
    MAX_SPACING_M,
    MarkingType,
    RoadMap,
    StopKind,
    pack_pieces,
    pad_indices,
    piece_fields,
)
from simulator.roads.stop_lines import stop_line_fields

PROBE_LANE_WIDTH_M = 3.5
"""Width of every lane."""
SPEED_LIMIT_MPS = 11.1
"""Speed limit of every lane: 40 km/h."""
_VERTEX_SPACING_M = 1.0  # between the vertices from which lane boundaries are built
_OPEN_END_M = 0.6  # there are no road edges this close to the end of a road

Line = Float[np.ndarray, "points 2"]


@dataclass(frozen=True)
class Lane:
    """One lane.

    Attributes:
        name: its name in paths and as a neighbour.
        centre: [points, 2] m, its centreline in travel direction.
        leads_to: names of the lanes that begin where it ends.
        left, right: names of the neighbours in the same direction.
        in_junction: whether it is in the map's only junction.
    """

    name: str
    centre: np.ndarray
    leads_to: tuple[str, ...] = ()
    left: str | None = None
    right: str | None = None
    in_junction: bool = False


@dataclass(frozen=True)
class StopLine:
    """A stop line across the end of one lane.

    Attributes:
        lane: the lane.
        kind: traffic light or sign.
        group: lights of the junction with the same group are green together.
    """

    lane: str
    kind: StopKind
    group: int = 0


def build_road_map(
    name: str,
    lanes: Sequence[Lane],
    stop_lines: Sequence[StopLine] = (),
    paint: Sequence[tuple[Line, MarkingType]] = (),
) -> RoadMap:
    """The road map of these lanes. Traffic lights belong to junction 0."""
    index = {lane.name: number for number, lane in enumerate(lanes)}
    stations = [_stations(lane.centre) for lane in lanes]
    centre, start, count = pack_pieces([station[0] for station in stations])
    left, right, yaw = (np.concatenate([s[part] for s in stations]).astype(np.float32) for part in (1, 2, 3))
    leads_to = [[index[other] for other in lane.leads_to] for lane in lanes]
    comes_from = [[n for n, row in enumerate(leads_to) if own in row] for own in range(len(lanes))]
    return RoadMap(
        name=name, source_file="hand-made", importer="teacher.probes", left_out="",
        source_sha256=hashlib.sha256(centre.tobytes()).hexdigest(),
        lane_ids=np.array(list(index)), lane_start=start, lane_count=count, point_xyz=centre, point_yaw=yaw,
        point_left_xyz=left, point_right_xyz=right,
        lane_length_m=np.array([arc_length(station[0])[-1] for station in stations], np.float32),
        lane_speed_limit_mps=np.full(len(lanes), SPEED_LIMIT_MPS, np.float32),
        lane_width_m=np.full(len(lanes), PROBE_LANE_WIDTH_M, np.float32),
        lane_successors=pad_indices(leads_to), lane_predecessors=pad_indices(comes_from),
        lane_left=np.array([index.get(lane.left or "", -1) for lane in lanes], np.int32),
        lane_right=np.array([index.get(lane.right or "", -1) for lane in lanes], np.int32),
        lane_junction=np.array([0 if lane.in_junction else -1 for lane in lanes], np.int32),
        **_lines(stop_lines, index, stations), **_surface(lanes, leads_to, comes_from, stations, paint),
    ).validate()  # fmt: skip


def path(road: RoadMap, *lanes: str) -> Line:
    """The centrelines of these lanes, joined in order: [points, 2] m."""
    index = {name: number for number, name in enumerate(road.lane_ids.tolist())}
    line = np.concatenate([road.lane(index[name])[:, :2] for name in lanes]).astype(np.float64)
    return without_duplicates(line)


def stop_line_of(road: RoadMap, lane: str) -> int:
    """Index of the stop line at the end of a lane. Raises ValueError if there is none."""
    number = road.lane_ids.tolist().index(lane)
    end = road.lane(number)[-1]
    apart = np.linalg.norm(road.stop_line_xyz.mean(axis=1) - end, axis=1)
    if not len(apart) or apart.min() > 0.1:
        raise ValueError(f"map {road.name}: lane {lane!r} does not end at a stop line")
    return int(apart.argmin())


def _stations(centre: Line) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    flat = np.column_stack([centre, np.zeros(len(centre))])
    line = resampled(flat.astype(np.float64), _VERTEX_SPACING_M)
    half = np.full(len(line), PROBE_LANE_WIDTH_M / 2)
    return resample_lane(line, offset_line(line, half), offset_line(line, -half))


def _lines(
    stop_lines: Sequence[StopLine], index: dict[str, int], stations: Sequence[tuple]
) -> dict[str, np.ndarray]:
    rows = []
    for line in stop_lines:
        _, left, right, yaw = stations[index[line.lane]]
        junction = 0 if line.kind == StopKind.TRAFFIC_LIGHT else -1
        rows.append(((left[-1], right[-1], float(yaw[-1])), int(line.kind), junction, line.group))
    lit = [row[3] for row in rows if row[2] == 0]
    return stop_line_fields(rows, np.array([max(lit) + 1] if lit else [], np.int32))


def _surface(
    lanes: Sequence[Lane],
    leads_to: Sequence[list[int]],
    comes_from: Sequence[list[int]],
    stations: Sequence[tuple],
    paint: Sequence[tuple[Line, MarkingType]],
) -> dict[str, np.ndarray]:
    """The map fields of the drivable area, road edges and markings."""
    rings = [np.concatenate([left, right[::-1]]) for _, left, right, _ in stations]
    rings += small_islands(rings)
    ends = [
        shapely.LineString([left[row, :2], right[row, :2]])
        for links, row in ((comes_from, 0), (leads_to, -1))
        for (_, left, right, _), linked in zip(stations, links, strict=True)
        if not linked
    ]
    outline = shapely.boundary(drivable_area(rings))
    closed = shapely.difference(outline, shapely.buffer(shapely.union_all(ends), _OPEN_END_M))
    edges = [_flat(part) for part in shapely.get_parts(shapely.line_merge(closed))]
    pieces = {
        "drivable": rings,
        "edge": [simplified(edge, MAX_SPACING_M) for edge in edges],
        "marking": [np.column_stack([line, np.zeros(len(line))]) for line, _ in paint],
        "crosswalk": [],
        "walkway": [],
    }
    return piece_fields(pieces) | {"marking_type": np.array([kind for _, kind in paint], np.int32)}


def _flat(line: shapely.Geometry) -> np.ndarray:
    xy = shapely.get_coordinates(line)
    return np.column_stack([xy, np.zeros(len(xy))])
