"""Streams of recorded scenes: same order from the same seed, same shapes in every batch, and clean ends."""

import dataclasses
import logging
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.padding import capacity_for, pad_atlas, shapes_of
from simulator.atlas.road_atlas import RoadAtlas, build_atlas, drivable_distance
from simulator.atlas.scene_grids import load_scene_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from simulator.reset import scene_stream as stream_module
from simulator.reset.log_scenario import ReplayConfig, worlds_from_log
from simulator.reset.scene_stream import Capacity, SceneBatch, SceneStream, StreamConfig
from simulator.roads.bake_grids import bake_grids
from simulator.roads.query_grids import Grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import step_worlds
from simulator.state import LOG, POLICY
from tests.recorded import logged_scene, straight_road

SIMULATOR = SimulatorConfig(timestep_s=0.1, num_agents=6, route_stations=32)
SCENES = 5


def make_scene(number: int) -> LoggedScene:
    """Cars in a row on one straight lane; scenes differ in the lane's length, in steps and in the number of cars."""
    length, steps, cars = 60.0 + 20.0 * number, 12 + number, 2 + number % 3
    position = np.zeros((cars, steps, 3))
    position[..., 0] = 5.0 + 15.0 * np.arange(cars)[:, None] + 8.0 * 0.1 * np.arange(steps)
    return logged_scene(straight_road(length, 21), position, 8.0, name=f"scene {number}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream")


@pytest.fixture(scope="module")
def packs(folder: Path) -> list[Path]:
    """Two packs of three and of two scenes."""
    paths = [folder / "one.h5", folder / "two.h5"]
    for path, numbers in zip(paths, (range(3), range(3, SCENES)), strict=True):
        with ScenePackWriter(path) as writer:
            for number in numbers:
                writer.add(make_scene(number))
    return paths


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(folder / "cache"))


def take(stream: SceneStream, count: int) -> list[SceneBatch]:
    return [next(stream) for _ in range(count)]


def assert_same(one: SceneBatch, other: SceneBatch) -> None:
    assert one.scenes == other.scenes
    leaves = (jax.tree.leaves((batch.atlas, batch.worlds)) for batch in (one, other))
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


CONFIG = StreamConfig(num_worlds=4, num_scenes=2, replay=ReplayConfig(policy_share=0.5))


def test_one_pass_shows_every_scene_once_and_a_seed_fixes_everything(packs: list[Path]) -> None:
    config = dataclasses.replace(CONFIG, num_worlds=1, num_scenes=1)
    with SceneStream(packs, SIMULATOR, config) as stream:
        first, capacity = take(stream, 2 * SCENES), stream.capacity
    names = [batch.scenes[0] for batch in first]
    assert sorted(names[:SCENES]) == sorted(names[SCENES:]) == [f"scene {n}" for n in range(SCENES)]
    assert names[:SCENES] != names[SCENES:], "every pass has an order of its own"
    with SceneStream(packs, SIMULATOR, config, capacity, position=first[2].position) as stream:
        again = take(stream, 2)
    for one, other in zip(first[3:5], again, strict=True):
        assert_same(one, other)
    with SceneStream(packs, SIMULATOR, dataclasses.replace(config, seed=1), capacity) as stream:
        assert [batch.scenes[0] for batch in take(stream, SCENES)] != names[:SCENES]
    with SceneStream(packs, SIMULATOR, dataclasses.replace(config, shuffle=False), capacity) as stream:
        assert [batch.scenes[0] for batch in take(stream, SCENES)] == [f"scene {n}" for n in range(SCENES)]


def test_a_split_shows_its_own_scenes_alone(folder: Path) -> None:
    """Of these three the name of one is held out."""
    with ScenePackWriter(folder / "three.h5") as writer:
        for number in (9, 10, 11):
            writer.add(make_scene(number))
    shown = {}
    for split, count in (("held_out", 1), ("train", 2)):
        config = StreamConfig(num_worlds=count, num_scenes=count, split=split)
        with SceneStream([writer.path], SIMULATOR, config) as stream:
            shown[split] = set(next(stream).scenes)
    assert shown == {"held_out": {"scene 10"}, "train": {"scene 9", "scene 11"}}
    with pytest.raises(ValueError, match=r"num_scenes=2 is more than the 1 scenes of .* \(split: held_out\)"):
        SceneStream([writer.path], SIMULATOR, StreamConfig(2, 2, split="held_out"))
    with pytest.raises(ValueError, match="split 'test' is unknown"):
        StreamConfig(split="test")


def test_nothing_is_compiled_again_and_worlds_are_those_of_their_scenes(packs: list[Path]) -> None:
    run = jax.jit(lambda w, a: step_worlds(w, jnp.full(w.yaw.shape, COAST), a, SIMULATOR)[0])
    with SceneStream(packs, SIMULATOR, CONFIG) as stream:
        for batch in take(stream, 4):
            worlds = run(batch.worlds, batch.atlas)
            np.testing.assert_array_equal(batch.worlds.map_id, [0, 1, 0, 1])
            for world in range(4):
                scene = make_scene(int(batch.scenes[world % 2].split()[1]))
                assert int(batch.worlds.present[world].sum()) == scene.log.num_tracks
                assert int(batch.worlds.scenario.log.last_step[world]) == scene.log.num_steps - 1
                by_log = np.asarray(worlds.scenario.control[world]) == LOG
                seen = np.asarray(worlds.position[world])[by_log & np.asarray(worlds.present[world])]
                recorded = {tuple(row) for row in scene.log.position[:, 1].tolist()}
                assert {tuple(row) for row in seen.tolist()} <= recorded
            assert (batch.worlds.scenario.control == POLICY).sum(axis=1).min() >= 1
            assert not worlds.offroads.any()
        assert run._cache_size() == 1


def test_a_padded_atlas_answers_as_the_plain_one() -> None:
    scenes = [make_scene(number) for number in range(3)]
    singles = [shapes_of(build_atlas([scene.road_map])) for scene in scenes]
    plain = build_atlas([scene.road_map for scene in scenes[:2]])
    padded = jax.tree.map(jnp.asarray, pad_atlas(plain, capacity_for(singles, 2)))
    other = pad_atlas(build_atlas([scene.road_map for scene in scenes[1:]]), capacity_for(singles, 2))
    assert shapes_of(padded) == shapes_of(other)
    points = jnp.array([[10.0, 0.5, 0.0], [70.0, 1.0, 0.0], [200.0, 30.0, 0.0]])

    def room(atlas: RoadAtlas, map_id: int) -> np.ndarray:
        ask = jax.vmap(drivable_distance, (None, None, 0))
        return np.asarray(ask(atlas, jnp.int32(map_id), points))

    for map_id in range(2):
        np.testing.assert_array_equal(room(plain, map_id), room(padded, map_id))
    with pytest.raises(ValueError, match=r"does not fit its capacity: .* needs"):
        pad_atlas(plain, capacity_for(singles, 1))


def test_an_atlas_of_scenes_without_any_stop_line_can_be_driven_on() -> None:
    scene = make_scene(0)
    assert len(scene.road_map.stop_line_yaw) == 0
    atlas = load_scene_atlas([scene.road_map])
    world = worlds_from_log(scene, 0, SIMULATOR, ReplayConfig(0.5, 0.5), np.random.default_rng(0))[0]
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], world)
    run = jax.jit(lambda w: step_worlds(w, jnp.full((1, 6), COAST), atlas, SIMULATOR))
    after, events = run(batch)
    assert after.present.sum() == scene.log.num_tracks
    assert not events.red_light.any()


def test_scenes_that_do_not_fit_are_skipped_aloud(
    packs: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(CONFIG, num_worlds=1, num_scenes=1, shuffle=False)
    with SceneStream(packs, SIMULATOR, config) as stream:
        whole = stream.capacity
    small = Capacity(whole.atlas, 14, whole.stops)
    with caplog.at_level(logging.WARNING), SceneStream(packs, SIMULATOR, config, small) as stream:
        names = [batch.scenes[0] for batch in take(stream, 4)]
    assert names == ["scene 0", "scene 1", "scene 2", "scene 0"]
    assert "skipped: scene 3.json: scene scene 3: has 15 steps; expected at most 14" in caplog.text
    nothing = SceneStream(packs, SIMULATOR, config, Capacity(whole.atlas, 3, whole.stops))
    with pytest.raises(ValueError, match="no scene fits"):
        next(nothing)


def test_errors_of_the_thread_reach_the_caller_and_closing_ends_it(
    packs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    stream = SceneStream(packs, SIMULATOR, CONFIG)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    stream.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(stream)

    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(stream_module, "stack_worlds", fail)
    broken = SceneStream(packs, SIMULATOR, CONFIG)
    with pytest.raises(OSError, match="the disk is gone"):
        next(broken)
    assert threading.active_count() == before


def test_grids_are_baked_once(packs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path))
    baked: list[str] = []

    def count(road_map: RoadMap) -> Grids:
        baked.append(road_map.name)
        return bake_grids(road_map)

    monkeypatch.setattr("simulator.roads.bake_grids.bake_grids", count)
    with SceneStream(packs, SIMULATOR, CONFIG) as stream:
        first = take(stream, 3)
    assert sorted(baked) == [f"scene {n}" for n in range(SCENES)]
    baked.clear()
    with SceneStream(packs, SIMULATOR, CONFIG) as stream:
        second = take(stream, 3)
    assert baked == []
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


def test_impossible_streams_are_refused(packs: list[Path], folder: Path) -> None:
    with pytest.raises(ValueError, match="num_scenes=3 must be at least 1 and divide num_worlds=4"):
        StreamConfig(num_worlds=4, num_scenes=3)
    with pytest.raises(ValueError, match="num_scenes=6 is more than the 5 scenes"):
        SceneStream(packs, SIMULATOR, StreamConfig(6, 6))
    with pytest.raises(ValueError, match="list of paths"):
        SceneStream([], SIMULATOR, CONFIG)
    with pytest.raises(ValueError, match="holds 3 logged scenes, not one map"):
        load_maps([str(packs[0])])
    with pytest.raises(FileNotFoundError):
        SceneStream([folder / "missing.h5"], SIMULATOR, CONFIG)
