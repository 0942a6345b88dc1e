"""Build a `LoggedScene` from raw tracks and a raw map: cleaned, and in one frame with its origin near the traffic."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import shapely

from simulator.conventions import TRUCK
from simulator.logs.cleaning.clean_tracks import clean_tracks
from simulator.logs.cleaning.map_boundary import beyond_map
from simulator.logs.cleaning.usable_map import leave_out_unusable
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import PARKED_M, TrafficLog, parked_tracks
from simulator.roads.building.build_map import build_log_map
from simulator.roads.building.raw_map import Provenance, RawMap
from simulator.roads.building.repairs import Repairs

LOG_IMPORTER_VERSION = 2


def source_digest(paths: list[Path]) -> str:
    """SHA-256 of the concatenated bytes of the files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build_scene(
    tracks: RawTracks,
    source_map: RawMap,
    provenance: Provenance,
    timestep_s: float | int,
    ego_id: str | None,
    default_limit_mps: float | int,
    repairs: Repairs,
) -> LoggedScene:
    """The cleaned and validated scene of a source.

    Args:
        tracks: Raw tracks, in the frame of the source; changed in place.
        source_map: Raw map, in the same frame; changed in place.
        provenance: Name and source of the scene.
        timestep_s: Length of a step.
        ego_id: Identifier of the ego's track, or None where the source does not name it.
        default_limit_mps: Speed limit of lanes for which the source gives none.
        repairs: Counts what is corrected, derived or assumed.

    Raises:
        ValueError: Something cannot be corrected; the message names the file.
    """
    try:
        tracks, speed = clean_tracks(tracks, timestep_s, repairs)
        if not tracks.ids:
            raise ValueError("no track has a valid state; expected at least one road user")
        origin = _origin(tracks)
        leave_out_unusable(source_map, origin, repairs)
        steps = tracks.valid.shape[1]
        road_map, light_state = build_log_map(
            source_map,
            provenance,
            origin,
            float(default_limit_mps),
            steps,
            repairs,
            _parked_footprints(tracks, origin),
        )
        if ego_id not in tracks.ids:
            repairs.add("self-driving car not named by the source", 1)
        log = _log(tracks, speed, provenance, origin, float(timestep_s), ego_id, light_state, repairs)
        log = _without_states_beyond_map(LoggedScene(road_map, log), repairs)
        return LoggedScene(road_map, log, dict(repairs.remarks)).validate()
    except ValueError as error:
        message = str(error)
        if message.startswith(provenance.file):
            raise
        raise ValueError(f"{provenance.file}: {message}") from error


def _parked_footprints(tracks: RawTracks, origin: np.ndarray) -> list[shapely.Polygon]:
    """Footprints of parked cars and trucks: the convex hull of all boxes of each, in the plane, relative to `origin`,
    m."""
    result = []
    for row in np.flatnonzero(parked_tracks(tracks.position, tracks.valid) & (tracks.kind <= TRUCK)):
        seen = np.flatnonzero(tracks.valid[row])
        xy = tracks.position[row, seen, :2]
        near = np.linalg.norm(xy - np.median(xy, axis=0), axis=1) < PARKED_M
        result.append(_footprint(tracks, row, seen[near], origin))
    return result


def _footprint(
    tracks: RawTracks, row: int | np.integer, steps: np.ndarray, origin: np.ndarray
) -> shapely.Polygon:
    """Convex hull of the boxes of one track at these steps, in the plane, relative to `origin`, m."""
    yaw, (length, width) = tracks.yaw[row, steps], tracks.size[row, :2]
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1) * length / 2
    left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1) * width / 2
    xy = tracks.position[row, steps, :2] - origin[:2]
    corners = [xy + ahead + left, xy + ahead - left, xy - ahead - left, xy - ahead + left]
    return shapely.convex_hull(shapely.MultiPoint(np.concatenate(corners)))


def _without_states_beyond_map(scene: LoggedScene, repairs: Repairs) -> TrafficLog:
    """The log without states beyond the boundary of the map, and without tracks that have no other states."""
    log = scene.log
    beyond = beyond_map(scene)
    repairs.add("states beyond the end of the map made invalid", beyond.sum())
    valid = log.valid & ~beyond
    seen = valid.any(axis=1)
    repairs.add("tracks beyond the end of the map left out", (~seen).sum())
    hidden = {
        name: np.where(valid.reshape(valid.shape + (1,) * (array.ndim - 2)), array, np.zeros_like(array))[
            seen
        ]
        for name, array in (("position", log.position), ("yaw", log.yaw), ("speed", log.speed))
    }
    ego = -1 if log.ego_track < 0 else int(seen[: log.ego_track].sum())
    return dataclasses.replace(
        log, track_ids=log.track_ids[seen], kind=log.kind[seen], size=log.size[seen], valid=valid[seen],
        ego_track=ego, repairs=repairs.lines(), **hidden,
    )  # fmt: skip


def _origin(tracks: RawTracks) -> np.ndarray:
    """The median position of all traffic [3], rounded to whole metres."""
    return np.round(np.median(tracks.position[tracks.valid], axis=0)).astype(np.float64)


def _log(
    tracks: RawTracks, speed: np.ndarray, provenance: Provenance, origin: np.ndarray, timestep_s: float,
    ego_id: str | None, light_state: np.ndarray, repairs: Repairs,
) -> TrafficLog:  # fmt: skip
    seen = tracks.valid
    position = np.where(seen[..., None], tracks.position - origin, 0.0)
    return TrafficLog(
        name=provenance.name, source=provenance.source, source_file=provenance.file, source_sha256=provenance.sha256,
        importer=provenance.importer, origin=origin, timestep_s=timestep_s,
        track_ids=np.array(tracks.ids, dtype=np.str_), kind=tracks.kind.astype(np.int32),
        size=tracks.size.astype(np.float32), position=position.astype(np.float32),
        yaw=np.where(seen, tracks.yaw, 0.0).astype(np.float32), speed=np.where(seen, speed, 0.0).astype(np.float32),
        valid=seen, ego_track=tracks.ids.index(ego_id) if ego_id in tracks.ids else -1,
        light_state=light_state, repairs=repairs.lines(),
    )  # fmt: skip
