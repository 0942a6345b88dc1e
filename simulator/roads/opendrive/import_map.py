"""An OpenDRIVE description becomes a `RoadMap`.

Lanes are sampled at even stations, linked, and given their stop lines; surfaces, paint, crosswalks and walkways are
laid beside them. Heights are those of the file; x and y are the file's, less `RoadMap.origin` where the file counts
from far away.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.roads.drivable_area import small_islands, without_edges_of
from simulator.roads.lane_geometry import station_yaw
from simulator.roads.opendrive.crosswalks import crosswalk_rings
from simulator.roads.opendrive.document import Document, read_document
from simulator.roads.opendrive.import_report import ImportReport
from simulator.roads.opendrive.lane_links import LaneGraph, lane_graph
from simulator.roads.opendrive.lane_strips import LaneStrip, lane_strips, speed_cuts, speed_limit
from simulator.roads.opendrive.paint import painted_lines
from simulator.roads.opendrive.road_edges import Sides, road_edges
from simulator.roads.opendrive.road_frame import RoadFrame
from simulator.roads.opendrive.signals import mid_block_cuts, stop_zones
from simulator.roads.opendrive.xml_elements import shown
from simulator.roads.polylines import arc_length, simplified
from simulator.roads.road_map import (
    FARTHEST_M,
    MAX_SPACING_M,
    RoadMap,
    pack_pieces,
    pad_indices,
    piece_fields,
)
from simulator.roads.stop_lines import derive_stop_lines

DEFAULT_SPEED_LIMIT_MPS = 13.9  # 50 km/h, the usual urban limit, where the file gives none
FAR_M = 10_000.0
"""Coordinates beyond this are moved to a near origin: float32 has a resolution of 1 mm there."""
ORIGIN_STEP_M = 100.0
NARROWEST_LANE_M = 0.1
"""Lanes that are nowhere wider are left out (exporters write lanes of no width where a lane may begin)."""
WIDEST_LANE_M = 500.0
STEEPEST_LANE = 100.0
"""A lane longer than this per metre of its road, and a kilometre, leaps to places that no road leads to (ours)."""
DRIVEN = frozenset({
    "driving", "entry", "exit", "onramp", "offramp", "connectingramp", "sliplane", "mwyentry", "mwyexit",
})  # fmt: skip
"""Types of lanes that agents drive on."""
ASPHALT = frozenset({"parking", "border"})
"""Types that vehicles may stand on or cross, and that no route is expected to follow."""
RESERVED = frozenset({"bidirectional", "bus", "taxi", "hov", "stop"})
"""Types that vehicles may stand on or cross; routes could follow them, but ours do not."""
WALKWAYS = frozenset({"sidewalk", "walking"})
ROADSIDE = frozenset({"shoulder", "none", "median", "curb"})
"""Types that are no part of the road surface, and need no mention."""
_PLURALS = {
    "rail": "railways", "tram": "tramways", "biking": "bicycle lanes", "bus": "bus lanes", "taxi": "taxi lanes",
    "hov": "car-pool lanes", "stop": "emergency lanes", "bidirectional": "two-way lanes",
    "restricted": "restricted lanes", "roadworks": "lanes under repair", "shared": "shared paths",
}  # fmt: skip


def read_opendrive(path: Path, sha256: str, importer: str) -> tuple[RoadMap, ImportReport]:
    """The map in a .xodr or .xodr.gz file, and what it lacks.

    Raises ValueError with file, element, attribute and value for what cannot be understood, and for a file without any
    lane to drive on.
    """
    document = read_document(path)
    origin = _origin(document)
    frames = {name: RoadFrame(road, origin) for name, road in document.roads.items()}
    strips = [
        strip
        for frame in frames.values()
        for strip in lane_strips(frame, speed_cuts(frame.road) | mid_block_cuts(document, frame.road))
    ]
    driven = _driven(document, strips)
    if not any(driven):
        kinds = ", ".join(sorted({strip.lane.kind for strip in strips})) or "no lanes at all"
        raise ValueError(f"{path}: no driving lanes; expected lanes of type 'driving', found {kinds}")
    graph = lane_graph(document, strips, driven)
    fields = _lane_fields(document, strips, driven, graph)
    fields |= _feature_fields(document, frames, strips, driven)
    shift = (*origin, 0.0)
    road_map = RoadMap(
        name=path.name.removesuffix(".gz").removesuffix(".xodr"), source_file=path.name, source_sha256=sha256,
        importer=importer, origin=np.add(document.offset, shift), left_out=document.report.summary(), **fields,
    )  # fmt: skip
    return road_map.validate(), document.report


def _origin(document: Document) -> tuple[float, float]:
    """x, y (m) to subtract: zero, or for a far map its middle, rounded."""
    places = np.array([[piece.x, piece.y] for road in document.roads.values() for piece in road.plan.pieces])
    if not len(places) or np.abs(places).max() < FAR_M:
        return 0.0, 0.0
    middle = 0.5 * (places.min(axis=0) + places.max(axis=0))
    x, y = np.round(middle / ORIGIN_STEP_M) * ORIGIN_STEP_M
    return float(x), float(y)


def _driven(document: Document, strips: list[LaneStrip]) -> list[bool]:
    """Which strips agents drive on. Lanes of other types are counted once per section."""
    result = []
    for strip in strips:
        kind = strip.lane.kind.lower()
        width = float(strip.width(strip.dense_s).max())
        if not width <= WIDEST_LANE_M:
            raise ValueError(
                f"{document.path}: lane {strip.name} is {width:g} m wide; expected at most {WIDEST_LANE_M:g}"
            )
        wide = width >= NARROWEST_LANE_M
        result.append(kind in DRIVEN and wide)
        if strip.part:
            continue
        if kind in DRIVEN:
            if not wide:
                document.report.leave_out("driving lanes without a width", strip.name)
            elif strip.lane.direction == "both":
                document.report.warn("two-way driving lanes that are driven on in one direction", strip.name)
        elif kind not in ASPHALT | WALKWAYS | ROADSIDE:
            document.report.leave_out(
                _PLURALS.get(kind, f"lanes of type {shown(strip.lane.kind)}"), strip.name
            )
    return result


def _lane_fields(
    document: Document, strips: list[LaneStrip], driven: list[bool], graph: LaneGraph
) -> dict[str, np.ndarray]:
    """The fields of `RoadMap` with lanes and stop lines."""
    kept = [index for index, drive in enumerate(driven) if drive]
    number = {index: lane for lane, index in enumerate(kept)}
    lanes = [strips[index] for index in kept]
    successors = [[number[after] for after in graph.successors[index]] for index in kept]
    predecessors = [[number[before] for before in graph.predecessors[index]] for index in kept]
    sampled = [_stations(strip) for strip in lanes]
    stations = [station for station, _ in sampled]
    zones = [
        (zone.kind, [number[index] for index in zone.lanes])
        for zone in stop_zones(document, strips, driven, graph)
    ]
    stop_lines, lane_junction = derive_stop_lines(
        stations, [strip.road.junction for strip in lanes], predecessors, zones
    )
    centre, start, count = pack_pieces([station[0] for station in stations])
    left, right = _neighbours(lanes)
    return {
        "lane_ids": np.array([strip.name for strip in lanes]), "lane_start": start, "lane_count": count,
        "point_xyz": centre,
        "point_yaw": np.concatenate([station[3] for station in stations]).astype(np.float32),
        "point_left_xyz": np.concatenate([station[1] for station in stations]).astype(np.float32),
        "point_right_xyz": np.concatenate([station[2] for station in stations]).astype(np.float32),
        "lane_length_m": np.array([length for _, length in sampled], np.float32),
        "lane_speed_limit_mps": _speed_limits(document, lanes, successors, predecessors),
        "lane_width_m": np.array(
            [np.linalg.norm(station[1] - station[2], axis=1).mean() for station in stations], np.float32
        ),
        "lane_successors": pad_indices(successors), "lane_predecessors": pad_indices(predecessors),
        "lane_left": left, "lane_right": right, "lane_junction": lane_junction, **stop_lines,
    }  # fmt: skip


def _stations(strip: LaneStrip) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]:
    """Centre, left and right [n, 3] m and yaw [n] rad at even stations of a lane, and the lane's length, m.

    Every station is evaluated from the file's own polynomials; only its place along s is interpolated.
    """
    dense = strip.dense_s
    inner, outer = strip.borders(dense)
    arc = arc_length(0.5 * (inner + outer))
    most = STEEPEST_LANE * (strip.s1 - strip.s0) + 1000.0
    if not arc[-1] <= most:
        raise ValueError(
            f"lane {strip.name} is {arc[-1]:g} m long between s={strip.s0:g} and s={strip.s1:g}; expected at most "
            f"{most:g} m"
        )
    length = max(float(arc[-1]), 1e-3)
    count = max(2, int(np.ceil(length / MAX_SPACING_M)) + 1)
    s = np.interp(np.linspace(0.0, arc[-1], count), arc, dense) if arc[-1] > 1e-6 else dense[[0, -1]]
    centre, left, right = strip.sides(s)
    return (centre, left, right, station_yaw(centre, left, right)), length


def _neighbours(lanes: list[LaneStrip]) -> tuple[np.ndarray, np.ndarray]:
    """Lanes [lanes] on the left and on the right that go the same way, -1 for none."""
    index = {(*strip.group, strip.lane.number): lane for lane, strip in enumerate(lanes)}
    sides = np.full((2, len(lanes)), -1, np.int32)
    for lane, strip in enumerate(lanes):
        for row, leftward in enumerate((1, -1)):
            step = leftward if strip.forward else -leftward
            other_number = strip.lane.number + step or step  # lane 0 is the reference line
            other = index.get((*strip.group, other_number))
            if other is not None and lanes[other].forward == strip.forward:
                sides[row, lane] = other
    return sides[0], sides[1]


def _speed_limits(
    document: Document, lanes: list[LaneStrip], successors: list[list[int]], predecessors: list[list[int]]
) -> np.ndarray:
    """Limits [lanes] m/s. Ways through a junction without a limit take that of a lane before, else after them."""
    limits = [speed_limit(strip) for strip in lanes]
    pending = [
        lane for lane, strip in enumerate(lanes) if limits[lane] is None and strip.road.junction is not None
    ]
    while pending:
        found = {}
        for lane in pending:
            near = [
                limits[other]
                for other in (*predecessors[lane], *successors[lane])
                if limits[other] is not None
            ]
            if near:
                found[lane] = near[0]
        for lane, limit in found.items():
            limits[lane] = limit
        if not found:
            break
        pending = [lane for lane in pending if lane not in found]
    for lane, strip in enumerate(lanes):
        if limits[lane] is None:
            document.report.warn(
                f"lanes without a speed limit, which get {DEFAULT_SPEED_LIMIT_MPS:.1f} m/s", strip.name
            )
    return np.array([DEFAULT_SPEED_LIMIT_MPS if limit is None else limit for limit in limits], np.float32)


def _feature_fields(
    document: Document, frames: dict[str, RoadFrame], strips: list[LaneStrip], driven: list[bool]
) -> dict[str, np.ndarray]:
    """Road edges, painted lines, crosswalks, drivable polygons and walkways as flat arrays, by field of `RoadMap`."""
    surfaces: list[Sides] = []
    walkways = []
    for strip, drive in zip(strips, driven, strict=True):
        kind = strip.lane.kind.lower()
        if not drive and kind not in ASPHALT | RESERVED | WALKWAYS:
            continue
        count = max(2, int(np.ceil(strip.s1 - strip.s0)) + 1)
        sides = strip.sides(np.linspace(strip.s0, strip.s1, count))
        if not max(np.abs(side).max() for side in sides) <= FARTHEST_M:
            raise ValueError(
                f"{document.path}: lane {strip.name} leads farther than {FARTHEST_M / 1000:g} km from the middle of "
                "the map; expected roads near each other"
            )
        if float(np.linalg.norm(sides[1] - sides[2], axis=1).max()) < 1e-3:
            continue
        if kind in WALKWAYS:
            walkways.append(_ring(sides))
        else:
            surfaces.append(sides)
    rings = [_ring(sides) for sides in surfaces]
    islands = small_islands(rings)
    lines = painted_lines(document, frames, strips)
    edges = without_edges_of(road_edges(surfaces), islands)
    pieces = {
        "edge": [simplified(edge, MAX_SPACING_M) for edge in edges],
        "marking": [line for line, _ in lines],
        "crosswalk": crosswalk_rings(document, frames),
        "drivable": rings + islands,
        "walkway": walkways,
    }
    return {"marking_type": np.array([kind for _, kind in lines], np.int32), **piece_fields(pieces)}


def _ring(sides: Sides) -> np.ndarray:
    """Outline of a strip as an open ring [n, 3]."""
    return np.concatenate([sides[1], sides[2][::-1]])
