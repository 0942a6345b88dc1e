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

from gigapixel.run_folder.exit_codes import reason_of
from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.logs.import_logs import LogReader, files_matching
from simulator.logs.raw_tracks import RawTracks, vehicle_kind
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.malformed import number_of, refuse_malformed
from simulator.logs.readers.safe_pickle import GZIP
from simulator.logs.readers.waymo_map import SURFACE_STREET_MPS, MapElement, light_number, waymo_map
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import StopKind

TIMESTEP_S = 0.1
_KINDS = {"pedestrian": PEDESTRIAN, "cyclist": CYCLIST}


@refuse_malformed
def read_womd(path: Path) -> LoggedScene:
    """The scene of one file. Raises OSError for a missing file and ValueError for an invalid one; messages name file
    and field."""
    contents = _load(path)
    repairs = Repairs()
    objects = _listed(path, contents, "objects")
    steps = _length(objects[0].get("valid"))
    if steps < 2:
        raise ValueError(f"{path}: objects[0].valid has {steps} entries; expected one per step, at least 2")
    names = _names(objects)
    tracks = _tracks(path, objects, names, steps, repairs)
    elements = [element for number, road in enumerate(_listed(path, contents, "roads"))
                for element in [_element(path, number, road, repairs)] if element is not None]  # fmt: skip
    signals = _signals(path, contents.get("tl_states") or {}, steps, repairs)
    if any(element.kind == "road_line" and element.number is None for element in elements):
        repairs.add("scene without types of lanes and paint")
    name = str(contents.get("scenario_id") or path.name.split(".json")[0])
    provenance = Provenance(
        name, path.name, source_digest([path]), f"gigapixel womd {LOG_IMPORTER_VERSION}", "womd"
    )
    road = waymo_map(elements, signals, repairs)
    return build_scene(
        tracks, road, provenance, TIMESTEP_S, _ego(contents, names, tracks), SURFACE_STREET_MPS, repairs
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        contents = json.loads(gzip.decompress(raw) if raw.startswith(GZIP) else raw)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; expected a scene as .json or .json.gz") from error
    except (ValueError, EOFError, OSError, zlib.error, RecursionError) as error:
        raise ValueError(
            f"{path}: truncated or not JSON ({reason_of(error)}); expected a scene of Waymo's"
        ) from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: holds {_shown(contents)}; expected an object with objects and roads")
    return contents


def _listed(path: Path, contents: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = contents.get(name)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{path}: {name} is missing or empty; expected a list of objects")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise ValueError(f"{path}: {name}[{number}] is {_shown(item)}; expected an object")
    return value


def _names(objects: list[dict[str, Any]]) -> list[str]:
    """Identifiers of the objects; one that has none is named by its place in the file."""
    bare = all(item.get("id") is None for item in objects)
    return [
        str(item["id"]) if item.get("id") is not None else f"{number}" if bare else f"object {number}"
        for number, item in enumerate(objects)
    ]


def _tracks(
    path: Path, objects: list[dict[str, Any]], names: list[str], steps: int, repairs: Repairs
) -> RawTracks:
    rows = []
    for number, item in enumerate(objects):
        if item.get("type") not in ("vehicle", *_KINDS):
            repairs.add("objects of no known kind left out")
            continue
        rows.append((names[number], item, f"{path}: objects[{number}]"))
    if not rows:
        raise ValueError(f"{path}: objects holds no vehicle, pedestrian or cyclist; expected at least one")
    if any(item.get("id") is None for _, item, _ in rows):
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


def _number(item: dict[str, Any] | None, name: str) -> float:
    """A number of an object, NaN where there is none: the value is null or missing, or the object is null."""
    return number_of(item.get(name)) if item is not None else np.nan


def _vectors(item: dict[str, Any], name: str, axes: str, steps: int, where: str) -> np.ndarray:
    """[steps, axes]; axes that the file does not have are NaN. Positions are lowered from the centre of the box to
    the ground."""
    value = item.get(name)
    if not isinstance(value, list) or len(value) != steps:
        raise ValueError(
            f"{where}.{name} has {_length(value)} entries; expected {steps} points, one per step"
        )
    _check_points(value, f"{where}.{name}")
    result = np.array([[_number(point, axis) for axis in axes] for point in value])
    if axes == "xyz":
        result[:, 2] -= np.nan_to_num(_number(item, "height"), posinf=0.0, neginf=0.0) / 2
    return result


def _check_points(value: list[Any], where: str) -> None:
    """Raises ValueError where a list holds anything but objects and null."""
    for number, point in enumerate(value):
        if point is not None and not isinstance(point, dict):
            raise ValueError(f"{where}[{number}] is {_shown(point)}; expected a point with x and y")


def _scalars(item: dict[str, Any], name: str, steps: int, where: str) -> np.ndarray:
    value = item.get(name)
    if not isinstance(value, list) or len(value) != steps:
        raise ValueError(f"{where}.{name} has {_length(value)} entries; expected {steps}, one per step")
    return np.array([number_of(v) for v in value])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _shown(value: Any) -> str:
    """A JSON value in a few words, for error messages."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return json.dumps(value)[:40]


def _element(path: Path, number: int, road: dict[str, Any], repairs: Repairs) -> MapElement | None:
    """One map element; None for elements without enough finite points, which are counted."""
    geometry = road.get("geometry", "missing")
    if isinstance(geometry, dict):  # a stop sign may hold one bare point
        geometry = [geometry]
    if geometry is None:
        geometry = []
    if not isinstance(geometry, list):
        raise ValueError(f"{path}: roads[{number}].geometry is missing; expected a list of points")
    _check_points(geometry, f"{path}: roads[{number}].geometry")
    points = np.array([[_number(point, axis) for axis in "xyz"] for point in geometry]).reshape(-1, 3)
    if np.isnan(points[:, 2]).all():
        points[:, 2] = 0.0
    good = np.isfinite(points).all(axis=1)
    repairs.add("map points with NaN left out", (~good).sum())
    if good.sum() < (1 if road.get("type") == "stop_sign" else 2):
        repairs.add("map elements without enough points left out")
        return None
    known = road.get("map_element_id", road.get("mapElementId"))
    if known is not None and not np.isfinite(number_of(known)):
        raise ValueError(
            f"{path}: roads[{number}].map_element_id is {_shown(known)}; expected Waymo's number of a kind"
        )
    name = road.get("id")
    return MapElement(
        str(number if name is None else name),
        str(road.get("type")),
        points[good],
        None if known is None else int(known),
    )


def _signals(path: Path, tl_states: Any, steps: int, repairs: Repairs) -> list[Signal]:
    """Lights by the lane that they control; steps without a state are OFF."""
    if not isinstance(tl_states, dict):
        raise ValueError(f"{path}: tl_states is {_shown(tl_states)}; expected an object of lights by lane")
    result = []
    for lane, light in tl_states.items():
        where = f"{path}: tl_states[{json.dumps(lane)}]"
        if not isinstance(light, dict):
            raise ValueError(
                f"{where} is {_shown(light)}; expected an object with state, time_index, x, y and z"
            )
        states = _light_states(light, steps, where, repairs)
        result.append(Signal(StopKind.TRAFFIC_LIGHT, [str(lane)], _light_point(light), states))
    return result


def _light_states(light: dict[str, Any], steps: int, where: str, repairs: Repairs) -> np.ndarray:
    """States [steps] of one light, OFF where the file has none. States outside the log are remarked."""
    shown = light.get("state", [])
    times = light.get("time_index", list(range(_length(shown))))
    for name, value in (("state", shown), ("time_index", times)):
        if not isinstance(value, list):
            raise ValueError(f"{where}.{name} is {_shown(value)}; expected a list with one entry per state")
    if len(times) != len(shown):
        raise ValueError(f"{where}.time_index has {len(times)} entries; expected {len(shown)}, one per state")
    states = np.zeros(steps, np.int32)
    for number, (step, state) in enumerate(zip(times, shown, strict=True)):
        if not np.isfinite(number_of(step)):
            raise ValueError(f"{where}.time_index[{number}] is {_shown(step)}; expected the number of a step")
        if 0 <= int(step) < steps:
            states[int(step)] = light_number(state)
        else:
            repairs.remark("states of lights outside the log left out")
    return states


def _light_point(light: dict[str, Any]) -> np.ndarray | None:
    """The first stop position [3] m of a light, None where the file has none."""
    x, y, z = ([number_of(value) for value in light[axis][:1]] if isinstance(light.get(axis), list) else []
               for axis in "xyz")  # fmt: skip
    if not x or not y or not np.isfinite([*x, *y]).all():
        return None
    return np.array([*x, *y, *(z if z and np.isfinite(z[0]) else [0.0])], np.float64)


def _ego(contents: dict[str, Any], names: list[str], tracks: RawTracks) -> str | None:
    """Identifier of the ego's track, None where the file does not name it."""
    metadata = contents.get("metadata")
    index = metadata.get("sdc_track_index") if isinstance(metadata, dict) else None
    if not isinstance(index, int) or not 0 <= index < len(names):
        return None
    return names[index] if names[index] in tracks.ids else None


READER = LogReader(("logs/womd_train",), files_matching("*.json", "*.json.gz"), read_womd)
