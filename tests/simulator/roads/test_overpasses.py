"""At an overpass each level has its own road edge, collisions and neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.collision import collides
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.reset.spawn import reset
from simulator.roads.overpasses import split_height
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.state import Events, WorldState, route_table
from simulator.step import step

TOWN = "Town04"


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_maps([TOWN])[0]


@pytest.fixture(scope="module")
def atlas() -> RoadAtlas:
    return load_atlas([TOWN])


@pytest.fixture(scope="module")
def crossings(town: RoadMap) -> np.ndarray:
    """Pairs of lane points [pairs, 2 (lower, upper), 3] (m) less than 1.5 m apart in the plane and on two levels."""
    xyz = town.point_xyz.astype(np.float64)
    pairs = scipy.spatial.cKDTree(xyz[:, :2]).query_pairs(1.5, output_type="ndarray")
    pairs = pairs[np.abs(np.diff(xyz[pairs, 2], axis=1))[:, 0] > 3.0]
    assert len(pairs) > 50
    order = np.argsort(xyz[pairs, 2], axis=1)
    return xyz[np.take_along_axis(pairs, order, axis=1)]


@jax.jit
def _distances(atlas: RoadAtlas, xyz: jax.Array) -> jax.Array:
    return jax.vmap(lambda point: drivable_distance(atlas, jnp.zeros((), jnp.int32), point))(xyz)


def test_heights_are_split_at_their_widest_gap() -> None:
    assert split_height(np.array([0.0, 0.2, 6.0, 5.8])) == pytest.approx(3.0)
    assert split_height(np.array([0.0, 1.5, 3.0, 4.5, 6.0])) == np.inf  # a ramp
    assert split_height(np.array([2.0])) == np.inf


def test_both_levels_are_drivable_where_they_cross(atlas: RoadAtlas, crossings: np.ndarray) -> None:
    for level in (0, 1):
        assert float(_distances(atlas, jnp.asarray(crossings[:, level], jnp.float32)).min()) > 1.0


def test_beside_the_bridge_is_off_the_bridge_though_a_road_is_below(
    atlas: RoadAtlas, crossings: np.ndarray, rng: np.random.Generator
) -> None:
    """At growing distances from overpasses: some positions are road on one level and not on the other, both ways."""
    middle = crossings.mean(axis=1)[:, None, :2]
    xy = (middle + rng.uniform(-7, 7, (len(crossings), 40, 2))).reshape(-1, 2)
    low = np.repeat(crossings[:, 0, 2], 40)[:, None]
    high = np.repeat(crossings[:, 1, 2], 40)[:, None]
    lower = np.asarray(_distances(atlas, jnp.asarray(np.hstack([xy, low]), jnp.float32)))
    upper = np.asarray(_distances(atlas, jnp.asarray(np.hstack([xy, high]), jnp.float32)))
    assert ((lower > 0.5) & (upper < -0.5)).any()
    assert ((upper > 0.5) & (lower < -0.5)).any()


def test_agents_on_different_levels_do_not_collide(crossings: np.ndarray) -> None:
    size = jnp.full((2, 3), 4.0)
    for pair in crossings[:: max(1, len(crossings) // 20)]:
        stacked = jnp.asarray(pair, jnp.float32).at[:, :2].set(pair[0, :2])
        assert not collides(stacked, jnp.zeros(2), size, jnp.ones(2, bool)).any()
        level = stacked.at[:, 2].set(pair[0, 2])
        assert collides(level, jnp.zeros(2), size, jnp.ones(2, bool)).all()


CONFIG = SimulatorConfig(num_agents=2, randomise_dynamics=False, kind_shares=(1.0, 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def somewhere(atlas: RoadAtlas) -> WorldState:
    """Two cars."""
    return jax.jit(reset, static_argnums=3)(jax.random.key(0), atlas, jnp.zeros((), jnp.int32), CONFIG)


def _at_pair(somewhere: WorldState, town: RoadMap, pair: np.ndarray) -> WorldState:
    """The two cars at one (x, y), at the two heights of the pair, along the lanes there."""
    place = jnp.asarray(pair, jnp.float32).at[1, :2].set(pair[0, :2])
    nearest = [np.linalg.norm(town.point_xyz - point, axis=1).argmin() for point in pair]
    yaw = jnp.asarray(town.point_yaw[nearest])
    old = somewhere.scenario
    xyz, yaws = (
        jnp.broadcast_to(place[:, None], old.route_xyz.shape),
        jnp.broadcast_to(yaw[:, None], old.route.shape[:2]),
    )
    scenario = old.replace(route=route_table(xyz, yaws, old.route[..., 5]))
    yes = jnp.ones(2, bool)
    return somewhere.replace(
        position=place, yaw=yaw, speed=jnp.zeros(2), active=yes, present=yes, spawned=yes, scenario=scenario
    )


@jax.jit
def _coasted(state: WorldState, atlas: RoadAtlas) -> Events:
    return step(state, jnp.full(2, COAST, jnp.int32), atlas, CONFIG)[1]


def test_a_step_keeps_levels_apart(
    somewhere: WorldState, town: RoadMap, atlas: RoadAtlas, crossings: np.ndarray
) -> None:
    """Two cars at one (x, y) on two levels neither collide nor are off-road, until one is put beside the other."""
    room = [np.asarray(_distances(atlas, jnp.asarray(crossings[:, k], jnp.float32))) for k in (0, 1)]
    inner = crossings[np.minimum(*room) > 3.0]
    assert len(inner) > 10
    for pair in inner[:: len(inner) // 10]:
        events = _coasted(_at_pair(somewhere, town, pair), atlas)
        assert not events.collision.any()
        assert not events.offroad.any()
        pair[1, 2] = pair[0, 2]
        assert _coasted(_at_pair(somewhere, town, pair), atlas).collision.all()


@pytest.mark.parametrize("road", [0, 1])
def test_off_road_is_decided_on_the_own_level(
    somewhere: WorldState, town: RoadMap, atlas: RoadAtlas, crossings: np.ndarray, rng, road: int
) -> None:
    """Where only one of two levels is road, only the car on the other level is off-road."""
    chosen = crossings[rng.integers(0, len(crossings), 400)]
    chosen[..., :2] += rng.uniform(-9.0, 9.0, (400, 1, 2))
    chosen[:, 1, :2] = chosen[:, 0, :2]
    room = [np.asarray(_distances(atlas, jnp.asarray(chosen[:, k], jnp.float32))) for k in (0, 1)]
    places = chosen[(room[road] > 3.5) & (room[1 - road] < -1.0)][:5]
    assert len(places) > 0
    for pair in places:
        events = _coasted(_at_pair(somewhere, town, pair), atlas)
        assert events.offroad.tolist() == [road == 1, road == 0]
        assert not events.collision.any()
