"""Successors of lanes and the junctions they lie in, derived from centrelines, for sources that give neither.

A lane leads into the lanes that start where it ends; lanes whose centrelines cross lie in one junction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse.csgraph
import scipy.spatial
import shapely

from simulator.conventions import LANE_JOINT_GAP_M, LEVEL_GAP_M
from simulator.roads.polylines import directions

JOINT_M = 0.7
"""A lane leads into another one that starts this close to its end (centrelines are sampled every half metre)."""
JOINT_RAD = np.deg2rad(50.0)
"""Largest difference between the headings of two lanes where one leads into the other."""
CROSSING_RAD = np.deg2rad(15.0)
"""Lanes whose centrelines intersect at a smaller angle merge or split; they do not cross."""
CROSSING_END_M = 1.0
"""An intersection this close to the ends of both lanes is a joint, not a crossing."""
JUNCTION_LANE_M = 80.0
"""Longer lanes are not counted to a junction merely because a lane with the same start or end is."""


def links_by_endpoints(centres: Sequence[np.ndarray]) -> list[list[int]]:
    """Successors of every lane: the lanes that start where its centreline [n, 3] ends, in the same direction."""
    starts = np.array([line[0] for line in centres])
    ends = np.array([line[-1] for line in centres])
    first = np.array([directions(line[:2])[0] for line in centres])
    last = np.array([directions(line[-2:])[-1] for line in centres])
    near = scipy.spatial.cKDTree(starts[:, :2]).query_ball_point(ends[:, :2], JOINT_M)
    return [
        [
            other
            for other in sorted(found)
            if other != lane
            and abs(starts[other, 2] - ends[lane, 2]) < LANE_JOINT_GAP_M
            and np.cos(first[other] - last[lane]) > np.cos(JOINT_RAD)
        ]
        for lane, found in enumerate(near)
    ]


def reversed_links(links: Sequence[Sequence[int]]) -> list[list[int]]:
    """Predecessors of every lane from successors, or the reverse."""
    result: list[list[int]] = [[] for _ in links]
    for lane, others in enumerate(links):
        for other in others:
            result[other].append(lane)
    return result


def junctions_by_crossing(
    centres: Sequence[np.ndarray],
    lengths: Sequence[float] | np.ndarray,
    successors: Sequence[Sequence[int]],
    predecessors: Sequence[Sequence[int]],
) -> list[int | None]:
    """Junction of every lane, or None outside junctions. Lanes that cross share a junction, and so do shorter lanes
    with the same start or end."""
    pairs = crossing_pairs(centres)
    crossing = {lane for pair in pairs for lane in pair}
    for links in (successors, predecessors):
        for siblings in links:
            inside = [lane for lane in siblings if lane in crossing]
            short = [lane for lane in siblings if lengths[lane] < JUNCTION_LANE_M]
            pairs += [(inside[0], lane) for lane in short if inside and lane != inside[0]]
    members = {lane for pair in pairs for lane in pair}
    rows = np.array(pairs, int).reshape(-1, 2)
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), shape=(len(centres),) * 2)
    _, group = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return [int(group[lane]) if lane in members else None for lane in range(len(centres))]


def crossing_pairs(centres: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of lanes whose centrelines [n, 3] cross on one level, away from their ends."""
    lines = np.array([shapely.LineString(line) for line in centres], dtype=object)
    first, second = shapely.STRtree(lines).query(lines, predicate="intersects")
    result = []
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if a < b and any(
            _crosses(lines[a], lines[b], point)
            for point in shapely.get_parts(shapely.intersection(lines[a], lines[b]))
        ):
            result.append((a, b))
    return result


def _crosses(a: shapely.LineString, b: shapely.LineString, part: shapely.Geometry) -> bool:
    """Whether two lines cross at this part of their intersection, rather than split, merge or pass over each other."""
    if part.geom_type != "Point":
        return False
    here = [line.project(part) for line in (a, b)]
    ends = [min(at, line.length - at) for at, line in zip(here, (a, b), strict=True)]
    if max(ends) < CROSSING_END_M:
        return False
    pieces = [
        np.array([line.interpolate(at - 0.5).coords[0], line.interpolate(at + 0.5).coords[0]])
        for at, line in zip(np.maximum(here, 0.5), (a, b), strict=True)
    ]
    if abs(pieces[0][:, 2].mean() - pieces[1][:, 2].mean()) > LEVEL_GAP_M:
        return False
    yaw = [directions(piece)[0] for piece in pieces]
    return bool(abs(np.sin(yaw[0] - yaw[1])) > np.sin(CROSSING_RAD))
