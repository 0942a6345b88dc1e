"""Import Waymo Open Motion scenes from the JSON of Nocturne and GPUDrive (.json or .json.gz).

One file is one scene of 9.1 s at 10 Hz. Older files have headings in degrees, no heights, no identifiers and no types
of lanes and markings; newer ones have all of them. What is missing is derived or assumed, and counted by name.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.logs.import_logs import LogReader, files_matching
from simulator.logs.raw_tracks import RawTracks, vehicle_kind
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.waymo_map import SURFACE_STREET_MPS, MapElement, light_number, waymo_map
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import StopKind

TIMESTEP_S = 0.1
_KINDS = {"pedestrian": PEDESTRIAN, "cyclist": CYCLIST}


def read_womd(path: Path) -> LoggedScene:
    """The scene of one file. Raises OSError for a missing file and ValueError for an invalid one; messages name file
    and field."""
    contents = _load(path)
    repairs = Repairs()
    objects = _listed(path, contents, "objects")
    steps = len(objects[0].get("valid", ())) if objects else 0
    if steps < 2:
        raise ValueError(f"{path}: objects[0].valid has {steps} entries; expected one per step, at least 2")
    tracks = _tracks(path, objects, steps, repairs)
    elements = [element for number, road in enumerate(_listed(path, contents, "roads"))
                for element in [_element(path, number, road, repairs)] if element is not None]  # fmt: skip
    signals = _signals(contents.get("tl_states") or {}, steps)
    if any(element.kind == "road_line" and element.number is None for element in elements):
        repairs.add("scene without types of lanes and paint")
    name = str(contents.get("scenario_id") or path.name.split(".json")[0])
    provenance = Provenance(
        name, path.name, source_digest([path]), f"gigapixel womd {LOG_IMPORTER_VERSION}", "womd"
    )
    road = waymo_map(elements, signals, repairs)
    return build_scene(
        tracks, road, provenance, TIMESTEP_S, _ego(contents, tracks), SURFACE_STREET_MPS, repairs
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        contents = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; expected a scene as .json or .json.gz") from error
    except (ValueError, EOFError, OSError, zlib.error) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path}: truncated or not JSON ({reason}); expected a scene of Waymo's") from error
    if not isinstance(contents, dict):
        raise ValueError(
            f"{path}: holds a {type(contents).__name__}; expected an object with objects and roads"
        )
    return contents


def _listed(path: Path, contents: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = contents.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{path}: {name} is missing or empty; expected a list of objects")
    return value


def _tracks(path: Path, objects: list[dict[str, Any]], steps: int, repairs: Repairs) -> RawTracks:
    rows = []
    for number, item in enumerate(objects):
        if item.get("type") not in ("vehicle", *_KINDS):
            repairs.add("objects of no known kind left out")
            continue
        rows.append((str(item.get("id", number)), item, f"{path}: objects[{number}]"))
    if not rows:
        raise ValueError(f"{path}: objects holds no vehicle, pedestrian or cyclist; expected at least one")
    if any("id" not in item for _, item, _ in rows):
        repairs.add("tracks named by their place in the file", len(rows))
    size = np.array([[_number(item, side) for side in ("length", "width", "height")] for _, item, _ in rows])
    kind = [_KINDS.get(item["type"], vehicle_kind(size[row, 0])) for row, (_, item, _) in enumerate(rows)]
    return RawTracks(
        ids=[name for name, _, _ in rows],
        kind=np.array(kind),
        size=size,
        position=np.array([_vectors(item, "position", "xyz", steps, where) for _, item, where in rows]),
        yaw=np.array([_scalars(item, "heading", steps, where) for _, item, where in rows]),
        velocity=np.array([_vectors(item, "velocity", "xy", steps, where) for _, item, where in rows]),
        valid=np.array([_scalars(item, "valid", steps, where) for _, item, where in rows]) > 0,
    )


def _number(item: dict[str, Any], name: str) -> float:
    value = item.get(name)
    return float(value) if isinstance(value, int | float) else np.nan


def _vectors(item: dict[str, Any], name: str, axes: str, steps: int, where: str) -> np.ndarray:
    """[steps, axes]; axes that the file does not have are NaN. Positions are lowered from the centre of the box to
    the ground."""
    value = item.get(name)
    if not isinstance(value, list) or len(value) != steps or not all(isinstance(v, dict) for v in value):
        raise ValueError(
            f"{where}.{name} has {_length(value)} entries; expected {steps} points, one per step"
        )
    result = np.array([[_number(point, axis) for axis in axes] for point in value])
    if axes == "xyz":
        result[:, 2] -= np.nan_to_num(_number(item, "height")) / 2
    return result


def _scalars(item: dict[str, Any], name: str, steps: int, where: str) -> np.ndarray:
    value = item.get(name)
    if not isinstance(value, list) or len(value) != steps:
        raise ValueError(f"{where}.{name} has {_length(value)} entries; expected {steps}, one per step")
    return np.array([float(v) if isinstance(v, int | float) else np.nan for v in value])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _element(path: Path, number: int, road: dict[str, Any], repairs: Repairs) -> MapElement | None:
    """One map element; None for elements without enough finite points, which are counted."""
    geometry = road.get("geometry")
    if isinstance(geometry, dict):  # a stop sign may hold one bare point
        geometry = [geometry]
    if not isinstance(geometry, list):
        raise ValueError(f"{path}: roads[{number}].geometry is missing; expected a list of points")
    points = np.array([[_number(point, axis) for axis in "xyz"] for point in geometry]).reshape(-1, 3)
    if np.isnan(points[:, 2]).all():
        points[:, 2] = 0.0
    good = np.isfinite(points).all(axis=1)
    repairs.add("map points with NaN left out", (~good).sum())
    if good.sum() < (1 if road.get("type") == "stop_sign" else 2):
        repairs.add("map elements without enough points left out")
        return None
    known = road.get("map_element_id", road.get("mapElementId"))
    return MapElement(
        str(road.get("id", number)),
        str(road.get("type")),
        points[good],
        None if known is None else int(known),
    )


def _signals(tl_states: dict[str, Any], steps: int) -> list[Signal]:
    """Lights by the lane that they control; steps without a state are OFF."""
    result = []
    for lane, light in tl_states.items():
        states = np.zeros(steps, np.int32)
        times = light.get("time_index", range(len(light.get("state", ()))))
        for step, state in zip(times, light.get("state", ()), strict=False):
            if 0 <= int(step) < steps:
                states[int(step)] = light_number(state)
        points = [light.get(axis) for axis in "xyz"]
        point = None
        if isinstance(points[0], list) and points[0] and isinstance(points[1], list):
            height = points[2][0] if isinstance(points[2], list) and points[2] else 0.0
            point = np.array([points[0][0], points[1][0], height], np.float64)
        result.append(Signal(StopKind.TRAFFIC_LIGHT, [str(lane)], point, states))
    return result


def _ego(contents: dict[str, Any], tracks: RawTracks) -> str | None:
    """Identifier of the ego's track, None where the file does not name it."""
    metadata = contents.get("metadata")
    index = metadata.get("sdc_track_index") if isinstance(metadata, dict) else None
    objects = contents["objects"]
    if not isinstance(index, int) or not 0 <= index < len(objects):
        return None
    name = str(objects[index].get("id", index))
    return name if name in tracks.ids else None


READER = LogReader(("logs/womd_train",), files_matching("*.json", "*.json.gz"), read_womd)
