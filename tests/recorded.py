"""A recorded scene made up by a rule, for the tests of several rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.conventions import CAR, GREEN, PEDESTRIAN, RED
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog
from simulator.roads.building.build_map import build_log_map
from simulator.roads.building.raw_map import Provenance, RawLane, RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import StopKind

STEPS, STEP_S = 25, 0.25
RED_STEPS = 8
"""The light turns green after so many steps."""


def recorded_scene(
    name: str, yaw: float = 0.0, speeds: Sequence[float] = (6.0, 5.0, 4.0), walks: bool = True
) -> LoggedScene:
    """Cars 25 m apart at constant speeds (m/s) on a lane of 160 m from the origin in direction `yaw` (rad), to a light
    and a crosswalk; a pedestrian beside it if somebody `walks`. The recording car is the first, and the rearmost."""
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    left = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    road_map, lights = build_log_map(
        _road(ahead, left),
        Provenance(name, f"{name}.json", "0" * 64, "test", "womd"),
        np.zeros(3),
        13.0,
        STEPS,
        Repairs(),
    )
    cars = len(speeds)
    kind = np.array([CAR] * cars + [PEDESTRIAN] * walks, np.int32)
    speed = np.array([*speeds, *[1.0] * walks])
    start = np.array([*(5.0 + 25.0 * np.arange(cars)), *[20.0] * walks])
    aside = np.array([*[0.0] * cars, *[3.5] * walks])
    along = start[:, None] + speed[:, None] * STEP_S * np.arange(STEPS)
    position = along[..., None] * ahead + aside[:, None, None] * left
    everybody = (len(kind), STEPS)
    log = TrafficLog(
        name=name, source="womd", source_file=f"{name}.json", source_sha256="0" * 64, importer="test",
        origin=np.zeros(3), timestep_s=STEP_S, track_ids=np.array([f"track {i}" for i in range(len(kind))]), kind=kind,
        size=np.where(kind[:, None] == CAR, (4.5, 1.9, 1.5), (0.6, 0.6, 1.7)).astype(np.float32),
        position=position.astype(np.float32), yaw=np.full(everybody, yaw, np.float32),
        speed=np.broadcast_to(speed[:, None], everybody).astype(np.float32), valid=np.ones(everybody, bool),
        ego_track=0, light_state=lights, repairs=np.zeros(0, "U1"),
    )  # fmt: skip
    return LoggedScene(road_map, log)


def _road(ahead: np.ndarray, left: np.ndarray) -> RawMap:
    along = np.linspace(0, 160, 81)[:, None] * ahead
    ring = [90 * ahead + 4 * left, 94 * ahead + 4 * left, 94 * ahead - 4 * left, 90 * ahead - 4 * left]
    shown = np.repeat([RED, GREEN], [RED_STEPS, STEPS - RED_STEPS])
    return RawMap(
        [RawLane("lane", along)],
        edges=[along + 2 * left, along - 2 * left],
        crosswalks=[np.array([*ring, ring[0]])],
        signals=[Signal(StopKind.TRAFFIC_LIGHT, ["lane"], 85 * ahead, shown)],
    )
