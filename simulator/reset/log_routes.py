"""From a recorded track to a route: the driven path, sampled like any route, and road ahead of its end.

On the host, one track at a time. The path is smoothed, since annotations wander by decimetres, and goes on along the
lane that the track ends on (the straightest way at every fork), easing from the track's offset to the lane's middle;
where there is no such lane it goes on straight.
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

JITTER_M = 0.5
"""Places nearer to the one before are left out: standing vehicles wander."""
SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
"""Weights of the stations around each one, 2 m apart (ours)."""
ON_LANE_M, ON_LANE_RAD = 3.0, np.deg2rad(45.0)
"""How near a lane must be, in place, heading and height, for a track to be on it (ours)."""
EASE_M = 20.0
"""Length over which the extension eases from the track's end to the middle of the lane (ours)."""
_NEAREST = 16
_DEFAULT_LIMIT_MPS = 13.9  # 50 km/h, for lanes without a limit


@dataclass(frozen=True)
class TrackRoute:
    """The route of one track: stations ROUTE_SPACING_M apart, in the frame of the scene's map."""

    xyz: np.ndarray  # [stations, 3] f32, m
    yaw: np.ndarray  # [stations] f32, rad
    limit_mps: np.ndarray  # [stations] f32
    driven_m: float  # route length up to the last logged place, m
    end_m: float  # route length up to where lanes (or logged places, where no lane follows) end, m


class Lanes:
    """The lanes of one map, ready to be looked up by place."""

    def __init__(self, road_map: RoadMap) -> None:
        self._map = road_map
        self._tree = scipy.spatial.cKDTree(road_map.point_xyz[:, :2])
        self._lane_of_point = np.repeat(np.arange(road_map.num_lanes), road_map.lane_count)

    def limits(self, xyz: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Speed limit (m/s) of the lane nearest to each place."""
        _, point = self._tree.query(xyz[:, :2])
        return self._map.lane_speed_limit_mps[self._lane_of_point[point]].astype(np.float32)

    def point_at(self, xyz: Float[np.ndarray, " 3"], yaw: float) -> int | None:
        """The nearest lane point that a body at this place and heading is on, or None."""
        count = min(_NEAREST, len(self._map.point_xyz))
        distance, point = self._tree.query(xyz[:2], k=count, distance_upper_bound=ON_LANE_M)
        distance, point = np.atleast_1d(distance), np.atleast_1d(point)
        point = point[np.isfinite(distance)]
        turn = self._map.point_yaw[point] - yaw
        good = np.cos(turn) > np.cos(ON_LANE_RAD)
        good &= np.abs(self._map.point_xyz[point, 2] - xyz[2]) < LEVEL_GAP_M
        return int(point[good][0]) if good.any() else None

    def ahead(self, point: int, length_m: float) -> Float[np.ndarray, "n 3"]:
        """Lane points from ``point`` on, going straightest at every fork, until ``length_m`` or the lanes' end."""
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
    """The route of a track from its first valid place on; ``yaw`` (rad) is its heading there.

    A path longer than ``stations`` allow is cut there.
    """
    room_m = ROUTE_SPACING_M * (stations - 1)
    path = _smoothed(_thinned(position[valid].astype(np.float64)))
    driven_m = _length_m(path)
    heading = _heading(path, yaw)
    beyond = _beyond(path[-1], heading, lanes, max(room_m - driven_m, 0.0))
    whole = np.concatenate([path, beyond])
    end_m = _length_m(whole)
    last = _heading(whole, heading)
    straight = whole[-1] + (room_m + ROUTE_SPACING_M) * np.array([np.cos(last), np.sin(last), 0.0])
    xyz = _resampled(np.concatenate([whole, straight[None]]), stations + 1)
    step = np.diff(xyz[:, :2], axis=0)
    middle = np.concatenate([step[:1], step[1:] + step[:-1]])  # central differences
    limit = lanes.limits(xyz[:stations])
    return TrackRoute(
        xyz=xyz[:stations].astype(np.float32),
        yaw=np.arctan2(middle[:, 1], middle[:, 0]).astype(np.float32),
        limit_mps=np.where(limit > 0, limit, _DEFAULT_LIMIT_MPS).astype(np.float32),
        driven_m=min(driven_m, room_m),
        end_m=min(end_m, room_m),
    )


def straight_route(place: Float[np.ndarray, " 3"], yaw: float, lanes: Lanes, stations: int) -> TrackRoute:
    """A straight route from a place, for agents that never look at theirs."""
    along = ROUTE_SPACING_M * np.arange(stations)
    heading = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    xyz = (place + along[:, None] * heading).astype(np.float32)
    limit = np.full(stations, lanes.limits(xyz[:1])[0], np.float32)
    return TrackRoute(xyz, np.full(stations, yaw, np.float32), limit, 0.0, 0.0)


def _thinned(places: np.ndarray) -> np.ndarray:
    """Places at least JITTER_M from the one kept before."""
    kept = [0]
    for index in range(1, len(places)):
        if np.linalg.norm(places[index, :2] - places[kept[-1], :2]) >= JITTER_M:
            kept.append(index)
    return places[kept]


def _smoothed(path: np.ndarray) -> np.ndarray:
    """The path sampled every 2 m and smoothed; its first and last place stay."""
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


def _beyond(end: np.ndarray, heading: float, lanes: Lanes, length_m: float) -> np.ndarray:
    """Places [n, 3] that go on from ``end`` along its lane, none where there is no lane; the end itself left out."""
    point = lanes.point_at(end, heading)
    if point is None or length_m <= 0:
        return np.zeros((0, 3))
    line = lanes.ahead(point, length_m)
    if len(line) < 2:
        return np.zeros((0, 3))
    count = int(_length_m(line) / ROUTE_SPACING_M) + 1
    line = _resampled(line, count)
    ahead = (line[:, :2] - end[:2]) @ np.array([np.cos(heading), np.sin(heading)])
    begin = int(np.argmax(ahead > 0)) if (ahead > 0).any() else len(line)
    line = line[begin:]
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
    """Direction (rad) in which a path ends; ``fallback`` for a path that is one place."""
    if len(path) < 2:
        return fallback
    move = path[-1] - path[-2]
    return float(np.arctan2(move[1], move[0]))


def _length_m(path: np.ndarray) -> float:
    """Length of a path seen from above."""
    return float(arc_length(path[:, :2])[-1])


def _resampled(path: np.ndarray, count: int, spacing_m: float = ROUTE_SPACING_M) -> np.ndarray:
    """``count`` places along the path (seen from above), ``spacing_m`` apart; its last place holds beyond its end."""
    return interpolated(path, arc_length(path[:, :2]), spacing_m * np.arange(count))
