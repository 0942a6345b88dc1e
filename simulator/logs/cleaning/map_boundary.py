"""Where a recorded scene's map ends: traffic goes on beyond it, on roads that the crop left out.

Maps of logs are cut out around the recording car. A lane that the cut ends has no lane after it (or none before it),
and a vehicle that goes on over that end is not off its road: nobody knows the road there.
"""

from __future__ import annotations

import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from simulator.conventions import TRUCK
from simulator.logs.box_geometry import OFFROAD_M, corners_of, log_edge_distance
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.road_map import RoadMap

ASIDE_M = 6.0
"""A place beyond a lane's open end is on that lane's road this far aside, and a metre more for each metre ahead."""


def beyond_map(scene: LoggedScene) -> Bool[np.ndarray, "tracks steps"]:
    """Vehicles' states that are off the road only because the map ends: each corner off the road is beyond an open end.

    The recording car is left alone.
    """
    log = scene.log
    off = (log_edge_distance(scene) < -OFFROAD_M) & (log.valid & (log.kind <= TRUCK)[:, None])[..., None]
    if log.ego_track >= 0:
        off[log.ego_track] = False
    beyond = np.zeros(off.shape, bool)
    beyond[off] = beyond_open_ends(corners_of(log)[off], scene.road_map)
    return np.asarray(off.any(axis=2) & (beyond | ~off).all(axis=2))


def beyond_open_ends(places: Float[np.ndarray, "n 2"], road_map: RoadMap) -> Bool[np.ndarray, " n"]:
    """Whether the lane point nearest to each place (m) is an open end of the map, and the place lies outwards of it."""
    outwards = _open_ends(road_map)
    nearest = scipy.spatial.cKDTree(road_map.point_xyz[:, :2]).query(places)[1]
    away, out = places - road_map.point_xyz[nearest, :2], outwards[nearest]
    ahead = (away * out).sum(axis=1)
    aside = np.abs(away[:, 0] * out[:, 1] - away[:, 1] * out[:, 0])
    return (ahead > 0) & (aside < ASIDE_M + ahead) & out.any(axis=1)


def _open_ends(road_map: RoadMap) -> Float[np.ndarray, "points 2"]:
    """Unit vector out of the map at every lane point where a lane has no next or no previous lane; zero elsewhere."""
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
