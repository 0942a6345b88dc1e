"""Import scenes from ScenarioNet's pickles (.pkl or .pkl.gz): nuScenes, and Waymo scenes in the same format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.conventions import CYCLIST, PEDESTRIAN
from simulator.logs.import_logs import LogReader, files_matching
from simulator.logs.raw_tracks import RawTracks, vehicle_kind
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
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

_PARTS = ("position", "yaw", "velocity", "valid")
_TYPES = {"PEDESTRIAN": PEDESTRIAN, "CYCLIST": CYCLIST}


def read_scenarionet(path: Path) -> LoggedScene:
    """The scene of one file. Raises OSError for a missing file and ValueError for an invalid one; messages name file
    and field."""
    contents = load_plain_pickle(path)
    _check(path, contents)
    metadata, repairs = contents["metadata"], Repairs()
    dataset = str(metadata.get("dataset"))
    timestep_s = even_timestep_s(path, "metadata.ts", np.asarray(metadata.get("ts", ()), np.float64))
    ego_id = str(metadata.get("sdc_id"))
    tracks = _tracks(path, contents, dataset, ego_id, repairs)
    steps = tracks.valid.shape[1]
    if dataset == "waymo":
        road = waymo_scene_map(path, contents, steps, repairs)
        source, limit = "womd", SURFACE_STREET_MPS
    else:
        road = nuscenes_map(path, contents["map_features"])
        source, limit = "nuscenes", NUSCENES_LIMIT_MPS
    importer = f"gigapixel scenarionet {LOG_IMPORTER_VERSION}"
    provenance = Provenance(str(contents.get("id")), path.name, source_digest([path]), importer, source)
    return build_scene(tracks, road, provenance, timestep_s, ego_id, limit, repairs)


def _check(path: Path, contents: Any) -> None:
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: holds a {type(contents).__name__}; expected ScenarioNet's dictionary")
    for name in ("metadata", "tracks", "map_features"):
        if not isinstance(contents.get(name), dict) or not contents[name]:
            raise ValueError(f"{path}: {name} is missing or empty; expected a dictionary")
    if contents["metadata"].get("dataset") not in ("nuscenes", "waymo"):
        raise ValueError(
            f"{path}: metadata.dataset is {contents['metadata'].get('dataset')!r}; expected 'nuscenes' or 'waymo'"
        )


def _tracks(path: Path, contents: dict[str, Any], dataset: str, ego_id: str, repairs: Repairs) -> RawTracks:
    rows, trailers = [], []
    for name, track in contents["tracks"].items():
        kind = _kind(track)
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
    result = RawTracks(
        ids=[name for name, _, _ in rows],
        kind=np.array([kind for _, kind, _ in rows]),
        size=np.array([states["size"] for _, _, states in rows]),
        **{part: np.array([states[part] for _, _, states in rows]) for part in _PARTS},
        trailer=np.array(trailers) if dataset == "nuscenes" else None,
    )  # fmt: skip
    if dataset == "nuscenes":
        correct_nuscenes_tracks(result, ego_id, repairs)
    else:  # Waymo's positions are the centres of boxes
        result.position[..., 2] -= np.nan_to_num(result.size[:, None, 2]) / 2
    return result


def _category(track: dict[str, Any]) -> str:
    return str(track.get("metadata", {}).get("type", ""))


def _kind(track: dict[str, Any]) -> int | None:
    """Kind of a track, None for cones and barriers. nuScenes' category is more detailed than ScenarioNet's type."""
    category = _category(track)
    for start, kind in CATEGORIES.items():
        if category.startswith(start):
            return kind
    if track.get("type") == "VEHICLE":
        lengths = (track.get("state") or {}).get("length", ())  # `_states` refuses tracks without a state
        return vehicle_kind(np.nanmax(np.asarray(lengths, np.float64), initial=0.0))
    return _TYPES.get(str(track.get("type")))


def _states(path: Path, name: object, track: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of one track; the size is the median over its valid steps. Raises ValueError for a missing field or a
    wrong shape."""
    where = f"{path}: tracks[{str(name)!r}].state"
    state = track.get("state")
    if not isinstance(state, dict):
        raise ValueError(f"{where} is missing; expected a dictionary of arrays")
    valid = np.asarray(state.get("valid", ()), np.float64).reshape(-1) > 0
    steps = len(valid)
    shapes = {"position": (steps, 3), "heading": (steps,), "velocity": (steps, 2)}
    arrays = {}
    for field, shape in shapes.items():
        arrays[field] = np.asarray(state.get(field, ()), np.float64)
        if arrays[field].shape != shape or steps < 2:
            raise ValueError(
                f"{where}.{field} has shape {arrays[field].shape}; expected {shape}, one per step"
            )
    sides = [
        np.asarray(state.get(side, np.nan), np.float64).reshape(-1) for side in ("length", "width", "height")
    ]
    size = [np.median(side[valid]) if len(side) == steps and valid.any() else np.nan for side in sides]
    return {
        "size": np.array(size), "position": arrays["position"].copy(), "yaw": arrays["heading"].copy(),
        "velocity": arrays["velocity"].copy(), "valid": valid,
    }  # fmt: skip


READER = LogReader(("logs/nuscenes_scenarionet",), files_matching("*.pkl", "*.pkl.gz"), read_scenarionet)
