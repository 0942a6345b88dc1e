"""In every town, queries of the look-up tables agree with Shapely's plane geometry of the same map."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shapely

from simulator.atlas.load import load_atlas
from simulator.atlas.nearest_lane import LanePosition, nearest_lane
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.roads.drivable_area import SEAM_M
from simulator.roads.query_grids import DISTANCE_LIMIT_M, GRIDS_VERSION, NODE_SPACING_M
from simulator.roads.road_map import SCHEMA_VERSION, RoadMap
from simulator.roads.sources.map_cache import cache_folder, load_maps
from simulator.roads.sources.opendrive import IMPORTER_VERSION, known_towns

LARGE = {"Town11", "Town12", "Town13"}
"""Towns that take minutes to import: tested where they are in the cache already."""
POINTS = 3000
CROSSED = ("Town04", "Town05")
"""Flat towns with one road above another. Town15 has some too, on slopes where heights are continuous."""


@dataclass(frozen=True)
class Town:
    """A town as the simulator packs it, and its plain map."""

    road_map: RoadMap
    atlas: RoadAtlas

    @functools.cached_property
    def rings(self) -> np.ndarray:
        """Drivable polygons, one by one."""
        rings = [shapely.Polygon(ring) for ring in self.road_map.pieces("drivable") if len(ring) > 2]
        return shapely.buffer(
            np.array(rings), 0.01
        )  # mends rings that cross themselves; far below a grid cell

    @functools.cached_property
    def lanes(self) -> np.ndarray:
        """Centrelines [lanes]; None for slivers, which no query names."""
        return np.array([
            shapely.LineString(self.road_map.lane(index)) if length >= 1.0 else None
            for index, length in enumerate(self.road_map.lane_length_m)
        ])  # fmt: skip


@pytest.fixture(scope="module", params=sorted(known_towns()))
def town(request: pytest.FixtureRequest) -> Town:
    name = request.param
    baked = f"{name}-*-s{SCHEMA_VERSION}i{IMPORTER_VERSION}-grids{GRIDS_VERSION}.h5"
    if name in LARGE and not list(cache_folder().glob(baked)):
        pytest.skip(f"{name} takes minutes to import and bake; tested where load_atlas(['{name}']) has run")
    return _town(name)


@functools.lru_cache(maxsize=2)
def _town(name: str) -> Town:
    return Town(load_maps([name])[0], load_atlas([name]))


@jax.jit
def _distances(atlas: RoadAtlas, xyz: jax.Array) -> jax.Array:
    return jax.vmap(lambda point: drivable_distance(atlas, jnp.zeros((), jnp.int32), point))(xyz)


@jax.jit
def _nearest(atlas: RoadAtlas, xyz: jax.Array) -> LanePosition:
    return jax.vmap(lambda point: nearest_lane(atlas, jnp.zeros((), jnp.int32), point))(xyz)


def _somewhere(road_map: RoadMap, rng: np.random.Generator) -> np.ndarray:
    """Random positions [2 * POINTS, 3]: half all over the map, half near its lanes; heights of the nearest lane
    point."""
    low, high = road_map.bounds()
    all_over = rng.uniform(low, high, (POINTS, 2))
    near = road_map.point_xyz[rng.integers(0, len(road_map.point_xyz), POINTS), :2]
    near = near + rng.normal(0.0, 5.0, near.shape)
    xy = np.concatenate([all_over, near])
    tree = shapely.STRtree(shapely.points(road_map.point_xyz[:, :2]))
    height = road_map.point_xyz[tree.nearest(shapely.points(xy)), 2]
    return np.column_stack([xy, height]).astype(np.float32)


def _crossings(road_map: RoadMap) -> np.ndarray:
    """Positions [n, 2 (lower, upper), 3] where two centrelines are less than 2 m apart in the plane and on two
    levels."""
    xyz = road_map.point_xyz.astype(np.float64)
    places = shapely.points(xyz[:, :2])
    first, second = shapely.STRtree(places).query(places, predicate="dwithin", distance=2.0)
    above = xyz[second, 2] - xyz[first, 2] > 3.0
    return np.stack([xyz[first[above]], xyz[second[above]]], axis=1)


# ---------------------------------------------------------------------------- drivable area


def test_on_and_off_the_road_agree_with_the_polygons(town: Town, rng: np.random.Generator) -> None:
    """The sign may differ within one grid cell of an edge; the distance by what bilinear look-up rounds off.

    Our area closes seams of up to 0.3 m, so it may be larger than the plain union, never smaller.
    """
    xyz = _somewhere(town.road_map, rng)
    found = np.asarray(_distances(town.atlas, jnp.asarray(xyz)))
    area = shapely.union_all(town.rings)
    shapely.prepare(area)
    inside = shapely.contains_xy(area, xyz[:, 0], xyz[:, 1])
    edge = shapely.distance(shapely.boundary(area), shapely.points(xyz[:, :2]))
    assert (inside.sum() > 300) & ((~inside).sum() > 300)
    single = ~_under_or_over_a_bridge(town, xyz)
    assert edge[single & ((found > 0) != inside)].max(initial=0.0) < NODE_SPACING_M
    expected = np.clip(np.where(inside, edge, -edge), -DISTANCE_LIMIT_M, DISTANCE_LIMIT_M)
    rounding = NODE_SPACING_M / np.sqrt(2)
    assert (found > expected - rounding)[single].all()
    assert (found < expected + rounding + SEAM_M)[single & ~inside & (edge > SEAM_M)].all()


@pytest.mark.parametrize("name", CROSSED)
def test_height_picks_the_level(name: str, rng: np.random.Generator) -> None:
    """Around every crossing, at both heights, against the polygons that lie at that height."""
    town = _town(name)
    crossings = _crossings(town.road_map)
    chosen = crossings[rng.integers(0, len(crossings), 600)]
    differ = []
    for level in (0, 1):
        xyz = chosen[:, level] + np.pad(rng.uniform(-9.0, 9.0, (600, 2)), ((0, 0), (0, 1)))
        found = np.asarray(_distances(town.atlas, jnp.asarray(xyz, jnp.float32)))
        inside, edge = _on_level(town, xyz)
        assert inside.any()
        assert (~inside).any()
        assert edge[(found > 0) != inside].max(initial=0.0) < NODE_SPACING_M
        both = shapely.contains_xy(shapely.union_all(town.rings), xyz[:, 0], xyz[:, 1])
        differ.append((both & ~inside).sum())
    assert min(differ) > 10  # road on the other level alone: the height mattered


def _on_level(town: Town, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per position [n, 3]: whether it is drivable on its own level [n], and how far that level's edge is (m) [n]."""
    outlines = np.array(
        [shapely.LinearRing(ring) for ring in town.road_map.pieces("drivable") if len(ring) > 2]
    )
    places = shapely.points(xyz[:, :2])
    place, ring = shapely.STRtree(town.rings).query(places, predicate="dwithin", distance=12.0)
    level = np.abs(_heights_on(outlines[ring], places[place]) - xyz[place, 2]) < 2.5
    inside, edge = np.zeros(len(xyz), bool), np.full(len(xyz), np.inf)
    for index in range(len(xyz)):
        area = shapely.union_all(town.rings[ring[(place == index) & level]])
        inside[index] = shapely.contains(area, places[index])
        edge[index] = shapely.distance(shapely.boundary(area), places[index])
    return inside, edge


def _heights_on(lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Height (m) of each line [n] at its point nearest to each position [n]."""
    return shapely.get_z(shapely.line_interpolate_point(lines, shapely.line_locate_point(lines, places)))


def _under_or_over_a_bridge(town: Town, xyz: np.ndarray) -> np.ndarray:
    """Whether the other level of a crossing is near enough to matter for the distance at each position [n]."""
    crossings = _crossings(town.road_map)
    if len(crossings) == 0:
        return np.zeros(len(xyz), bool)
    tree = shapely.STRtree(shapely.points(crossings[:, 0, :2]))
    near = tree.query(shapely.points(xyz[:, :2]), predicate="dwithin", distance=40.0)[0]
    return np.isin(np.arange(len(xyz)), near)


# ---------------------------------------------------------------------------- nearest lane


def test_nearest_lane_agrees_with_the_centrelines(town: Town, rng: np.random.Generator) -> None:
    """The lane is the nearest one, or as near; its position on that lane agrees with Shapely."""
    xyz = _somewhere(town.road_map, rng)
    xyz = xyz[~_under_or_over_a_bridge(town, xyz)]
    found = jax.tree.map(np.asarray, _nearest(town.atlas, jnp.asarray(xyz)))
    places = shapely.points(xyz[:, :2])
    (_, _), nearest = shapely.STRtree(town.lanes).query_nearest(
        places, return_distance=True, all_matches=False
    )
    known = found.lane >= 0
    assert known[nearest < 25.0].all()
    np.testing.assert_allclose(found.distance_m[known], nearest[known], atol=2e-3)
    _check_place(town, jax.tree.map(lambda leaf: leaf[known], found), places[known])


@pytest.mark.parametrize("name", CROSSED)
def test_height_picks_the_lane(name: str, rng: np.random.Generator) -> None:
    """At a crossing the nearest lane is that of the level asked for, against all lanes that pass at that height."""
    town = _town(name)
    crossings = _crossings(town.road_map)
    chosen = crossings[rng.integers(0, len(crossings), 400)]
    lanes = []
    for level in (0, 1):
        xyz = chosen[:, level] + np.pad(rng.uniform(-3.0, 3.0, (400, 2)), ((0, 0), (0, 1)))
        found = jax.tree.map(np.asarray, _nearest(town.atlas, jnp.asarray(xyz, jnp.float32)))
        places = shapely.points(xyz[:, :2])
        apart = shapely.distance(town.lanes[found.lane], places)
        place, lane = shapely.STRtree(town.lanes).query(places, predicate="dwithin", distance=10.0)
        same = np.abs(_heights_on(town.lanes[lane], places[place]) - xyz[place, 2]) < 2.5
        nearest = np.full(len(xyz), np.inf)
        np.minimum.at(nearest, place[same], shapely.distance(town.lanes[lane], places[place])[same])
        np.testing.assert_allclose(apart, nearest, atol=2e-3)
        lanes.append(found.lane)
    assert (lanes[0] != lanes[1]).all()


def _check_place(town: Town, found: LanePosition, places: np.ndarray) -> None:
    """Arc length, lateral offset and heading on the lane that was returned."""
    lane = town.lanes[found.lane]
    foot = np.array([
        _walked(town.road_map.lane(number), metres) for number, metres in zip(found.lane, found.along_m, strict=True)
    ])  # fmt: skip
    away = shapely.get_coordinates(places) - foot
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), found.distance_m, atol=0.15)
    along = shapely.line_locate_point(lane, places)
    ends = [shapely.line_interpolate_point(lane, np.maximum(along + step, 0.0)) for step in (-0.5, 0.5)]
    tangent = shapely.get_coordinates(ends[1]) - shapely.get_coordinates(ends[0])
    turn = found.yaw - np.arctan2(tangent[:, 1], tangent[:, 0])
    assert np.cos(turn).min() > np.cos(0.4)  # between two points of a tight turn
    interior = (along > 0.01) & (along < shapely.length(lane) - 0.01)
    assert interior.mean() > 0.5
    left = np.sign(tangent[:, 0] * away[:, 1] - tangent[:, 1] * away[:, 0])
    clear = interior & (found.distance_m > 0.3)
    np.testing.assert_array_equal(np.sign(found.offset_m[clear]), left[clear])
    np.testing.assert_allclose(np.abs(found.offset_m[clear]), found.distance_m[clear], rtol=0.1)


def _walked(line: np.ndarray, metres: float) -> list[float]:
    """Position (x, y) at an arc length of a line in space."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line.astype(np.float64), axis=0), axis=1))])
    return [float(np.interp(metres, arc, line[:, axis])) for axis in (0, 1)]
