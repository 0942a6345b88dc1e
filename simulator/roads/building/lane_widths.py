"""Widths and neighbours of lanes that are given by their centrelines only, from the paint, lanes and kerbs beside them.

All lines are sampled every LANE_POINT_M. A point lies beside a station of a centreline when its longitudinal offset is
at most 0.6 LANE_POINT_M, so that no line is missed between two points. Lateral offsets are positive to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.spatial
from jaxtyping import Float, Float64, Int

from simulator.conventions import LEVEL_GAP_M
from simulator.roads.polylines import directions, resampled

LANE_POINT_M = 1.0
PARALLEL_RAD = np.deg2rad(20.0)
PAINT_M = (0.8, 3.0)
"""Range of lateral offsets at which paint may bound a lane."""
LANE_GAP_M = (2.2, 6.0)
"""Parallel centrelines this far apart have the common boundary of both lanes midway between them."""
KERB_M = (0.9, 2.8)
"""Range of lateral offsets at which a kerb may bound a lane; farther ones leave room to park."""
HALF_WIDTH_M = (1.3, 2.6)
"""Half widths are clipped to this range."""
DEFAULT_WIDTH_M = 3.5
"""Width of lanes with nothing beside them."""
KNOWN_SHARE = 0.3
"""A side is known when something bounds it along at least this share of the lane."""
NEIGHBOUR_SHARE = 0.5
"""A lane is a neighbour when it runs beside at least this share of the other."""


@dataclass(frozen=True)
class SampledLines:
    """Lines sampled at points, one line after the other."""

    xyz: np.ndarray  # [points, 3] m
    yaw: np.ndarray  # [points] rad
    line: np.ndarray  # [points] int, index of the line

    @classmethod
    def of(cls, lines: Sequence[np.ndarray], spacing_m: float | int = LANE_POINT_M) -> SampledLines:
        """Samples at most `spacing_m` apart along lines [n, 3]."""
        fine = [resampled(line, spacing_m) for line in lines]
        return cls(
            xyz=np.concatenate([np.zeros((0, 3)), *fine]),
            yaw=np.concatenate([np.zeros(0), *[directions(line) for line in fine]]),
            line=np.repeat(np.arange(len(fine)), [len(line) for line in fine]),
        )


@dataclass(frozen=True)
class LateralPairs:
    """Pairs of a station and a point beside it."""

    station: np.ndarray  # [pairs] int
    point: np.ndarray  # [pairs] int
    offset: np.ndarray  # [pairs] m, lateral, positive to the left of the station

    def where(self, chosen: np.ndarray) -> LateralPairs:
        """The chosen pairs (a mask or indices)."""
        return LateralPairs(self.station[chosen], self.point[chosen], self.offset[chosen])

    def nearest(self, stations: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Lateral distance [stations] to the nearest point on one side (+1 left, -1 right), inf where there is none,
        and the index of that point, -1 where there is none."""
        distance = np.full(stations, np.inf)
        which = np.full(stations, -1)
        mine = np.flatnonzero(self.offset * side > 0)
        far_first = mine[np.argsort(-np.abs(self.offset[mine]), kind="stable")]
        distance[self.station[far_first]] = np.abs(self.offset[far_first])  # the nearest is written last
        which[self.station[far_first]] = self.point[far_first]
        return distance, which


def lateral_pairs(stations: SampledLines, points: SampledLines, reach_m: float | int) -> LateralPairs:
    """All pairs of a station and a point beside it, on one level and within `reach_m`."""
    if len(points.xyz) == 0 or len(stations.xyz) == 0:
        return LateralPairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    here, there = scipy.spatial.cKDTree(stations.xyz[:, :2]), scipy.spatial.cKDTree(points.xyz[:, :2])
    near = here.sparse_distance_matrix(there, float(reach_m), output_type="ndarray")
    apart = points.xyz[near["j"]] - stations.xyz[near["i"]]
    cos, sin = np.cos(stations.yaw[near["i"]]), np.sin(stations.yaw[near["i"]])
    ahead = apart[:, 0] * cos + apart[:, 1] * sin
    lateral = apart[:, 1] * cos - apart[:, 0] * sin
    good = (np.abs(ahead) <= 0.6 * LANE_POINT_M) & (np.abs(apart[:, 2]) < LEVEL_GAP_M)
    return LateralPairs(near["i"][good], near["j"][good], lateral[good])


@dataclass(frozen=True)
class LaneSides:
    """Half widths and neighbours of the lanes of one map."""

    half_left_m: np.ndarray  # [lanes] distance from the centreline to the left side
    half_right_m: np.ndarray  # [lanes]
    known: np.ndarray  # [lanes] bool: at least one side was found rather than assumed
    left: np.ndarray  # [lanes] int, neighbour going the same way, -1 for none
    right: np.ndarray  # [lanes] int


def lane_sides(
    centres: Sequence[np.ndarray], paint: Sequence[np.ndarray], edges: Sequence[np.ndarray]
) -> LaneSides:
    """Half widths and neighbours of lanes that are given by their centrelines [n, 3] only.

    At every station the boundary is the nearest of paint, the middle between two parallel centrelines, and a kerb; a
    lane takes the median over its stations. A side that is bounded along less than KNOWN_SHARE of the lane takes the
    half width of the other side, and DEFAULT_WIDTH_M / 2 where neither is known. Our choice.
    """
    stations = SampledLines.of(centres)
    count, lanes = len(stations.xyz), len(centres)
    lane_pairs = _parallel(stations, lateral_pairs(stations, stations, LANE_GAP_M[1]))
    paint_pairs = lateral_pairs(stations, SampledLines.of(paint), PAINT_M[1])
    kerb_pairs = lateral_pairs(stations, SampledLines.of(edges), KERB_M[1])
    halves, neighbours = [], []
    for side in (1, -1):
        lane_gap, other = lane_pairs.nearest(count, side)
        gaps = np.stack([
            _within(paint_pairs.where(np.abs(paint_pairs.offset) >= PAINT_M[0]).nearest(count, side)[0], PAINT_M),
            lane_gap / 2,
            _within(kerb_pairs.where(np.abs(kerb_pairs.offset) >= KERB_M[0]).nearest(count, side)[0], KERB_M),
        ]).min(axis=0)  # fmt: skip
        halves.append(_medians(gaps, stations.line, lanes))
        neighbours.append(_neighbours(stations, other, lanes))
    left, right = halves
    known = np.isfinite(left) | np.isfinite(right)
    both = np.where(known, np.fmin(left, right), DEFAULT_WIDTH_M / 2)
    left, right = np.where(np.isfinite(left), left, both), np.where(np.isfinite(right), right, both)
    return LaneSides(np.clip(left, *HALF_WIDTH_M), np.clip(right, *HALF_WIDTH_M), known, *neighbours)


def _within(distance: Float[np.ndarray, " n"], limits: tuple[float, float]) -> Float64[np.ndarray, " n"]:
    return np.where((distance >= limits[0]) & (distance <= limits[1]), distance, np.inf)


def _parallel(stations: SampledLines, pairs: LateralPairs) -> LateralPairs:
    """Pairs with other lanes that run parallel, in the same or the opposite direction, within LANE_GAP_M."""
    apart = stations.yaw[pairs.station] - stations.yaw[pairs.point]
    return pairs.where(
        (stations.line[pairs.station] != stations.line[pairs.point])
        & (np.abs(np.cos(apart)) > np.cos(PARALLEL_RAD))
        & (np.abs(pairs.offset) >= LANE_GAP_M[0])
        & (np.abs(pairs.offset) <= LANE_GAP_M[1])
    )


def _medians(
    values: Float[np.ndarray, " stations"], lane: Int[np.ndarray, " stations"], lanes: int
) -> Float64[np.ndarray, " lanes"]:
    """Median of the finite values of every lane; NaN where less than KNOWN_SHARE of its stations have one."""
    result = np.full(lanes, np.nan)
    bounds = np.searchsorted(lane, np.arange(lanes + 1))
    for number in range(lanes):
        mine = values[bounds[number] : bounds[number + 1]]
        finite = mine[np.isfinite(mine)]
        if len(finite) and len(finite) >= KNOWN_SHARE * len(mine):
            result[number] = np.median(finite)
    return result


def _neighbours(
    stations: SampledLines, point: Int[np.ndarray, " stations"], lanes: int
) -> Int[np.ndarray, " lanes"]:
    """The lane of the same direction that is adjacent at most stations, or -1; `point` [stations] is the nearest
    point."""
    result = np.full(lanes, -1)
    found = (point >= 0) & (np.cos(stations.yaw - stations.yaw[point]) > 0)
    length = np.bincount(stations.line, minlength=lanes)
    votes = np.bincount(stations.line[found] * lanes + stations.line[point[found]], minlength=lanes * lanes)
    table = votes.reshape(lanes, lanes)
    best = table.argmax(axis=1)
    enough = table[np.arange(lanes), best] >= np.maximum(NEIGHBOUR_SHARE * length, 1)
    result[enough] = best[enough]
    return result
