"""Import an OpenDRIVE map (CARLA's towns, or any .xodr file) as a `RoadMap`, read by py123d.

py123d converts the road description into lanes, boundaries, road edges, painted lines, crosswalks and stop zones; here
these objects are resampled, indexed and checked. Only importers need py123d: the maps that they write as HDF5 can be
read without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.roads.lane_geometry import resample_lane
from simulator.roads.polylines import arc_length, simplified
from simulator.roads.road_map import (
    MAX_EDGE_LENGTH_M,
    MAX_SPACING_M,
    MarkingType,
    RoadMap,
    pack_pieces,
    pad_indices,
)
from simulator.roads.stop_lines import derive_stop_lines

IMPORTER_VERSION = 6
DEFAULT_SPEED_LIMIT_MPS = 13.9  # 50 km/h, the usual urban limit, where the file gives none

_log = logging.getLogger(__name__)
_MARKINGS = {
    "SOLID_WHITE": MarkingType.SOLID_WHITE, "DASHED_WHITE": MarkingType.DASHED_WHITE,
    "DOUBLE_SOLID_WHITE": MarkingType.DOUBLE_WHITE, "DOUBLE_DASH_WHITE": MarkingType.DASHED_WHITE,
    "SOLID_DASH_WHITE": MarkingType.DOUBLE_WHITE, "DASH_SOLID_WHITE": MarkingType.DOUBLE_WHITE,
    "SOLID_YELLOW": MarkingType.SOLID_YELLOW, "DASHED_YELLOW": MarkingType.DASHED_YELLOW,
    "DOUBLE_SOLID_YELLOW": MarkingType.DOUBLE_YELLOW, "DOUBLE_DASH_YELLOW": MarkingType.DASHED_YELLOW,
    "SOLID_DASH_YELLOW": MarkingType.DOUBLE_YELLOW, "DASH_SOLID_YELLOW": MarkingType.DOUBLE_YELLOW,
}  # fmt: skip


def import_town(name_or_path: str | Path) -> RoadMap:
    """Import a bundled CARLA town by name ('Town01') or any .xodr or .xodr.gz file by path.

    A lane whose file gives no speed limit gets DEFAULT_SPEED_LIMIT_MPS (logged once per map).
    """
    path = find_source(name_or_path)
    objects = _read_objects(path)
    lanes = _of_type(objects, "Lane")
    if not lanes:
        # py123d leaves out roads that are not linked at both ends (the inside of parking houses).
        raise ValueError(
            f"{path}: no driving lanes; expected roads linked at both ends with lanes of type 'driving'"
        )
    name = path.name.removesuffix(".gz").removesuffix(".xodr")
    return _build(name, path, objects, lanes).validate()


def find_source(name_or_path: str | Path) -> Path:
    """Path of the OpenDRIVE file of a town name or path. Raises ValueError for an unknown name, FileNotFoundError for
    a missing file."""
    path = Path(name_or_path)
    if path.suffix in (".xodr", ".gz") or len(path.parts) > 1:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such OpenDRIVE file; expected a .xodr or .xodr.gz file")
        return path
    towns = known_towns()
    if str(name_or_path) not in towns:
        raise ValueError(
            f"map {str(name_or_path)!r} is unknown; expected one of {', '.join(towns)}, Made-<number> or a path to a "
            ".xodr[.gz] file"
        )
    return towns[str(name_or_path)]


def known_towns() -> dict[str, Path]:
    """CARLA's towns bundled with py123d, by name. Empty where py123d is not installed."""
    spec = importlib.util.find_spec("py123d")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "parser" / "opendrive" / "carla_maps"
    return {path.name.removesuffix(".xodr.gz"): path for path in sorted(folder.glob("Town*.xodr.gz"))}


def source_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_objects(path: Path) -> list[Any]:
    """All map objects of the file. Raises ValueError, whatever the reader raises."""
    try:
        from py123d.parser.opendrive.opendrive_map_parser import iter_xodr_map_objects
    except ImportError as error:
        raise ValueError(f"{path}: importing OpenDRIVE needs py123d ({error}); pip install py123d") from error
    printed = io.StringIO()
    try:
        # The reader prints the roads that it cannot parse and continues without them; such files are refused.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            objects = list(iter_xodr_map_objects(path))
    except Exception as error:  # a third-party parser fails in as many ways as there are broken files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"{path}: not a readable OpenDRIVE map ({reason}); expected an intact .xodr[.gz]"
        ) from error
    broken = [line for line in printed.getvalue().splitlines() if line.startswith("Error parsing")]
    if broken:
        raise ValueError(
            f"{path}: {len(broken)} road(s) cannot be parsed, first: {broken[0]}; expected valid roads"
        )
    return objects


def _of_type(objects: Sequence[Any], name: str) -> list[Any]:
    return [item for item in objects if type(item).__name__ == name]


def _build(name: str, path: Path, objects: list[Any], lanes: list[Any]) -> RoadMap:
    index = {str(lane.object_id): number for number, lane in enumerate(lanes)}
    stations = [resample_lane(*_lane_lines(lane, path)) for lane in lanes]
    centre, start, count = pack_pieces([lane[0] for lane in stations])
    groups = {str(group.object_id): group.intersection_id for group in _of_type(objects, "LaneGroup")}
    raw_junction = [groups.get(str(lane.lane_group_id)) for lane in lanes]
    successors = _links(lanes, "successor_ids", index)
    predecessors = _links(lanes, "predecessor_ids", index)
    stop_lines, lane_junction = derive_stop_lines(
        stations, raw_junction, predecessors, _stop_zones(objects, index)
    )
    return RoadMap(
        name=name, source_file=path.name, source_sha256=source_sha256(path), importer=_importer(),
        lane_ids=np.array(list(index)), lane_start=start, lane_count=count,
        point_xyz=centre, point_yaw=np.concatenate([lane[3] for lane in stations]).astype(np.float32),
        point_left_xyz=np.concatenate([lane[1] for lane in stations]).astype(np.float32),
        point_right_xyz=np.concatenate([lane[2] for lane in stations]).astype(np.float32),
        lane_length_m=np.array([_length(lane.centerline.array) for lane in lanes], np.float32),
        lane_speed_limit_mps=_speed_limits(name, lanes),
        lane_width_m=np.array([np.linalg.norm(s[1] - s[2], axis=1).mean() for s in stations], np.float32),
        lane_successors=pad_indices(successors), lane_predecessors=pad_indices(predecessors),
        lane_left=_neighbours(lanes, "left_lane_id", index, stations),
        lane_right=_neighbours(lanes, "right_lane_id", index, stations),
        lane_junction=lane_junction, **_map_features(objects, lanes), **stop_lines,
    )  # fmt: skip


def _importer() -> str:
    return f"gigapixel opendrive {IMPORTER_VERSION}, py123d {importlib.metadata.version('py123d')}"


def _lane_lines(lane: Any, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centreline, left and right boundary as float64 [n, 3] m. Raises ValueError for lines of one point or with NaN."""
    lines = tuple(
        np.asarray(getattr(lane, part).array, np.float64)
        for part in ("centerline", "left_boundary", "right_boundary")
    )
    for part, line in zip(("centerline", "left_boundary", "right_boundary"), lines, strict=True):
        if len(line) < 2 or not np.isfinite(line).all():
            raise ValueError(f"{path}: lane {lane.object_id} has a {part} of {len(line)} points that are short of "
                             "two or not finite; expected at least 2 finite points")  # fmt: skip
    return lines  # type: ignore[return-value]


def _length(line: np.ndarray) -> float:
    return max(float(arc_length(np.asarray(line, np.float64))[-1]), 1e-3)


def _links(lanes: list[Any], field: str, index: dict[str, int]) -> list[list[int]]:
    """Linked lanes in increasing order: the reader keeps them in sets, whose order changes between runs."""
    return [sorted(index[str(i)] for i in getattr(lane, field) if str(i) in index) for lane in lanes]


def _neighbours(lanes: list[Any], field: str, index: dict[str, int], stations: list[tuple]) -> np.ndarray:
    """Neighbour lane [lanes], -1 for none and for neighbours of the opposite direction."""
    result = np.full(len(lanes), -1, np.int32)
    for number, lane in enumerate(lanes):
        other = index.get(str(getattr(lane, field)))
        if other is not None and np.cos(stations[number][3][0] - stations[other][3][0]) > 0.5:
            result[number] = other
    return result


def _speed_limits(name: str, lanes: list[Any]) -> np.ndarray:
    limits = [lane.speed_limit_mps for lane in lanes]
    missing = sum(limit is None for limit in limits)
    if missing:
        _log.warning("%s: %d of %d lanes give no speed limit; using %.1f m/s", name, missing, len(lanes),
                     DEFAULT_SPEED_LIMIT_MPS)  # fmt: skip
    return np.array([DEFAULT_SPEED_LIMIT_MPS if limit is None else limit for limit in limits], np.float32)


def _stop_zones(objects: list[Any], index: dict[str, int]) -> list[tuple[str, list[int]]]:
    """(kind name, controlled lanes) of every stop zone that controls a known lane."""
    zones = []
    for zone in _of_type(objects, "StopZone"):
        members = [index[str(i)] for i in zone.lane_ids if str(i) in index]
        if members:
            zones.append((zone.stop_zone_type.name, members))
    return zones


def _map_features(objects: list[Any], lanes: list[Any]) -> dict[str, np.ndarray]:
    """Road edges, painted lines, crosswalks, drivable polygons and walkways as flat arrays, by field of `RoadMap`."""
    from simulator.roads.drivable_area import small_islands, without_edges_of  # needs Shapely

    lines = [line for line in _of_type(objects, "RoadLine") if line.road_line_type.name in _MARKINGS]
    others = _of_type(objects, "Carpark") + _of_type(objects, "GenericDrivable")
    surfaces = [_ring(item) for item in lanes + others]
    islands = small_islands(surfaces)
    edges = _road_edges(lanes, _of_type(objects, "LaneGroup"), others)
    pieces = {
        "edge": [simplified(edge, MAX_SPACING_M) for edge in without_edges_of(edges, islands)],
        "marking": [np.asarray(line.polyline.array, np.float64) for line in lines],
        "crosswalk": [_ring(item) for item in _of_type(objects, "Crosswalk")],
        "drivable": surfaces + islands,
        "walkway": [_ring(item) for item in _of_type(objects, "Walkway")],
    }
    flat: dict[str, np.ndarray] = {
        "marking_type": np.array([_MARKINGS[line.road_line_type.name] for line in lines], np.int32)
    }
    for kind, items in pieces.items():
        parts = pack_pieces([item for item in items if len(item) >= 2])
        flat |= dict(zip((f"{kind}_points", f"{kind}_start", f"{kind}_count"), parts, strict=True))
    return flat


def _road_edges(lanes: list[Any], lane_groups: list[Any], others: list[Any]) -> list[np.ndarray]:
    """Outlines of the drivable area, [n, 3] m each.

    py123d's own road edges separate lanes from parking bays. Ours are the edge of the drivable area, so all other
    drivable surfaces are part of the union.
    """
    from py123d.parser.utils.map_utils.road_edge import road_edge_2d_utils, road_edge_3d_utils

    edges = road_edge_3d_utils.get_road_edges_3d_from_drivable_surfaces(
        lanes, lane_groups, car_parks=[], generic_drivables=others
    )
    pieces = road_edge_2d_utils.split_line_geometry_by_max_length(
        [edge.linestring for edge in edges], MAX_EDGE_LENGTH_M
    )
    return [np.asarray(piece.coords, np.float64) for piece in pieces]


def _ring(item: Any) -> np.ndarray:
    """Outline as an open ring [n, 3]."""
    ring = np.asarray(item.outline.array, np.float64)
    return ring[:-1] if len(ring) > 1 and np.allclose(ring[0], ring[-1]) else ring
