"""Import scenes from ScenarioNet's pickles (.pkl or .pkl.gz): nuScenes, and Waymo scenes in the same format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.logs.import_logs import LogReader, files_matching
from simulator.logs.raw_tracks import RawTracks, vehicle_kind
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.malformed import refuse_malformed
from simulator.logs.readers.nuscenes import (
    CATEGORIES,
    NUSCENES_LIMIT_MPS,
    TRAILER,
    correct_nuscenes_tracks,
    nuscenes_map,
)
from simulator.logs.readers.safe_pickle import load_plain_pickle
from simulator.logs.readers.scenarionet_waymo import waymo_scene_map
from simulator.logs.readers.timestamps import even_timestep_s
from simulator.logs.readers.waymo_map import SURFACE_STREET_MPS
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance
from simulator.roads.building.repairs import Repairs

INDEX_FILES = ("dataset_summary.pkl", "dataset_mapping.pkl")
"""Of a ScenarioNet database, beside its scenes."""
_PARTS = ("position", "yaw", "velocity", "valid")
_TYPES = {"PEDESTRIAN": PEDESTRIAN, "CYCLIST": CYCLIST}

scenarionet_files = files_matching("**/*.pkl", "**/*.pkl.gz", but=INDEX_FILES)
"""All scenes in a folder and the folders below it, as ScenarioNet writes its databases; without their indices."""


@refuse_malformed
def read_scenarionet(path: Path) -> LoggedScene:
    """The scene of one file. Raises OSError for a missing file and ValueError for an invalid one; messages name file
    and field."""
    contents = load_plain_pickle(path)
    _check(path, contents)
    metadata, repairs = contents["metadata"], Repairs()
    dataset = str(metadata.get("dataset"))
    stamps = _array(metadata, "ts", f"{path}: metadata").reshape(-1)
    timestep_s = even_timestep_s(path, "metadata.ts", stamps, "s", repairs)
    ego_id = str(metadata.get("sdc_id"))
    tracks = _tracks(path, contents, repairs)
    steps = tracks.valid.shape[1]
    if len(stamps) != steps:
        raise ValueError(f"{path}: metadata.ts has {len(stamps)} entries; expected {steps}, one per step")
    if dataset == "nuscenes":
        correct_nuscenes_tracks(path, tracks, ego_id, timestep_s, repairs)
        road = nuscenes_map(path, contents["map_features"], repairs)
        source, limit = "nuscenes", NUSCENES_LIMIT_MPS
    else:
        tracks.trailer = None
        tracks.position[..., 2] -= np.nan_to_num(tracks.size[:, None, 2]) / 2  # from the centre of the box
        road = waymo_scene_map(path, contents, steps, repairs)
        source, limit = "womd", SURFACE_STREET_MPS
    importer = f"gigapixel scenarionet {LOG_IMPORTER_VERSION}"
    name = str(contents.get("id") or path.name.split(".pkl")[0])
    provenance = Provenance(name, path.name, source_digest([path]), importer, source)
    return build_scene(tracks, road, provenance, timestep_s, ego_id, limit, repairs)


def _check(path: Path, contents: Any) -> None:
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: holds a {type(contents).__name__}; expected ScenarioNet's dictionary")
    for name in ("metadata", "tracks", "map_features"):
        if not isinstance(contents.get(name), dict) or not contents[name]:
            raise ValueError(f"{path}: {name} is missing or empty; expected a dictionary")
    dataset = contents["metadata"].get("dataset")
    if not isinstance(dataset, str) or dataset not in ("nuscenes", "waymo"):
        raise ValueError(f"{path}: metadata.dataset is {repr(dataset)[:60]}; expected 'nuscenes' or 'waymo'")


def _tracks(path: Path, contents: dict[str, Any], repairs: Repairs) -> RawTracks:
    rows, trailers = [], []
    for name, track in contents["tracks"].items():
        if not isinstance(track, dict):
            raise ValueError(
                f"{path}: tracks[{str(name)!r}] is a {type(track).__name__}; expected a dictionary"
            )
        kind = _kind(track, f"{path}: tracks[{str(name)!r}].state")
        if kind is None:
            repairs.add("objects that are no road users left out")
        else:
            rows.append((str(name), kind, _states(path, name, track)))
            trailers.append(_category(track).startswith(TRAILER))
    if not rows:
        raise ValueError(f"{path}: tracks holds no road user; expected at least one")
    steps = sorted({len(states["valid"]) for _, _, states in rows})
    if len(steps) > 1:
        raise ValueError(f"{path}: tracks hold {steps[0]} to {steps[-1]} states each; expected equally many")
    return RawTracks(
        ids=[name for name, _, _ in rows],
        kind=np.array([kind for _, kind, _ in rows]),
        size=np.array([states["size"] for _, _, states in rows]),
        **{part: np.array([states[part] for _, _, states in rows]) for part in _PARTS},
        trailer=np.array(trailers),
    )


def _category(track: dict[str, Any]) -> str:
    metadata = track.get("metadata")
    return str(metadata.get("type", "")) if isinstance(metadata, dict) else ""


def _kind(track: dict[str, Any], where: str) -> int | None:
    """Kind of a track, None for cones and barriers. nuScenes' category is more detailed than ScenarioNet's type. Raises
    ValueError for a length that is no number."""
    category = _category(track)
    for start, kind in CATEGORIES.items():
        if category.startswith(start):
            return kind
    if track.get("type") == "VEHICLE":
        state = track.get("state")  # `_states` refuses tracks without one
        lengths = _array(state, "length", where) if isinstance(state, dict) else np.zeros(0)
        return vehicle_kind(np.nanmax(lengths, initial=0.0))
    return _TYPES.get(str(track.get("type")))


def _states(path: Path, name: object, track: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of one track; the size is the median over its valid steps. Raises ValueError for a missing field or a
    wrong shape."""
    where = f"{path}: tracks[{str(name)!r}].state"
    state = track.get("state")
    if not isinstance(state, dict):
        raise ValueError(f"{where} is missing; expected a dictionary of arrays")
    valid = _array(state, "valid", where).reshape(-1) > 0
    steps = len(valid)
    shapes = {"position": (steps, 3), "heading": (steps,), "velocity": (steps, 2)}
    arrays = {}
    for field, shape in shapes.items():
        arrays[field] = _array(state, field, where)
        if arrays[field].shape != shape or steps < 2:
            raise ValueError(
                f"{where}.{field} has shape {arrays[field].shape}; expected {shape}, one per step"
            )
    sides = [_array(state, side, where).reshape(-1) for side in ("length", "width", "height")]
    size = [np.median(side[valid]) if len(side) == steps and valid.any() else np.nan for side in sides]
    return {
        "size": np.array(size), "position": arrays["position"].copy(), "yaw": arrays["heading"].copy(),
        "velocity": arrays["velocity"].copy(), "valid": valid,
    }  # fmt: skip


def _array(state: Mapping[object, Any], field: str, where: str) -> np.ndarray:
    try:
        return np.asarray(state.get(field, ()), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}.{field} is no array of numbers; expected one entry per step") from error


READER = LogReader(("logs/nuscenes_scenarionet",), scenarionet_files, read_scenarionet)
