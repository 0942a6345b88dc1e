"""Maps whose roads lead nowhere and that have neither lights nor paint nor edges: agents start, drive and arrive."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.reset.goals import LEAST_DRIVE_M
from simulator.reset.placement import check_capacity
from simulator.roads.building.raw_map import RawLane, RawMap
from simulator.rollout import reset_worlds, rollout, step_fn_of
from simulator.state import IDM, POLICY, WorldState
from tests.bare_maps import BARE_MAPS, ROAD_M, bare_map
from tests.recorded import recorded_scene, road_map_of, straight_line

WORLDS, SPEED_MPS = 8 * len(BARE_MAPS), 8.0
RULES = SimulatorConfig(
    timestep_s=0.25, num_agents=5, episode_s=40.0, idm_share=0.4, lane_change_probability=0.0,
    kind_shares=(0.7, 0.3, 0.0, 0.0), detailed_metrics=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def atlas() -> RoadAtlas:
    return build_atlas([bare_map(name) for name in BARE_MAPS])


@pytest.fixture(scope="module")
def worlds(atlas: RoadAtlas) -> WorldState:
    """Eight worlds on each map, all of whose agents drive at SPEED_MPS."""
    state = jax.jit(partial(reset_worlds, config=RULES, num_worlds=WORLDS))(jax.random.key(0), atlas)
    return state.replace(speed=jnp.full_like(state.speed, SPEED_MPS))


def per_map(values: Any) -> np.ndarray:
    """[maps, agents of all worlds on the map] of [worlds, agents]."""
    values = np.asarray(values)
    return values.reshape(-1, len(BARE_MAPS), RULES.num_agents).swapaxes(0, 1).reshape(len(BARE_MAPS), -1)


def test_agents_start_on_the_road_of_every_map(atlas: RoadAtlas, worlds: WorldState) -> None:
    """With the whole box: the first metres of a road that begins nowhere stay free."""
    assert (per_map(worlds.present).sum(axis=1) >= 8).all()
    assert {IDM, POLICY} == set(np.unique(worlds.scenario.control))
    room = jax.jit(jax.vmap(lambda world: corner_edge_distance(world, atlas, RULES)))(worlds)
    assert float(room[np.asarray(worlds.present)].min()) > -0.05


def test_routes_stay_on_their_road_beyond_its_end(worlds: WorldState) -> None:
    """Stations that the road is too short for are at its end, not on another road."""
    here = np.asarray(worlds.present)
    xyz = np.asarray(worlds.scenario.route_xyz)[here]
    np.testing.assert_allclose(xyz[:, :, 1], np.broadcast_to(xyz[:, :1, 1], xyz.shape[:2]), atol=1e-4)
    steps = np.linalg.norm(np.diff(xyz, axis=1), axis=2)
    ended = steps < 1e-4
    assert (ended[:, 1:] >= ended[:, :-1]).all(), "an ended route does not go on"
    assert (ended.any(axis=1)).all()
    np.testing.assert_allclose(steps[:, 0], 2.0, atol=1e-3)


def test_a_road_that_ends_before_the_first_goal_has_its_end_as_goal(worlds: WorldState) -> None:
    scenario, counted = worlds.scenario, np.asarray(worlds.present & (worlds.scenario.control == POLICY))
    assert (np.asarray(scenario.num_goals)[counted] >= 1).all()
    goal_m, radius_m = np.asarray(scenario.goal_m)[counted], np.asarray(scenario.goal_radius_m)[counted]
    length, x = np.asarray(scenario.size)[counted][:, 0], np.asarray(worlds.position)[counted][:, 0]
    least = RULES.goal_spacing_m[0] * 0.6  # trucks, with the lowest gain, have the nearest goals
    short = goal_m[:, 0] < least
    assert short.sum() >= 5
    assert (goal_m[short] == goal_m[short][:, :1]).all()
    assert (goal_m[short, 0] >= LEAST_DRIVE_M).all()
    assert (radius_m[short] <= 0.5 * goal_m[short, 0]).all()
    ends = np.array(
        [0.0, 60.0, ROAD_M, 500.0 + ROAD_M]
    )  # where a lane of some map ends; the one westwards at 0
    heading = np.sign(np.cos(np.asarray(worlds.yaw)[counted]))[short]
    stop = x[short] + heading * (goal_m[short, 0] + 0.5 * length[short])
    assert np.abs(stop[:, None] - ends).min(axis=1).max() < 0.01, (
        "the front of the box is at the end of the road"
    )


def test_idm_and_coasting_agents_drive_to_the_end(atlas: RoadAtlas, worlds: WorldState) -> None:
    """Those that count arrive, those of the driver model vanish, and none leaves the road or meets a signal."""
    steps = jnp.arange(RULES.episode_steps)
    coast = partial(jnp.full, worlds.yaw.shape, COAST)
    drive = jax.jit(lambda start: rollout(lambda *_: coast(), step_fn_of(atlas, RULES), start, steps)[0])
    final = drive(worlds)
    counted = np.asarray(worlds.spawned)
    assert (per_map(counted).sum(axis=1) >= 4).all()
    arrived = np.asarray(final.goal_index == final.scenario.num_goals)
    assert arrived[counted].all()
    assert not np.asarray(final.present).any()
    for count in (final.offroads, final.collisions, final.red_lights, final.stop_signs):
        assert not np.asarray(count).any()
    assert all(np.isfinite(leaf).all() for leaf in (final.position, final.yaw, final.speed))


def test_a_map_without_features_beside_one_with_them(atlas: RoadAtlas) -> None:
    """Every array has a row, to which nothing refers; the lights of the other map are found."""
    assert all(0 not in leaf.shape for leaf in jax.tree.leaves(atlas))
    assert not np.asarray(atlas.map_stop_count).any()
    assert (np.asarray(atlas.stop_candidates) == -1).all()
    assert (np.asarray(atlas.edge_candidates) == -1).all()
    lit = recorded_scene("lit").road_map
    both, alone = build_atlas([bare_map("one lane"), lit]), build_atlas([lit])
    np.testing.assert_array_equal(both.stop_xyz, alone.stop_xyz)
    np.testing.assert_array_equal(both.map_stop_start, [0, 0])
    np.testing.assert_array_equal(both.map_stop_count, [0, len(lit.stop_line_yaw)])


def test_boxes_are_on_the_road_of_variants_too(atlas: RoadAtlas) -> None:
    """Shrunk and sheared, they are as far from the start of the road."""
    rules = dataclasses.replace(RULES, map_variants=8)
    state = jax.jit(partial(reset_worlds, config=rules, num_worlds=WORLDS))(jax.random.key(1), atlas)
    room = jax.jit(jax.vmap(lambda world: corner_edge_distance(world, atlas, rules)))(state)
    here = np.asarray(state.present)
    assert here.sum() >= WORLDS
    assert float(np.asarray(room)[here].min()) > -0.05


def test_maps_on_which_nobody_can_start_are_refused() -> None:
    inside = RawMap([RawLane("lane", straight_line(0.0, 60.0, 61), junction="j", junction_known=True)])
    short = RawMap([RawLane("lane", straight_line(0.0, 3.0, 4))])
    for source in (inside, short):
        atlas = build_atlas([road_map_of(source, name="stub")[0]])
        with pytest.raises(
            ValueError, match=r"map stub: none of its 1 lanes is outside junctions and has 10 m of road ahead"
        ):
            check_capacity(atlas, 1)
    with pytest.raises(
        ValueError, match=r"num_agents=9 is more than the 120 m of lanes in one lane can hold"
    ):
        check_capacity(build_atlas([bare_map("one lane")]), 9)


def test_a_map_without_drivable_area_is_refused() -> None:
    road_map = bare_map("one lane")
    none = {
        f"drivable_{part}": getattr(road_map, f"drivable_{part}")[:0] for part in ("points", "start", "count")
    }
    with pytest.raises(
        ValueError, match=r"map one lane: drivable_start holds no ring .* expected the outlines"
    ):
        build_atlas([dataclasses.replace(road_map, **none)])


def test_packs_with_one_name_and_different_maps_have_their_own_grids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a source is imported again by a newer importer."""
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(("one lane", "two ways")):
        dataclasses.replace(bare_map(name), name="same").save(tmp_path / f"{number}.h5")
    for number, name in enumerate(("one lane", "two ways")):
        found = load_atlas([str(tmp_path / f"{number}.h5")])
        np.testing.assert_array_equal(
            found.drivable_distance_m, build_atlas([bare_map(name)]).drivable_distance_m
        )
