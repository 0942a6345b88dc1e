"""Queries through the matrix of a variant agree with the transformed map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from simulator import traffic_lights
from simulator.atlas.affine_variants import MAX_VARIANTS, SCALE, inverse, variant_map, variant_matrices
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas, build_atlas, drivable_distance
from simulator.config import SimulatorConfig
from simulator.conventions import RED
from simulator.draw_state import world_of
from simulator.reset.placement import SPAWN_GAP_M
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import reset_worlds, step_worlds
from simulator.state import Events, WorldState
from teacher.observation.observe import OBSERVATIONS, observe

WORLDS = 24
CONFIG = SimulatorConfig(num_agents=12, map_variants=MAX_VARIANTS, kind_shares=(1.0, 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_maps(["Town02"])[0]


@pytest.fixture(scope="module")
def atlas(town: RoadMap) -> RoadAtlas:
    return build_atlas([town])


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return variant_matrices(MAX_VARIANTS)[_mirrored()]


@pytest.fixture(scope="module")
def distorted(town: RoadMap, matrix: np.ndarray) -> RoadAtlas:
    """The atlas of the transformed map."""
    return build_atlas([variant_map(town, matrix).validate()])


@pytest.fixture(scope="module")
def worlds(atlas: RoadAtlas) -> WorldState:
    build = jax.jit(partial(reset_worlds, config=CONFIG, num_worlds=WORLDS))
    return build(jax.random.key(2), atlas)


@pytest.fixture(scope="module")
def advance(atlas: RoadAtlas) -> Callable[[WorldState, Array], tuple[WorldState, Events]]:
    step = jax.jit(partial(step_worlds, config=CONFIG))
    return lambda state, action: step(state, action, atlas)


def _mirrored() -> int:
    return int(np.flatnonzero(np.linalg.det(variant_matrices(MAX_VARIANTS)) < 0)[0])


def test_agents_keep_their_gap_in_metres_of_the_world(atlas: RoadAtlas) -> None:
    """The circles around any two boxes are as far apart as in the town itself, in shrunken variants too."""
    crowded = SimulatorConfig(num_agents=40, map_variants=MAX_VARIANTS, kind_shares=(1.0, 0.0, 0.0, 0.0))
    worlds = jax.jit(partial(reset_worlds, config=crowded, num_worlds=32))(jax.random.key(5), atlas)
    xy, size = np.asarray(worlds.position[..., :2]), np.asarray(worlds.scenario.size)
    radius = 0.5 * np.hypot(size[..., 0], size[..., 1])
    apart = np.linalg.norm(xy[:, :, None] - xy[:, None], axis=-1) - radius[:, :, None] - radius[:, None]
    present = np.asarray(worlds.present)
    pairs = present[:, :, None] & present[:, None] & ~np.eye(40, dtype=bool)
    assert apart[pairs].min() == pytest.approx(SPAWN_GAP_M, abs=0.5)  # somebody is close, nobody closer
    assert apart[pairs].min() > SPAWN_GAP_M - 0.05


def test_variant_matrices() -> None:
    """The first is the town, none repeats, areas stay within the scales, about half are mirrored, prefixes agree."""
    matrices = variant_matrices(MAX_VARIANTS)
    np.testing.assert_array_equal(matrices[0], np.eye(2))
    assert len(np.unique(matrices.reshape(MAX_VARIANTS, 4), axis=0)) == MAX_VARIANTS
    determinants = np.linalg.det(matrices)
    assert (np.abs(determinants) > SCALE[0] ** 2 - 1e-4).all()
    assert (np.abs(determinants) < SCALE[1] ** 2 + 1e-4).all()
    assert 0.35 < (determinants < 0).mean() < 0.65
    np.testing.assert_array_equal(variant_matrices(5), matrices[:5])
    with pytest.raises(ValueError, match="map_variants=129 must lie between 1 and 128"):
        variant_matrices(129)


def test_the_road_is_where_the_distorted_map_has_it(
    town: RoadMap, atlas: RoadAtlas, distorted: RoadAtlas, matrix: np.ndarray
) -> None:
    """Inside and outside agree except within 10 cm of the edge, and distances near it agree to a few percent."""
    rng = np.random.default_rng(0)
    lane_points = town.point_xyz[rng.integers(len(town.point_xyz), size=6000)]
    world = (lane_points[:, :2] + rng.normal(0, 3, (6000, 2))) @ matrix.T
    xyz = jnp.asarray(np.column_stack([world, lane_points[:, 2]]), jnp.float32)
    back = inverse(jnp.asarray(matrix))
    on_map = xyz.at[:, :2].set(xyz[:, :2] @ back.T)
    number = jnp.zeros((), jnp.int32)
    ours = np.asarray(jax.jit(jax.vmap(partial(drivable_distance, atlas, number, map_inverse=back)))(on_map))
    true = np.asarray(jax.jit(jax.vmap(partial(drivable_distance, distorted, number)))(xyz))
    assert (np.sign(ours) == np.sign(true))[np.abs(true) > 0.1].all()
    near = np.abs(true) < 1.5
    assert np.quantile(np.abs(ours - true)[near], 0.99) < 0.15


def test_agents_observe_the_transformed_map(town: RoadMap, atlas: RoadAtlas, worlds: WorldState) -> None:
    """Lane samples in view are those of the transformed map, transformed to the ego frame step by step."""
    config = OBSERVATIONS["compact"]
    look = jax.jit(lambda world: observe(world, atlas, CONFIG, config))
    for index in range(4):
        world = world_of(worlds, index)
        shape = np.asarray(world.scenario.map_matrix, np.float64)
        pose = np.asarray(atlas.sample_pose, np.float64)
        place, along = pose[:, :2] @ shape.T, pose[:, 2:4] @ shape.T
        along /= np.linalg.norm(along, axis=1)[:, None]
        seen = look(world)
        for agent in np.flatnonzero(world.present):
            yaw = float(world.yaw[agent])
            turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
            there = (place - np.asarray(world.position[agent, :2], np.float64)) @ turn.T / 30
            by_hand = np.column_stack([there, along @ turn.T])
            mask = np.asarray(seen.lanes_mask[agent])
            apart = np.abs(np.asarray(seen.lanes[agent])[mask][:, None, :4] - by_hand[None]).max(-1).min(1)
            assert mask.any()
            assert apart.max() < 2e-4


def test_routes_keep_their_spacing_and_follow_the_road(worlds: WorldState) -> None:
    route = np.asarray(worlds.scenario.route)[np.asarray(worlds.spawned)]
    step = np.diff(route[:, :60, :2], axis=1)
    length = np.linalg.norm(step, axis=-1)
    moving = length > 0.5  # a route that ends stands still
    assert np.abs(length[moving] - 2.0).mean() < 0.05
    assert np.quantile(np.abs(length[moving] - 2.0), 0.99) < 0.5
    ahead = (step * route[:, :59, 2:4]).sum(axis=-1)[moving] / length[moving]
    assert np.quantile(ahead, 0.05) > np.cos(0.2), "headings point along the route"


def test_agents_start_on_the_road_and_keep_their_side(
    atlas: RoadAtlas, worlds: WorldState, advance: Callable
) -> None:
    room = jax.jit(jax.vmap(lambda world: corner_edge_distance(world, atlas, CONFIG)))(worlds)
    assert (np.asarray(room)[np.asarray(worlds.spawned)] > -0.3).mean() > 0.99
    state = worlds
    for _ in range(5):
        state, _ = advance(state, jnp.full(worlds.yaw.shape, 7, jnp.int32))
    assert (np.asarray(state.offroads)[np.asarray(worlds.spawned)] == 0).mean() > 0.97


def test_red_lights_are_lights_of_the_original(
    atlas: RoadAtlas, worlds: WorldState, matrix: np.ndarray, advance: Callable
) -> None:
    """Driving over any lit stop line is noticed exactly as it is in the original town.

    The first agent of each world stands before one of them, in the town itself or in the variant; others are absent.
    """
    stops = np.flatnonzero(np.asarray(atlas.stop_junction) >= 0)[: WORLDS // 2]
    assert len(stops) == WORLDS // 2
    stop = np.tile(stops, 2)
    shape = np.repeat([np.eye(2), matrix], WORLDS // 2, axis=0)  # [worlds, 2, 2]
    x, y, cos, sin, _ = np.asarray(atlas.stop_line)[stop].T
    along = np.einsum("wij,wj->wi", shape, np.column_stack([cos, sin]))
    along /= np.linalg.norm(along, axis=1)[:, None]
    front = np.einsum("wij,wj->wi", shape, np.column_stack([x, y])) - 0.3 * along
    first = jnp.zeros(worlds.active.shape, bool).at[:, 0].set(True)
    map_matrix = jnp.asarray(shape, jnp.float32)
    scenario = worlds.scenario.replace(
        size=worlds.scenario.size.at[:, 0, 0].set(4.0),
        light_phase=jnp.full_like(worlds.scenario.light_phase, worlds.scenario.light_phase[0]),
        lights_on=jnp.ones_like(worlds.scenario.lights_on),
        map_matrix=map_matrix,
        map_inverse=jax.vmap(inverse)(map_matrix),
    )
    state = worlds.replace(
        scenario=scenario,
        position=worlds.position.at[:, 0, :2].set(jnp.asarray(front - 2.0 * along, jnp.float32)),
        yaw=worlds.yaw.at[:, 0].set(jnp.asarray(np.arctan2(along[:, 1], along[:, 0]), jnp.float32)),
        speed=worlds.speed.at[:, 0].set(10.0),
        active=first,
        present=first,
    )
    _, events = advance(state, jnp.zeros(worlds.yaw.shape, jnp.int32))
    look = jax.jit(
        jax.vmap(lambda world, line: traffic_lights.light_states(world, line[None], atlas, CONFIG)[0])
    )
    red = np.asarray(look(state, jnp.asarray(stop))) == RED
    np.testing.assert_array_equal(np.asarray(events.red_light)[:, 0], red)
    np.testing.assert_array_equal(red[: WORLDS // 2], red[WORLDS // 2 :])
    assert set(red.tolist()) == {False, True}, "some are red, some are not"
