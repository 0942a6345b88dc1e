"""States beyond the boundary of a log's map, where traffic continues on roads that the crop left out.

Maps of logs are cropped around the ego. A lane that the crop ends has no successor (or predecessor), and a vehicle
that drives on past that end is not off-road: the road there is unknown.
"""

from __future__ import annotations

import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from simulator.conventions import TRUCK
from simulator.logs.box_geometry import OFFROAD_M, corners_of, log_edge_distance
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.road_map import RoadMap

LATERAL_M = 6.0
"""A position past the open end of a lane belongs to that lane's road up to this lateral offset, and 1 m more per
metre ahead."""


def beyond_map(scene: LoggedScene) -> Bool[np.ndarray, "tracks steps"]:
    """States of vehicles that are off the road only because the map ends: each corner off the road is past an open end.

    States of the ego are never marked.
    """
    log = scene.log
    off = (log_edge_distance(scene) < -OFFROAD_M) & (log.valid & (log.kind <= TRUCK)[:, None])[..., None]
    if log.ego_track >= 0:
        off[log.ego_track] = False
    beyond = np.zeros(off.shape, bool)
    beyond[off] = beyond_open_ends(corners_of(log)[off], scene.road_map)
    return np.asarray(off.any(axis=2) & (beyond | ~off).all(axis=2))


def beyond_open_ends(xy: Float[np.ndarray, "n 2"], road_map: RoadMap) -> Bool[np.ndarray, " n"]:
    """Whether the lane point nearest to each position (m) is an open end of the map, and the position lies past it."""
    outwards = _open_ends(road_map)
    nearest = scipy.spatial.cKDTree(road_map.point_xyz[:, :2]).query(xy)[1]
    away, out = xy - road_map.point_xyz[nearest, :2], outwards[nearest]
    ahead = (away * out).sum(axis=1)
    lateral = np.abs(away[:, 0] * out[:, 1] - away[:, 1] * out[:, 0])
    return (ahead > 0) & (lateral < LATERAL_M + ahead) & out.any(axis=1)


def _open_ends(road_map: RoadMap) -> Float[np.ndarray, "points 2"]:
    """Unit vector out of the map at every lane point where a lane ends without successor or starts without
    predecessor; zero elsewhere."""
    result = np.zeros((len(road_map.point_xyz), 2))
    last = road_map.lane_start + road_map.lane_count - 1
    for points, links, sign in (
        (last, road_map.lane_successors, 1.0),
        (road_map.lane_start, road_map.lane_predecessors, -1.0),
    ):
        ends = points[(links < 0).all(axis=1)]
        yaw = road_map.point_yaw[ends].astype(np.float64)
        result[ends] = sign * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return result
