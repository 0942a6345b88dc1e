"""Recorded traffic as worlds: replayed to the bit, driven otherwise where asked, on a hand-made log in a real town."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator import traffic_lights
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR, COAST, GREEN, OFF, PEDESTRIAN, RED
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog
from simulator.reset.log_routes import Lanes
from simulator.reset.log_scenario import ReplayConfig, demote_invalid_to_replay, stack_worlds, worlds_from_log
from simulator.roads.building.raw_map import RawLane, RawMap
from simulator.roads.polylines import arc_length
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import needs_reset, step_worlds
from simulator.state import IDM, LOG, PARKED, POLICY, WorldState
from simulator.step import step
from tests.recorded import road_map_of, straight_line, traffic_log

SECONDS = 6.0
EGO, LEADER, LATE, STILL, WALKER = range(5)
NAMES = ("ego", "leader", "late", "still", "walker")
ALL_LOG = ReplayConfig(policy_share=0.0)


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_maps(["Town02"])[0]


def lane_with_room(town: RoadMap) -> tuple[np.ndarray, np.ndarray]:
    """Centreline [n, 3] of the longest lane outside junctions, and arc lengths along it."""
    lane = int(np.argmax(np.where(town.lane_junction < 0, town.lane_length_m, 0.0)))
    first = int(town.lane_start[lane])
    xyz = town.point_xyz[first : first + int(town.lane_count[lane])].astype(np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xyz[:, :2], axis=0), axis=1))])
    return xyz, along


def make_scene(town: RoadMap, timestep_s: float) -> LoggedScene:
    """Two cars in a row on a long lane, a third seen for a while, one at the kerb and a pedestrian."""
    xyz, along = lane_with_room(town)
    steps = round(SECONDS / timestep_s) + 1
    time = timestep_s * np.arange(steps)
    starts, speeds, aside = (
        [5.0, 40.0, 75.0, 60.0, 20.0],
        [8.0, 6.0, 5.0, 0.0, 1.2],
        [0.0, 0.0, 0.0, -4.0, -5.0],
    )
    place = np.array(starts)[:, None] + np.array(speeds)[:, None] * time
    at = np.stack([np.interp(place, along, xyz[:, axis]) for axis in range(3)], axis=-1)
    ahead = (
        np.stack([np.interp(place + 0.5, along, xyz[:, axis]) for axis in range(2)], axis=-1) - at[..., :2]
    )
    yaw = np.arctan2(ahead[..., 1], ahead[..., 0])
    at[..., 0] -= np.array(aside)[:, None] * np.sin(yaw)
    at[..., 1] += np.array(aside)[:, None] * np.cos(yaw)
    valid = np.ones((5, steps), bool)
    valid[LATE] = (time > 1.1) & (time < 4.1)
    stops = len(town.stop_line_yaw)
    colours = np.zeros((stops, steps), np.int32)
    colours[0] = np.where(time < 3.0, RED, GREEN)
    log = traffic_log(
        at, np.array(speeds), yaw=yaw, kind=[CAR] * 4 + [PEDESTRIAN], size=[(4.5, 1.9, 1.5)] * 4 + [(0.8, 0.8, 1.7)],
        valid=valid, timestep_s=timestep_s, name="by hand", track_ids=NAMES, ego_track=EGO, light_state=colours,
    )  # fmt: skip
    return LoggedScene(town, log).validate()


def on_device(world: WorldState) -> WorldState:
    return jax.tree.map(jnp.asarray, world)


@pytest.fixture(scope="module")
def build(town: RoadMap, small: SimulatorConfig) -> Callable[..., WorldState]:
    """The hand-made scene as a world."""

    def make(replay: ReplayConfig = ALL_LOG, timestep_s: float = 0.25, **changes: object) -> WorldState:
        config = dataclasses.replace(small, **changes)
        worlds = worlds_from_log(make_scene(town, timestep_s), 0, config, replay, np.random.default_rng(0))
        return on_device(worlds[0])

    return make


@pytest.fixture(scope="module")
def advance(towns: RoadAtlas, small: SimulatorConfig) -> Callable[[WorldState], WorldState]:
    return jax.jit(lambda state: step(state, jnp.full(state.yaw.shape, COAST), towns, small)[0])


@pytest.mark.parametrize("every", [1, 2])
def test_replay_is_exact_to_the_bit(
    town: RoadMap, build: Callable[..., WorldState], advance: Callable[[WorldState], WorldState], every: int
) -> None:
    log = make_scene(town, 0.25 / every).log
    state = build(timestep_s=0.25 / every)
    row = {name: agent for agent, name in enumerate(order(state, log))}
    assert list(row) == ["ego", "walker", "leader", "late", "still"]
    for number in range(0, log.num_steps, every):
        for name, agent in row.items():
            track = NAMES.index(name)
            seen = bool(log.valid[track, number])
            assert bool(state.present[agent]) is seen
            if seen:
                np.testing.assert_array_equal(state.position[agent], log.position[track, number])
                assert float(state.yaw[agent]) == float(log.yaw[track, number])
                assert float(state.speed[agent]) == float(log.speed[track, number])
        assert not state.active.any()
        assert not state.spawned.any()
        state = advance(state)
    assert not state.present[len(NAMES) :].any()
    held = advance(state)
    np.testing.assert_array_equal(held.position, state.position)


def order(state: WorldState, log: TrafficLog) -> Iterator[str]:
    """Names of the tracks in the slots' order, told by where they first are."""
    for agent in range(log.num_tracks):
        seen = np.asarray(state.scenario.log.valid[agent])
        first = np.asarray(state.scenario.log.position[agent, int(seen.argmax())])
        starts = [log.position[t, int(log.valid[t].argmax())] for t in range(log.num_tracks)]
        yield NAMES[int(np.argmin([np.linalg.norm(start - first) for start in starts]))]


def test_other_steps_are_interpolated(build: Callable[..., WorldState], town: RoadMap) -> None:
    """0.25 s of a 0.1 s log: at 0.25 s halfway between the states at 0.2 and 0.3 s."""
    log = make_scene(town, 0.1).log
    log_replay = build(timestep_s=0.1).scenario.log
    np.testing.assert_allclose(log_replay.position[0, 1], log.position[EGO, 2:4].mean(axis=0), atol=1e-4)
    np.testing.assert_array_equal(log_replay.position[0, 2], log.position[EGO, 5])
    assert int(log_replay.last_step) == 24


def test_recorded_lights_are_shown(
    build: Callable[..., WorldState], towns: RoadAtlas, small: SimulatorConfig
) -> None:
    state = build()
    stops = jnp.array([0, 1, -1])
    seen = jax.jit(lambda s: traffic_lights.light_states(s, stops, towns, small))
    np.testing.assert_array_equal(seen(state), [RED, OFF, OFF])
    np.testing.assert_array_equal(
        seen(state.replace(step=jnp.int32(12))),
        [GREEN, OFF, OFF],
    )
    np.testing.assert_array_equal(seen(state.replace(step=jnp.int32(99)))[0], GREEN)


def test_who_may_drive(build: Callable[..., WorldState]) -> None:
    """The late one, the standing one and the pedestrian replay the log whatever the shares."""
    control = np.asarray(build(ReplayConfig()).scenario.control)
    np.testing.assert_array_equal(control[:5] == POLICY, [True, False, True, False, False])
    np.testing.assert_array_equal(control[5:], PARKED)
    alone = build(ReplayConfig(ego_only=True, idm_share=1.0))
    np.testing.assert_array_equal(alone.scenario.control[:3], [POLICY, LOG, IDM])
    np.testing.assert_array_equal(alone.spawned, [True] + [False] * 7)
    np.testing.assert_array_equal(alone.active, alone.spawned)
    half = np.asarray(build(ReplayConfig(policy_share=0.5, idm_share=0.5)).scenario.control)
    np.testing.assert_array_equal(half[:3], [POLICY, LOG, IDM])
    walkers = np.asarray(build(ReplayConfig(kinds=("pedestrian",))).scenario.control)
    assert (walkers == POLICY).sum() == 1
    assert (walkers[[0, 2]] == LOG).all()
    one = ReplayConfig(
        kinds=("pedestrian",), policy_share=0.5, idm_share=0.5
    )  # shares of 1 leave nobody over
    assert np.isin(np.asarray(build(one).scenario.control), (POLICY, IDM)).sum() == 1


def test_a_route_is_the_driven_path_and_goes_on_along_the_lane(
    build: Callable[..., WorldState], town: RoadMap
) -> None:
    log = make_scene(town, 0.25).log
    state = build(ReplayConfig())
    route = np.asarray(state.scenario.route_xyz[0])
    np.testing.assert_allclose(route[0], log.position[EGO, 0], atol=1e-3)
    assert float(state.scenario.goal_m[0, 0]) == pytest.approx(8.0 * SECONDS, abs=0.3)
    goal = route[round(8.0 * SECONDS / ROUTE_SPACING_M)]
    np.testing.assert_allclose(goal, log.position[EGO, -1], atol=0.5)
    spacing = np.linalg.norm(np.diff(route[:, :2], axis=0), axis=1)
    np.testing.assert_allclose(spacing, ROUTE_SPACING_M, atol=0.1)
    xyz, along = lane_with_room(town)
    ahead = np.array([np.interp(5.0 + 8.0 * SECONDS + 30.0, along, xyz[:, axis]) for axis in range(2)])
    assert np.linalg.norm(route[:, :2] - ahead, axis=1).min() < 1.1


def test_the_lanes_ahead_are_as_long_as_asked_for() -> None:
    """Two lanes of 100 m in a row; from 10 m before the end of the first, 60 m end in the second."""
    ends = ((0.0, 100.0), (100.0, 200.0))
    lines = [straight_line(*end, 51) for end in ends]
    source = RawMap([RawLane(name, line) for name, line in zip(("first", "second"), lines, strict=True)])
    road_map, _ = road_map_of(source)
    lanes = Lanes(road_map)
    point = lanes.point_at(np.array([90.0, 0.0, 0.0]), 0.0)
    assert point is not None
    for wanted, found in ((5.0, 10.0), (60.0, 110.0), (500.0, 110.0)):  # whole lanes, as far as there are any
        assert arc_length(lanes.ahead(point, wanted))[-1] == pytest.approx(found, abs=2.0)


def test_who_would_crash_at_once_replays_the_log(
    build: Callable[..., WorldState], towns: RoadAtlas, small: SimulatorConfig
) -> None:
    state = build(ReplayConfig())
    check = jax.jit(partial(demote_invalid_to_replay, config=small))
    np.testing.assert_array_equal(check(state, towns).active, state.active)
    touching = state.replace(position=state.position.at[2].set(state.position[0] + 0.5))
    np.testing.assert_array_equal(check(touching, towns).scenario.control[:3], [LOG, LOG, LOG])
    outside = state.replace(position=state.position.at[2, :2].add(400.0))
    settled = check(outside, towns)
    np.testing.assert_array_equal(settled.scenario.control[:3], [POLICY, LOG, LOG])
    np.testing.assert_array_equal(settled.spawned[:3], [True, False, False])


def test_the_nearest_moving_tracks_are_kept_and_the_rest_is_named(
    build: Callable[..., WorldState], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "simulator.reset.log_tracks"):
        state = build(num_agents=3)
    assert "5 tracks for 3 agents" in caplog.text
    assert "still" in caplog.text
    kinds = np.asarray(state.scenario.kind)
    np.testing.assert_array_equal(kinds, [0, 3, 0])  # the recording car, the pedestrian beside it, the leader


def test_an_episode_ends_with_its_recording(build: Callable[..., WorldState], small: SimulatorConfig) -> None:
    batch = on_device(stack_worlds([jax.tree.map(np.asarray, build()), jax.tree.map(np.asarray, build())]))
    late = batch.replace(step=jnp.array([23, 24]))
    np.testing.assert_array_equal(needs_reset(late, small), [False, True])


def test_scenes_that_do_not_fit_are_refused(town: RoadMap, small: SimulatorConfig) -> None:
    scene, rng = make_scene(town, 0.25), np.random.default_rng(0)
    with pytest.raises(ValueError, match="scene by hand: has 25 steps; expected at most 20"):
        worlds_from_log(scene, 0, small, ALL_LOG, rng, steps=20)
    series = ("position", "yaw", "speed", "valid", "light_state")
    short = dataclasses.replace(scene.log, **{name: getattr(scene.log, name)[:, :2] for name in series})
    coarse = dataclasses.replace(small, timestep_s=0.5)
    with pytest.raises(ValueError, match=r"2 steps of 0\.25 s are 1 of timestep_s=0\.5; expected at least 2"):
        worlds_from_log(LoggedScene(town, short), 0, coarse, ALL_LOG, rng)
    nameless = LoggedScene(town, dataclasses.replace(scene.log, ego_track=-1))
    with pytest.raises(ValueError, match="does not name its ego"):
        worlds_from_log(nameless, 0, small, ReplayConfig(ego_only=True), rng)
    with pytest.raises(ValueError, match="kinds holds 'tram'"):
        ReplayConfig(kinds=("tram",))


def test_real_scenes_replay_exactly(real_data: Path) -> None:
    from simulator.atlas.scene_grids import load_scene_atlas
    from simulator.logs.readers.womd import read_womd

    files = sorted((real_data / "logs" / "womd_train").glob("*.json.gz"))[:1]
    if not files:
        pytest.skip("GIGAPIXEL_DATA has no Waymo scene")
    config = SimulatorConfig(num_agents=32)
    scenes = [read_womd(path) for path in files]
    atlas = load_scene_atlas([scene.road_map for scene in scenes])
    capacity = max(len(scene.log.light_state) for scene in scenes)
    rng = np.random.default_rng(0)
    worlds = [worlds_from_log(s, i, config, ALL_LOG, rng, 1, 91, capacity)[0] for i, s in enumerate(scenes)]
    state = on_device(stack_worlds(worlds))
    run = jax.jit(lambda s: step_worlds(s, jnp.full(s.yaw.shape, COAST), atlas, config)[0])
    log_replay = jax.tree.map(np.asarray, state.scenario.log)
    assert log_replay.valid.sum() > 500
    for number in range(91):
        seen = log_replay.valid[:, :, number]
        np.testing.assert_array_equal(state.present, seen)
        np.testing.assert_array_equal(
            np.asarray(state.position)[seen], log_replay.position[:, :, number][seen]
        )
        np.testing.assert_array_equal(np.asarray(state.yaw)[seen], log_replay.yaw[:, :, number][seen])
        state = run(state)
    for world, scene in enumerate(scenes):  # and what was put on the device is what was recorded
        kept = {
            tuple(row.tolist()) for row in log_replay.position[world, :, 45][log_replay.valid[world, :, 45]]
        }
        recorded = {tuple(row.tolist()) for row in scene.log.position[scene.log.valid[:, 45], 45]}
        assert kept <= recorded
        assert len(kept) == min(len(recorded), 32) or len(scene.log.track_ids) > 32
