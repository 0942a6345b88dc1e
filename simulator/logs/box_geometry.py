"""Boxes of a log: corners, overlaps and distances to the road edge, as `simulator.collision` but in NumPy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from simulator.config import SimulatorConfig
from simulator.conventions import LEVEL_GAP_M
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog
from simulator.roads.drivable_area import SignedDistance, drivable_area

OFFROAD_M = SimulatorConfig().offroad_margin_m
"""A box with a corner farther than this outside the drivable area is off the road, as in the simulator."""
FARTHEST_M = 8.0
"""Signed distances to the road edge are clipped to this."""
_ALONG = np.array([0.5, 0.5, -0.5, -0.5], np.float32)
_ACROSS = np.array([0.5, -0.5, -0.5, 0.5], np.float32)


def box_corners(
    xy: Float[np.ndarray, "*n 2"], yaw: Float[np.ndarray, "*n"], size: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 4 2"]:
    """Corners in metres: front-left, front-right, rear-right, rear-left."""
    along, across = _ALONG * size[..., :1], _ACROSS * size[..., 1:2]
    cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    return xy[..., None, :] + np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)


def overlapping_boxes(
    position: Float[np.ndarray, "boxes 3"],
    yaw: Float[np.ndarray, " boxes"],
    size: Float[np.ndarray, "boxes 3"],
) -> Bool[np.ndarray, "boxes boxes"]:
    """Which boxes touch or overlap on one level, by the separating-axis theorem. Symmetric; the diagonal is False."""
    length, width = 0.5 * size[:, 0], 0.5 * size[:, 1]
    cos, sin = np.cos(yaw), np.sin(yaw)
    east, north, up = (axis[None, :] - axis[:, None] for axis in position.T)  # [i, j] from i to j
    c = np.abs(cos[:, None] * cos + sin[:, None] * sin)  # cosine and sine of the angle between the two
    s = np.abs(sin[:, None] * cos - cos[:, None] * sin)
    along = np.abs(east * cos[:, None] + north * sin[:, None])  # in the frame of i
    across = np.abs(north * cos[:, None] - east * sin[:, None])
    # Not separated by the sides of i; the transpose is the same for the sides of j.
    meets = (along <= length[:, None] + length * c + width * s) & (
        across <= width[:, None] + length * s + width * c
    )
    return meets & meets.T & (np.abs(up) < LEVEL_GAP_M) & ~np.eye(len(yaw), dtype=bool)


def corners_of(log: TrafficLog) -> Float[np.ndarray, "tracks steps 4 2"]:
    """Corners of every box of a log, m; zero where a state is not valid."""
    result = np.zeros((*log.valid.shape, 4, 2))
    size = np.repeat(log.size[:, None], log.num_steps, axis=1)
    result[log.valid] = box_corners(log.position[log.valid][:, :2], log.yaw[log.valid], size[log.valid])
    return result


def overlaps_of(log: TrafficLog) -> Bool[np.ndarray, "tracks tracks steps"]:
    """Which tracks of a log overlap on one level, and when; the diagonal is False."""
    result = np.zeros((log.num_tracks, log.num_tracks, log.num_steps), bool)
    for step in range(log.num_steps):
        rows = np.flatnonzero(log.valid[:, step])
        pairs = overlapping_boxes(log.position[rows, step], log.yaw[rows, step], log.size[rows])
        result[rows[:, None], rows[None], step] = pairs
    return result


def log_edge_distance(scene: LoggedScene) -> Float32[np.ndarray, "tracks steps 4"]:
    """Signed distance of every box corner to the edge of the drivable area, m, positive inside, clipped to FARTHEST_M;
    zero where a state is not valid."""
    log = scene.log
    area = drivable_area(scene.road_map.pieces("drivable"))
    result = np.zeros((*log.valid.shape, 4), np.float32)
    points = corners_of(log)[log.valid].reshape(-1, 2)
    result[log.valid] = SignedDistance(area)(points, FARTHEST_M).reshape(-1, 4)
    return result
