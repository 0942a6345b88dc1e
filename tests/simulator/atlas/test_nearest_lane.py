"""The position on the nearest lane, by hand; `test_town_queries.py` compares with Shapely in every town."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.nearest_lane import LanePosition, nearest_lane
from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town

STRAIGHT = Path(__file__).parents[1] / "straight_road.xodr"


@pytest.fixture(scope="module")
def straight() -> RoadMap:
    return import_town(STRAIGHT)


def _place(atlas: RoadAtlas, *xyz: float, map_id: int = 0) -> LanePosition:
    return jax.jit(nearest_lane)(atlas, jnp.int32(map_id), jnp.asarray(xyz, jnp.float32))


@pytest.mark.parametrize(
    ("x", "y", "along_m", "offset_m", "yaw", "distance_m"),
    [
        (10.0, -1.75, 10.0, 0.0, 0.0, 0.0),  # on the lane that goes east at y = -1.75
        (10.3, -1.0, 10.3, 0.75, 0.0, 0.75),  # left of it
        (33.7, -4.0, 33.7, -2.25, 0.0, 2.25),  # right of it, off the road
        (10.0, 1.0, 40.0, 0.75, np.pi, 0.75),  # left of the lane that goes west at y = +1.75
        (10.0, 4.0, 40.0, -2.25, np.pi, 2.25),
        (53.0, -5.75, 50.0, -4.0, 0.0, 5.0),  # 3 m behind its end: a 3-4-5 triangle
    ],
)  # fmt: skip
def test_positions_on_a_straight_road_by_hand(
    straight: RoadMap, x: float, y: float, along_m: float, offset_m: float, yaw: float, distance_m: float
) -> None:
    place = _place(build_atlas([straight]), x, y, 0.0)
    assert float(jnp.cos(place.yaw - yaw)) == pytest.approx(1.0)
    assert float(jnp.cos(straight.point_yaw[straight.lane_start[int(place.lane)]] - yaw)) == pytest.approx(
        1.0
    )
    assert float(place.along_m) == pytest.approx(along_m, abs=1e-3)
    assert float(place.offset_m) == pytest.approx(offset_m, abs=1e-3)
    assert float(place.distance_m) == pytest.approx(distance_m, abs=1e-3)


def test_far_above_every_lane_there_is_none(straight: RoadMap) -> None:
    place = _place(build_atlas([straight]), 25.0, 0.0, 10.0)
    assert int(place.lane) == -1
    assert float(place.distance_m) == np.inf
    assert (float(place.along_m), float(place.offset_m), float(place.yaw)) == (0.0, 0.0, 0.0)


def test_lanes_are_global_over_the_atlas(straight: RoadMap) -> None:
    atlas = build_atlas([straight, straight])
    first, second = (_place(atlas, 10.0, -1.0, 0.0, map_id=number) for number in (0, 1))
    assert int(second.lane) == int(first.lane) + straight.num_lanes
    assert float(second.along_m) == float(first.along_m)


def test_samples_cover_every_segment_of_their_lane() -> None:
    """A query measures four segments before and after each sample, which must cover the lane."""
    road_map = load_maps(["Town02"])[0]
    atlas = build_atlas([road_map])
    seen = np.zeros(len(road_map.point_xyz), bool)
    for step in range(-4, 4):
        seen[np.clip(np.asarray(atlas.sample_point) + step, 0, len(seen) - 1)] = True
    last = road_map.lane_start + road_map.lane_count - 1
    seen[last] = True  # no piece begins at a last point
    long = np.repeat(road_map.lane_length_m >= 1.0, road_map.lane_count)
    assert seen[long].all()
    np.testing.assert_array_equal(
        np.asarray(atlas.sample_lane), np.asarray(atlas.point_lane)[atlas.sample_point]
    )
