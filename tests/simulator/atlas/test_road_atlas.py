"""Maps in one atlas give the same results as alone, and the look-up tables agree with exact geometry."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas, build_atlas, drivable_distance, table_row
from simulator.roads.bake_grids import bake_grids, edge_segments, lane_samples
from simulator.roads.road_map import RoadMap
from simulator.roads.sources import map_cache
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town

STRAIGHT = Path(__file__).parents[1] / "straight_road.xodr"
NAMES = ["Town02", "Town10HD"]


@pytest.fixture(scope="module")
def straight() -> RoadMap:
    return import_town(STRAIGHT)


@pytest.fixture(scope="module")
def two_maps() -> list[RoadMap]:
    return load_maps(NAMES)


@pytest.fixture(scope="module")
def two() -> RoadAtlas:
    return load_atlas(NAMES)


@jax.jit
def _at_heights(atlas: RoadAtlas, map_id: jax.Array, xyz: jax.Array) -> jax.Array:
    return jax.vmap(lambda number, point: drivable_distance(atlas, number, point))(map_id, xyz)


def _distances(atlas: RoadAtlas, map_id: jax.Array, xy: jax.Array) -> jax.Array:
    """On the ground, where these towns have a single level."""
    return _at_heights(atlas, map_id, jnp.pad(jnp.asarray(xy, jnp.float32), ((0, 0), (0, 1))))


@jax.jit
def _rows(atlas: RoadAtlas, map_id: jax.Array, xy: jax.Array) -> jax.Array:
    return jax.vmap(lambda number, point: table_row(atlas, number, point))(map_id, xy)


def _ids(number: int, points: np.ndarray) -> jax.Array:
    return jnp.full(len(points), number, jnp.int32)


def _somewhere(road_map: RoadMap, rng: np.random.Generator, count: int) -> np.ndarray:
    low, high = road_map.bounds()
    return rng.uniform(low - 14.0, high + 14.0, (count, 2)).astype(np.float32)


# ---------------------------------------------------------------------------- distance to the drivable edge


def test_distance_on_a_straight_road_by_hand(straight: RoadMap) -> None:
    """The road is the rectangle [0, 50] x [-3.5, 3.5]."""
    atlas = build_atlas([straight])
    points = np.array(
        [[25, 0], [25, 2.5], [25, -3.3], [25, 3.5], [25, 5.0], [25, 300], [1.2, 0.3], [-1.5, 0]]
    )
    expected = [3.5, 1.0, 0.2, 0.0, -1.5, -8.0, 1.2, -1.5]
    found = _distances(atlas, _ids(0, points), jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_distance_is_exact_away_from_ridges(straight: RoadMap, rng: np.random.Generator) -> None:
    points = np.stack([rng.uniform(10, 40, 500), rng.uniform(-11, 11, 500)], axis=1)
    points = points[np.abs(points[:, 1]) > 0.5]  # bilinear look-up rounds off the ridge between the two kerbs
    found = _distances(build_atlas([straight]), _ids(0, points), jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found, np.clip(3.5 - np.abs(points[:, 1]), -8, 8), atol=0.03)


@pytest.mark.parametrize("number", [0, 1])
def test_lane_centres_are_well_inside(two: RoadAtlas, two_maps: list[RoadMap], number: int) -> None:
    points = two_maps[number].point_xyz[:, :2]
    assert float(_distances(two, _ids(number, points), jnp.asarray(points)).min()) > 1.3


def test_distance_is_lipschitz(two: RoadAtlas, two_maps: list[RoadMap], rng) -> None:
    start = _somewhere(two_maps[1], rng, 2000)
    step = rng.normal(size=start.shape).astype(np.float32)
    step *= 0.1 / np.linalg.norm(step, axis=1, keepdims=True)
    before = _distances(two, _ids(1, start), jnp.asarray(start))
    after = _distances(two, _ids(1, start), jnp.asarray(start + step))
    assert float(jnp.abs(after - before).max()) < 0.1 * np.sqrt(2) + 0.01  # bilinear: sqrt(2) on the diagonal


def test_points_off_the_grid_use_its_border(two: RoadAtlas) -> None:
    far = jnp.array([[1e6, 1e6], [-1e6, 0.0], [0.0, -1e6]], jnp.float32)
    np.testing.assert_array_equal(_distances(two, jnp.zeros(3, jnp.int32), far), -8.0)
    rows = np.asarray(_rows(two, jnp.ones(3, jnp.int32), far))
    second = np.asarray(two.cell_row)[int(two.map_cell_offset[1]) :]
    assert np.isin(rows, second).all()
    assert not np.isin(rows, np.asarray(two.cell_row)[: int(two.map_cell_offset[1])]).any()


# ---------------------------------------------------------------------------- packing


def test_a_map_gives_the_same_results_alone_and_in_an_atlas(
    two: RoadAtlas, two_maps: list[RoadMap], rng
) -> None:
    alone = load_atlas(NAMES[1:])
    points = jnp.asarray(_somewhere(two_maps[1], rng, 1000))
    np.testing.assert_array_equal(
        _distances(two, _ids(1, points), points), _distances(alone, _ids(0, points), points)
    )
    packed, single = (
        np.asarray(_rows(two, _ids(1, points), points)),
        np.asarray(_rows(alone, _ids(0, points), points)),
    )
    for table, offset in (
        ("lane_candidates", len(lane_samples(two_maps[0]))),
        ("edge_candidates", len(edge_segments(two_maps[0])[0])),
        ("stop_candidates", len(two_maps[0].stop_line_yaw)),
    ):
        here = np.asarray(getattr(alone, table))[single]
        np.testing.assert_array_equal(
            np.asarray(getattr(two, table))[packed], np.where(here >= 0, here + offset, -1), err_msg=table
        )


def test_indices_are_global(two: RoadAtlas, two_maps: list[RoadMap]) -> None:
    start, count = np.asarray(two.map_lane_start), np.asarray(two.map_lane_count)
    assert start.tolist() == [0, two_maps[0].num_lanes]
    assert count.tolist() == [m.num_lanes for m in two_maps]
    for number, road_map in enumerate(two_maps):
        lanes = slice(start[number], start[number] + count[number])
        following = np.asarray(two.lane_successors)[lanes]
        assert ((following < 0) | ((following >= lanes.start) & (following < lanes.stop))).all()
        first = np.asarray(two.lane_start)[lanes]
        np.testing.assert_array_equal(
            np.asarray(two.point_xyz)[first], road_map.point_xyz[road_map.lane_start]
        )
        assert (np.asarray(two.point_lane)[first] == np.arange(lanes.start, lanes.stop)).all()


def test_stop_lines_know_their_junction(two: RoadAtlas, two_maps: list[RoadMap]) -> None:
    groups, junction = np.asarray(two.junction_groups), np.asarray(two.stop_junction)
    lit = junction >= 0
    assert (np.asarray(two.stop_group)[lit] < groups[junction[lit]]).all()
    assert (groups[junction[lit]] >= 1).all()
    inside = np.asarray(two.lane_junction)
    assert (inside < len(groups)).all()
    # Junctions of the second town do not collide with those of the first.
    first = np.asarray(two.stop_map) == 0
    assert set(junction[lit & first]).isdisjoint(junction[lit & ~first])
    assert np.bincount(np.asarray(two.stop_map)).tolist() == [len(m.stop_line_yaw) for m in two_maps]


def test_sampling_by_length_finds_lanes_of_the_map(two: RoadAtlas, rng: np.random.Generator) -> None:
    """A uniform position in a map's part of the cumulative lengths is on a lane of that map."""
    cumulative = np.asarray(two.lane_cumulative_length_m)
    for number in range(2):
        before, length = float(two.map_length_before_m[number]), float(two.map_length_m[number])
        lane = np.searchsorted(cumulative, before + rng.uniform(0, 0.9999, 3000) * length, side="right")
        first = int(two.map_lane_start[number])
        assert (lane >= first).all()
        assert (lane < first + int(two.map_lane_count[number])).all()
        share = np.bincount(lane - first, minlength=int(two.map_lane_count[number])) / 3000
        expected = np.asarray(two.lane_length_m)[first : first + len(share)] / length
        assert np.abs(share - expected).max() < 0.03


# ---------------------------------------------------------------------------- candidates


def test_candidates_are_the_nearest(two_maps: list[RoadMap], rng: np.random.Generator) -> None:
    """Against brute force, at cell centres: nearest first, nothing nearer is left out, -1 only when out of reach."""
    road_map = two_maps[1]
    grids = bake_grids(road_map)
    cells = np.argwhere(grids.cell_row > 0)
    for row, col in cells[rng.integers(0, len(cells), 60)]:
        centre = grids.origin + (np.array([col, row]) + 0.5) * 5.0
        for table, places, radius in (
            (grids.lane_candidates, road_map.point_xyz[grids.lane_samples, :2], 120.0),
            (grids.stop_candidates, road_map.stop_line_xyz[:, :, :2].mean(axis=1), 60.0),
        ):
            apart = np.linalg.norm(places - centre, axis=1)
            found = table[grids.cell_row[row, col]]
            expected = np.sort(apart)[: table.shape[1]]
            expected = expected[expected <= radius]
            assert (found >= 0).sum() == len(expected)
            np.testing.assert_allclose(apart[found[found >= 0]], expected, rtol=1e-5)


def test_everything_near_the_road_has_a_row(two: RoadAtlas, two_maps: list[RoadMap], rng) -> None:
    """Wherever an agent can be before it counts as off the road, and well beyond."""
    points = two_maps[1].point_xyz[rng.integers(0, len(two_maps[1].point_xyz), 3000), :2]
    points = points + rng.uniform(-12, 12, points.shape)
    rows = np.asarray(_rows(two, _ids(1, points), jnp.asarray(points, jnp.float32)))
    assert (np.asarray(two.lane_candidates)[rows, 0] >= 0).all()


def test_the_lane_at_a_position_is_always_a_candidate(two: RoadAtlas, two_maps: list[RoadMap]) -> None:
    points = two_maps[0].point_xyz[:, :2]
    rows = np.asarray(_rows(two, _ids(0, points), jnp.asarray(points)))
    offered = np.asarray(two.lane_candidates)[rows]
    lanes = np.where(offered >= 0, np.asarray(two.sample_lane)[offered], -1)
    own = np.asarray(two.point_lane)[: len(points)]
    assert (lanes == own[:, None]).any(axis=1).all()


def test_edge_segments_are_short_and_cover_the_edges(two_maps: list[RoadMap]) -> None:
    segments, heights = edge_segments(two_maps[1])
    length = np.linalg.norm(segments[:, 2:] - segments[:, :2], axis=1)
    assert length.max() <= 5.0 + 1e-3
    assert len(heights) == len(segments)
    whole = sum(np.linalg.norm(np.diff(e[:, :2], axis=0), axis=1).sum() for e in two_maps[1].pieces("edge"))
    assert length.sum() == pytest.approx(whole, rel=0.01)


# ---------------------------------------------------------------------------- cache and refusals


def test_the_road_is_left_of_its_edges(two: RoadAtlas) -> None:
    """Half a metre to the left of an edge's middle there is road; to its right there is none, or road on both sides."""
    line = np.asarray(two.edge_line)
    left = np.stack([-line[:, 3], line[:, 2]], axis=1) / np.linalg.norm(line[:, 2:4], axis=1)[:, None]
    first = len(bake_grids(load_maps(NAMES[:1])[0]).edge_segments)
    town = jnp.asarray(np.arange(len(line)) >= first, jnp.int32)
    on_left, on_right = (_distances(two, town, line[:, :2] + side * 0.5 * left) for side in (1.0, -1.0))
    assert np.mean(on_left > 0) > 0.97, "a few edges lie inside or outside the road on both sides"
    assert not np.any((on_right > 0.2) & (on_left < -0.2))


def test_cache_is_used_and_damaged_entries_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path))
    first = load_atlas([str(STRAIGHT)])
    entries = sorted(tmp_path.iterdir())
    assert len(entries) == 2
    monkeypatch.setattr(map_cache, "import_town", lambda path: pytest.fail("imported although it is cached"))
    again = load_atlas([str(STRAIGHT)])
    jax.tree.map(np.testing.assert_array_equal, first, again)
    monkeypatch.undo()
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        rebuilt = load_atlas([str(STRAIGHT)])
    assert all(str(entry) in caplog.text for entry in entries)
    jax.tree.map(np.testing.assert_array_equal, first, rebuilt)


def test_without_the_importer_the_cache_is_read(
    two_maps: list[RoadMap], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_cache, "known_towns", dict)
    np.testing.assert_array_equal(load_maps(["Town02"])[0].point_xyz, two_maps[0].point_xyz)
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"map 'Town02' is not in .* pip install py123d or pass"):
        load_maps(["Town02"])


def test_scene_packs_are_maps_too(straight: RoadMap, tmp_path: Path) -> None:
    straight.save(tmp_path / "road.h5")
    assert load_maps([str(tmp_path / "road.h5")])[0].name == "straight_road"


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"names is the single text 'Town02'; expected a list"):
        load_maps("Town02")
    with pytest.raises(ValueError, match="at least one road map"):
        build_atlas([])
    with pytest.raises(ValueError, match="map 'Atlantis' is unknown"):
        load_atlas(["Atlantis"])


def test_map_without_edges_or_stops_bakes(straight: RoadMap) -> None:
    bare = dataclasses.replace(
        straight, edge_points=straight.edge_points[:0], edge_start=straight.edge_start[:0],
        edge_count=straight.edge_count[:0],
    )  # fmt: skip
    atlas = build_atlas([bare])
    assert (np.asarray(atlas.edge_candidates) == -1).all()
    assert (np.asarray(atlas.stop_candidates) == -1).all()
