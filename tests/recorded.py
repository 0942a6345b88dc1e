"""Builders of logged scenes for the tests of all rooms: a map, a log, and the two together.

`traffic_log` fills a log from the arrays that a test is about; everything else has defaults. `logged_scene` puts it on
the road of a `RawMap`, such as `straight_road`. `recorded_scene` is one complete scene with lights and a crosswalk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.conventions import CAR, CYCLIST, GREEN, PEDESTRIAN, RED, TRUCK
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog
from simulator.roads.building.build_map import build_log_map
from simulator.roads.building.raw_map import Provenance, RawLane, RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import RoadMap, StopKind

STEPS, STEP_S = 25, 0.25
RED_STEPS = 8
"""The light of `recorded_scene` turns green after so many steps."""
SIZES = {CAR: (4.5, 1.9, 1.5), TRUCK: (8.4, 2.9, 3.1), CYCLIST: (1.8, 0.8, 1.7), PEDESTRIAN: (0.6, 0.6, 1.7)}


def provenance(name: str = "scene") -> Provenance:
    """Where a scene of this name claims to come from."""
    return Provenance(name, f"{name}.json", "0" * 64, "test", "womd")


def straight_line(start_m: float, end_m: float, points: int, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """Line [points, 3] m along x."""
    return np.stack([np.linspace(start_m, end_m, points), np.full(points, y), np.full(points, z)], axis=1)


def straight_road(length_m: float, points: int, z: float = 0.0) -> RawMap:
    """One lane from the origin eastwards, without paint and kerbs: 3.5 m wide."""
    return RawMap([RawLane("lane", straight_line(0.0, length_m, points, z=z))])


def road_map_of(
    source: RawMap, steps: int = 2, limit_mps: float = 13.0, name: str = "scene"
) -> tuple[RoadMap, np.ndarray]:
    """The road map of a source around the origin, and the light state [stops, steps] of its stop lines."""
    return build_log_map(source, provenance(name), np.zeros(3), limit_mps, steps, Repairs())


def traffic_log(
    position: np.ndarray,
    speed: np.ndarray | float,
    *,
    yaw: np.ndarray | float = 0.0,
    kind: Sequence[int] | int = CAR,
    size: np.ndarray | Sequence[Sequence[float]] | None = None,
    valid: np.ndarray | None = None,
    timestep_s: float = 0.1,
    name: str = "scene",
    track_ids: Sequence[str] | None = None,
    ego_track: int = 0,
    light_state: np.ndarray | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    repairs: Sequence[str] = (),
) -> TrafficLog:
    """A log of positions [tracks, steps, 3] m.

    `speed` (m/s), `yaw` (rad), `kind` and `size` (m; SIZES by default) may be given per state, per track or for all
    alike. States that are not `valid` (all are, by default) become zero. Without `light_state` there are no stop lines.
    """
    shape = position.shape[:2]
    kinds = np.broadcast_to(np.asarray(kind, np.int32), shape[:1])
    valid = np.ones(shape, bool) if valid is None else valid
    sizes = [SIZES[one] for one in kinds.tolist()] if size is None else size

    def per_state(value: np.ndarray | float) -> np.ndarray:
        array = np.asarray(value)
        array = array[:, None] if array.ndim == 1 else array
        return np.where(valid, array, 0.0).astype(np.float32)

    return TrafficLog(
        name=name,
        source="womd",
        source_file=f"{name}.json",
        source_sha256="0" * 64,
        importer="test",
        origin=np.array(origin, np.float64),
        timestep_s=timestep_s,
        track_ids=np.array([f"track {i}" for i in range(shape[0])] if track_ids is None else track_ids),
        kind=kinds.copy(),
        size=np.array(sizes, np.float32),
        position=np.where(valid[..., None], position, 0.0).astype(np.float32),
        yaw=per_state(yaw),
        speed=per_state(speed),
        valid=valid,
        ego_track=ego_track,
        light_state=np.zeros((0, shape[1]), np.int32) if light_state is None else light_state,
        repairs=np.array(repairs, dtype=np.str_),
    )


def logged_scene(
    source: RawMap, position: np.ndarray, speed: np.ndarray | float, limit_mps: float = 13.0, **log: object
) -> LoggedScene:
    """Tracks at positions [tracks, steps, 3] m on the road of a source; `log` as in `traffic_log`."""
    name = str(log.get("name", "scene"))
    road_map, lights = road_map_of(source, position.shape[1], limit_mps, name)
    return LoggedScene(road_map, traffic_log(position, speed, light_state=lights, **log))  # type: ignore[arg-type]


def recorded_scene(
    name: str, yaw: float = 0.0, speeds: Sequence[float] = (6.0, 5.0, 4.0), walks: bool = True
) -> LoggedScene:
    """Cars 25 m apart at constant speeds (m/s) on a lane of 160 m from the origin in direction `yaw` (rad), to a light
    and a crosswalk; a pedestrian beside it if somebody `walks`. The ego is the first car, and the rearmost."""
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    left = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    cars = len(speeds)
    speed = np.array([*speeds, *[1.0] * walks])
    start = np.array([*(5.0 + 25.0 * np.arange(cars)), *[20.0] * walks])
    aside = np.array([*[0.0] * cars, *[3.5] * walks])
    along = start[:, None] + speed[:, None] * STEP_S * np.arange(STEPS)
    position = along[..., None] * ahead + aside[:, None, None] * left
    kind = [CAR] * cars + [PEDESTRIAN] * walks
    return logged_scene(
        _road_with_light(ahead, left), position, speed, yaw=yaw, kind=kind, timestep_s=STEP_S, name=name
    )


def _road_with_light(ahead: np.ndarray, left: np.ndarray) -> RawMap:
    along = np.linspace(0, 160, 81)[:, None] * ahead
    ring = [90 * ahead + 4 * left, 94 * ahead + 4 * left, 94 * ahead - 4 * left, 90 * ahead - 4 * left]
    shown = np.repeat([RED, GREEN], [RED_STEPS, STEPS - RED_STEPS])
    return RawMap(
        [RawLane("lane", along)],
        edges=[along + 2 * left, along - 2 * left],
        crosswalks=[np.array([*ring, ring[0]])],
        signals=[Signal(StopKind.TRAFFIC_LIGHT, ["lane"], 85 * ahead, shown)],
    )
