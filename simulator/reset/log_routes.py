"""Routes of logged tracks: the driven path, sampled like any route, and its continuation along the lanes.

On the host, one track at a time. The path is smoothed, since annotations are noisy by decimetres. It continues along
the lane on which the track ends (the straightest successor at every fork), with a lateral offset that fades from the
track's to zero; without such a lane it continues straight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float, Float32

from simulator.config import ROUTE_SPACING_M
from simulator.conventions import LEVEL_GAP_M
from simulator.roads.polylines import arc_length, interpolated
from simulator.roads.road_map import RoadMap

PATH_JITTER_M = 0.5
"""Positions nearer to the last kept one are left out: annotations of stationary vehicles are noisy."""
SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
"""Weights of neighbouring stations, 2 m apart (our choice)."""
ON_LANE_M, ON_LANE_RAD = 3.0, np.deg2rad(45.0)
"""Largest distance and difference of heading at which a track is on a lane (our choice)."""
EASE_M = 20.0
"""Length over which the lateral offset of the continuation fades to zero (our choice)."""
_NEAREST_POINTS = 16
_DEFAULT_LIMIT_MPS = 13.9  # 50 km/h, for lanes without a limit


@dataclass(frozen=True)
class TrackRoute:
    """The route of one track: stations ROUTE_SPACING_M apart, in the frame of the scene's map."""

    xyz: np.ndarray  # [stations, 3] f32, m
    yaw: np.ndarray  # [stations] f32, rad
    limit_mps: np.ndarray  # [stations] f32
    driven_m: float  # arc length of the last logged position, m
    end_m: float  # arc length at which the lanes (or the logged positions, where no lane follows) end, m


class Lanes:
    """The lanes of one map, indexed by position."""

    def __init__(self, road_map: RoadMap) -> None:
        self._map = road_map
        self._tree = scipy.spatial.cKDTree(road_map.point_xyz[:, :2])
        self._lane_of_point = np.repeat(np.arange(road_map.num_lanes), road_map.lane_count)

    def limits(self, xyz: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Speed limit (m/s) of the lane nearest to each position."""
        _, point = self._tree.query(xyz[:, :2])
        return self._map.lane_speed_limit_mps[self._lane_of_point[point]].astype(np.float32)

    def point_at(self, xyz: Float[np.ndarray, " 3"], yaw: float) -> int | None:
        """Index of the nearest point of a lane on which a body at this position and heading is, or None."""
        count = min(_NEAREST_POINTS, len(self._map.point_xyz))
        distance, point = self._tree.query(xyz[:2], k=count, distance_upper_bound=ON_LANE_M)
        distance, point = np.atleast_1d(distance), np.atleast_1d(point)
        point = point[np.isfinite(distance)]
        turn = self._map.point_yaw[point] - yaw
        good = np.cos(turn) > np.cos(ON_LANE_RAD)
        good &= np.abs(self._map.point_xyz[point, 2] - xyz[2]) < LEVEL_GAP_M
        return int(point[good][0]) if good.any() else None

    def ahead(self, point: int, length_m: float) -> Float[np.ndarray, "n 3"]:
        """Lane points from ``point`` on along the straightest successors, in whole lanes, for at least ``length_m`` or
        until the lanes end."""
        lane = int(self._lane_of_point[point])
        pieces, length, first, seen = [], 0.0, point, set()
        while lane >= 0 and length < length_m and lane not in seen:
            seen.add(lane)
            stop = int(self._map.lane_start[lane] + self._map.lane_count[lane])
            pieces.append(self._map.point_xyz[first:stop].astype(np.float64))
            length += _length_m(pieces[-1])  # of the first lane, only what lies ahead
            lane = self._straightest(lane)
            first = int(self._map.lane_start[lane]) if lane >= 0 else 0
        return np.concatenate(pieces)

    def _straightest(self, lane: int) -> int:
        options = self._map.lane_successors[lane]
        options = options[options >= 0]
        if len(options) == 0:
            return -1
        leaving = self._map.point_yaw[self._map.lane_start[lane] + self._map.lane_count[lane] - 1]
        ends = self._map.point_yaw[self._map.lane_start[options] + self._map.lane_count[options] - 1]
        return int(options[np.argmax(np.cos(ends - leaving))])


def route_of_track(
    position: Float[np.ndarray, "steps 3"],
    valid: Bool[np.ndarray, " steps"],
    yaw: float,
    lanes: Lanes,
    stations: int,
) -> TrackRoute:
    """The route of a track from its first valid position on; ``yaw`` (rad) is its heading there.

    A path that is longer than ``stations`` allow is cut off.
    """
    longest_m = ROUTE_SPACING_M * (stations - 1)
    path = _smoothed(_subsampled(position[valid].astype(np.float64)))
    driven_m = _length_m(path)
    heading = _heading(path, yaw)
    continuation = _continuation(path[-1], heading, lanes, max(longest_m - driven_m, 0.0))
    full = np.concatenate([path, continuation])
    end_m = _length_m(full)
    last = _heading(full, heading)
    straight = full[-1] + (longest_m + ROUTE_SPACING_M) * np.array([np.cos(last), np.sin(last), 0.0])
    xyz = _resampled(np.concatenate([full, straight[None]]), stations + 1)
    step = np.diff(xyz[:, :2], axis=0)
    middle = np.concatenate([step[:1], step[1:] + step[:-1]])  # central differences
    limit = lanes.limits(xyz[:stations])
    return TrackRoute(
        xyz=xyz[:stations].astype(np.float32),
        yaw=np.arctan2(middle[:, 1], middle[:, 0]).astype(np.float32),
        limit_mps=np.where(limit > 0, limit, _DEFAULT_LIMIT_MPS).astype(np.float32),
        driven_m=min(driven_m, longest_m),
        end_m=min(end_m, longest_m),
    )


def straight_route(position: Float[np.ndarray, " 3"], yaw: float, lanes: Lanes, stations: int) -> TrackRoute:
    """A straight route from a position, for agents whose controller does not use it."""
    along = ROUTE_SPACING_M * np.arange(stations)
    heading = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    xyz = (position + along[:, None] * heading).astype(np.float32)
    limit = np.full(stations, lanes.limits(xyz[:1])[0], np.float32)
    return TrackRoute(xyz, np.full(stations, yaw, np.float32), limit, 0.0, 0.0)


def _subsampled(positions: np.ndarray) -> np.ndarray:
    """Positions at least PATH_JITTER_M from the last kept one."""
    kept = [0]
    for index in range(1, len(positions)):
        if np.linalg.norm(positions[index, :2] - positions[kept[-1], :2]) >= PATH_JITTER_M:
            kept.append(index)
    return positions[kept]


def _smoothed(path: np.ndarray) -> np.ndarray:
    """The path sampled every 2 m and smoothed; its first and last position stay."""
    length = _length_m(path)
    if length < 2 * ROUTE_SPACING_M:
        return path if length > 0 else path[:1]
    count = int(np.ceil(length / ROUTE_SPACING_M)) + 1
    even = _resampled(path, count, length / (count - 1))
    padded = np.concatenate(
        [[2 * even[0] - p for p in even[2:0:-1]], even, [2 * even[-1] - p for p in even[-2:-4:-1]]]
    )
    smooth = sum(weight * padded[i : i + len(even)] for i, weight in enumerate(SMOOTHING))
    return np.asarray(smooth)


def _continuation(end: np.ndarray, heading: float, lanes: Lanes, length_m: float) -> np.ndarray:
    """Positions [n, 3] that continue from ``end`` (left out) along its lane; none where there is no lane."""
    point = lanes.point_at(end, heading)
    if point is None or length_m <= 0:
        return np.zeros((0, 3))
    line = lanes.ahead(point, length_m)
    if len(line) < 2:
        return np.zeros((0, 3))
    count = int(_length_m(line) / ROUTE_SPACING_M) + 1
    line = _resampled(line, count)
    ahead = (line[:, :2] - end[:2]) @ np.array([np.cos(heading), np.sin(heading)])
    first = int(np.argmax(ahead > 0)) if (ahead > 0).any() else len(line)
    line = line[first:]
    if len(line) == 0:
        return line
    shift = end - line[0]
    shift[:2] -= (shift[:2] @ np.array([np.cos(heading), np.sin(heading)])) * np.array(
        [np.cos(heading), np.sin(heading)]
    )
    fade = np.clip(1.0 - ROUTE_SPACING_M * np.arange(len(line)) / EASE_M, 0.0, 1.0)
    fade = fade * fade * (3 - 2 * fade)
    return line + fade[:, None] * shift


def _heading(path: np.ndarray, fallback: float) -> float:
    """Direction (rad) in which a path ends; ``fallback`` for a path of one position."""
    if len(path) < 2:
        return fallback
    move = path[-1] - path[-2]
    return float(np.arctan2(move[1], move[0]))


def _length_m(path: np.ndarray) -> float:
    """Length (m) of a path in the plane."""
    return float(arc_length(path[:, :2])[-1])


def _resampled(path: np.ndarray, count: int, spacing_m: float = ROUTE_SPACING_M) -> np.ndarray:
    """``count`` positions along the path, ``spacing_m`` apart in the plane; the last one repeats beyond its end."""
    return interpolated(path, arc_length(path[:, :2]), spacing_m * np.arange(count))
