"""Towns and recorded scenes in one atlas, and worlds that begin in both: each as it would begin alone."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST, GREEN, OFF, RED
from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import MapSet, load_map_set, single_map_entry
from simulator.reset.mixed_reset import LogInitialStates, load_log_initial_states, reset_mixed_worlds
from simulator.rollout import has_ended, needs_reset, reset_worlds, step_worlds
from simulator.state import LOG, POLICY, WorldState
from simulator.traffic_lights import line_states
from tests.recorded import RED_STEPS, STEPS, recorded_scene

TOWN = "Town02"
RULES = SimulatorConfig(
    timestep_s=0.25, num_agents=6, route_stations=128, episode_s=20.0, no_lights_share=0.0
)
CARS = 3
ALL_LOG = ReplayConfig(policy_share=0.0)


def make_scene(number: int, cars: int = CARS) -> LoggedScene:
    """Cars in a row; scenes differ in their speed."""
    return recorded_scene(f"scene {number}", speeds=(5.0 + number % 3,) * cars, walks=False)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes, of which the split holds out `scene 10`."""
    with ScenePackWriter(tmp_path_factory.mktemp("packs") / "three.h5") as writer:
        for number in (9, 10, 11):
            writer.add(make_scene(number))
    return writer.path


@pytest.fixture(scope="module")
def map_set(pack: Path) -> MapSet:
    """A scene, a town, two scenes."""
    return load_map_set([f"{pack}:scene 11", TOWN, f"{pack}:train"])


@pytest.fixture(scope="module")
def logs(map_set: MapSet) -> LogInitialStates | None:
    return load_log_initial_states(map_set, RULES, ALL_LOG)


@pytest.fixture(scope="module")
def worlds(map_set: MapSet, logs: LogInitialStates | None) -> WorldState:
    """A world on each map."""
    fresh = jax.jit(partial(reset_mixed_worlds, config=RULES, num_worlds=len(map_set.scenes)))
    return fresh(jax.random.key(0), map_set.atlas, logs=logs)


def test_entries_name_towns_packs_splits_and_scenes(pack: Path, map_set: MapSet) -> None:
    assert map_set.atlas.names == ("scene 11", TOWN, "scene 9", "scene 11")
    assert [road_map.name for road_map in map_set.road_maps] == list(map_set.atlas.names)
    assert map_set.entries == (range(1), range(1, 2), range(2, 4))
    assert map_set.log_maps == (0, 2, 3)
    assert [single_map_entry(str(pack), number) for number in (1, 3)] == [
        f"{pack}:scene 10",
        f"{pack}:scene 9",
    ]
    assert single_map_entry(f"{pack}:held_out", 7) == f"{pack}:scene 10"
    assert single_map_entry(TOWN, 7) == TOWN


def test_towns_alone_are_as_ever(map_set: MapSet) -> None:
    """The same atlas, and the same worlds from the same key."""
    alone, expected = load_map_set([TOWN]).atlas, load_atlas([TOWN])
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    key = jax.random.key(5)
    begun = jax.jit(partial(reset_mixed_worlds, config=RULES, num_worlds=2, logs=None))(key, alone)
    reset = jax.jit(partial(reset_worlds, config=RULES, num_worlds=2))(key, alone)
    assert jax.tree.structure(begun) == jax.tree.structure(reset)
    for one, other in zip(jax.tree.leaves(begun), jax.tree.leaves(reset), strict=True):
        np.testing.assert_array_equal(one, other)


def test_worlds_replay_where_something_was_recorded(map_set: MapSet, worlds: WorldState) -> None:
    """To the bit, step by step, with the recorded lights; the others are in town, driven by policy."""
    coast = jax.jit(
        lambda state: step_worlds(state, jnp.full(state.yaw.shape, COAST), map_set.atlas, RULES)[0]
    )
    first = np.asarray(map_set.atlas.map_stop_start)
    state = worlds
    for step in range(STEPS - 1):
        for world in (0, 2, 3):
            log = make_scene(9 if world == 2 else 11).log
            np.testing.assert_array_equal(state.position[world, :CARS], log.position[:, step])
            one = jax.tree.map(lambda leaf, world=world: leaf[world], state)
            shown = line_states(one, jnp.asarray([first[world]]), map_set.atlas, RULES)
            assert int(shown[0]) == (RED if step < RED_STEPS else GREEN)
        state = coast(state)
    np.testing.assert_array_equal(worlds.scenario.control[0, :CARS], LOG)
    np.testing.assert_array_equal(worlds.scenario.control[1], POLICY)
    assert worlds.present[1].all()
    np.testing.assert_array_equal(has_ended(state), [True, False, True, True])
    np.testing.assert_array_equal(needs_reset(state, RULES)[jnp.array([0, 2, 3])], [True] * 3)
    assert not needs_reset(worlds, RULES).any()


def test_a_town_beside_recordings_shows_its_own_lights(map_set: MapSet, worlds: WorldState) -> None:
    """At every step of the episode, and for 8 s more, what the fixed-time program shows."""
    town = jax.tree.map(lambda leaf: leaf[1], worlds)
    plain = town.replace(scenario=town.scenario.replace(log=None))
    first, count = (int(value[1]) for value in (map_set.atlas.map_stop_start, map_set.atlas.map_stop_count))
    lines = jnp.arange(first, first + count, dtype=jnp.int32)
    ask = jax.jit(
        jax.vmap(
            lambda state, step: line_states(state.replace(step=step), lines, map_set.atlas, RULES), (None, 0)
        )
    )
    steps = jnp.arange(RULES.episode_steps + 32, dtype=jnp.int32)
    expected = np.asarray(ask(plain, steps))
    np.testing.assert_array_equal(ask(town, steps), expected)
    assert {OFF, GREEN, RED} <= set(expected.ravel().tolist())
    after = ask(town, steps[-1:] + jnp.arange(1, 9, dtype=jnp.int32))
    np.testing.assert_array_equal(after, np.tile(expected[-1], (8, 1)))


def test_without_replay_scenes_are_spawned_like_towns(map_set: MapSet) -> None:
    assert load_log_initial_states(map_set, RULES, None) is None
    rules = dataclasses.replace(RULES, num_agents=2)
    fresh = jax.jit(partial(reset_mixed_worlds, config=rules, num_worlds=len(map_set.scenes), logs=None))
    state = fresh(jax.random.key(1), map_set.atlas)
    assert state.active.any(axis=1).all()
    on_lane = np.abs(np.asarray(state.position[0, :, 1]))[np.asarray(state.present[0])]
    assert on_lane.max() < 2.0, "on the scene's only lane, which runs along y = 0"


def test_crowded_scenes_keep_the_nearest_tracks_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ScenePackWriter(tmp_path / "crowd.h5") as writer:
        writer.add(make_scene(0, cars=5))
    few = dataclasses.replace(RULES, num_agents=4)
    caplog.set_level("INFO")
    found = load_log_initial_states(load_map_set([str(writer.path)]), few, ALL_LOG)
    assert found is not None
    assert found.states.present.all()
    assert "1 of 1 scenes have more tracks than num_agents=4" in caplog.text


def test_refusals(pack: Path, map_set: MapSet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="maps are 'Town02'; expected a list"):
        load_map_set(TOWN)
    with pytest.raises(ValueError, match=r"three\.h5: no scene 'scene 8'; expected one of scene 9, scene 10"):
        load_map_set([f"{pack}:scene 8"])
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such file"):
        load_map_set([str(tmp_path / "none.h5")])
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such file"):
        load_map_set([f"{tmp_path}/none.h5:train"])
    with ScenePackWriter(tmp_path / "one.h5") as writer:
        writer.add(make_scene(0))
    with pytest.raises(ValueError, match=r"one\.h5: no scene belongs to the split 'held_out'"):
        load_map_set([f"{writer.path}:held_out"])
    with pytest.raises(ValueError, match=r"num_agents=40 is more than the 160 m of lanes in scene 11"):
        map_set.check_capacity(40, replayed=False)
    map_set.check_capacity(40, replayed=True)
    with pytest.raises(ValueError, match=r"of lanes in Town02 can hold"):
        map_set.check_capacity(4000, replayed=True)
