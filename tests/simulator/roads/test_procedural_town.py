"""Procedural towns are a function of their number; lanes are connected, roads keep apart, bends turn both ways."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import shapely

from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.procedural_names import procedural_number
from simulator.roads.sources.procedural_town import (
    LEAST_RADIUS_M,
    LEAST_TURN_RADIUS_M,
    WIDTH_M,
    generate_town,
)

NUMBERS = (0, 1, 2, 3)


@pytest.fixture(scope="module", params=NUMBERS)
def town(request: pytest.FixtureRequest) -> RoadMap:
    return generate_town(request.param)


def points(town: RoadMap, lane: int, name: str = "point_xyz") -> np.ndarray:
    start = town.lane_start[lane]
    return getattr(town, name)[start : start + town.lane_count[lane], :2].astype(np.float64)


def strip(town: RoadMap, lane: int) -> shapely.Polygon:
    sides = points(town, lane, "point_left_xyz"), points(town, lane, "point_right_xyz")[::-1]
    return shapely.Polygon(np.vstack(sides)).buffer(0)


def curvature(line: np.ndarray) -> np.ndarray:
    """Signed curvature, 1/m, over pieces of about two metres."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    even = np.linspace(0, arc[-1], max(3, int(arc[-1] / 2)))
    xy = np.stack([np.interp(even, arc, line[:, axis]) for axis in (0, 1)], axis=1)
    yaw = np.unwrap(np.arctan2(*np.diff(xy, axis=0).T[::-1]))
    return np.diff(yaw) / (even[1] - even[0])


def test_a_town_is_a_function_of_its_number(town: RoadMap) -> None:
    again = generate_town(int(town.name.removeprefix("Made-")))
    assert all(np.array_equal(getattr(town, name), getattr(again, name)) for name in vars(town))
    assert not np.array_equal(town.point_xyz, generate_town(99).point_xyz)


def test_every_lane_can_be_reached_from_every_other(town: RoadMap) -> None:
    seen, waiting = {0}, deque([0])
    while waiting:
        for after in town.lane_successors[waiting.popleft()]:
            if after >= 0 and after not in seen:
                seen.add(int(after))
                waiting.append(int(after))
    assert len(seen) == town.num_lanes
    back = {int(before) for row in town.lane_predecessors for before in row if before >= 0}
    assert (
        len(back) == town.num_lanes
    )  # every lane is somebody's predecessor, so the way is open in both senses


def test_roads_do_not_overlap(town: RoadMap) -> None:
    """Lanes outside intersections share boundaries at most; a box of 2 m in the middle of any lane is on the road."""
    outside = [strip(town, lane) for lane in range(town.num_lanes) if town.lane_junction[lane] < 0]
    shared = shapely.union_all(outside).area
    assert shared == pytest.approx(sum(one.area for one in outside), rel=0.01)
    rings = [
        town.drivable_points[a : a + n, :2]
        for a, n in zip(town.drivable_start, town.drivable_count, strict=True)
    ]
    road = shapely.union_all([shapely.Polygon(ring).buffer(0) for ring in rings]).buffer(0.05)
    for lane in range(town.num_lanes):
        assert road.covers(shapely.LineString(points(town, lane)).buffer(1.0, cap_style="flat"))


def test_bends_keep_the_least_radius_and_turn_both_ways(town: RoadMap) -> None:
    bends = [curvature(points(town, lane)) for lane in range(town.num_lanes)]
    half = WIDTH_M[1] / 2
    for lane, bend in enumerate(bends):
        inside = town.lane_junction[lane] >= 0 or "circle" in str(town.lane_ids[lane])
        least = LEAST_TURN_RADIUS_M if inside else LEAST_RADIUS_M - half
        assert np.abs(bend).max() < 1.15 / least  # measured over chords
    winding = [bend for bend in bends if bend.max(initial=0) > 1 / 40 and bend.min(initial=0) < -1 / 40]
    assert len(winding) > 0.1 * town.num_lanes


def test_procedural_towns_are_cached_like_other_maps() -> None:
    first, again = (load_maps(["Made-1"])[0] for _ in range(2))
    assert np.array_equal(first.point_xyz, again.point_xyz)
    assert first.importer == "made town 1"


@pytest.mark.parametrize("name", ["Made-", "Made-one", "Made--1"])
def test_a_name_without_a_number_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        load_maps([name])
    assert procedural_number("Town01") is None
