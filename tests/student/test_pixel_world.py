"""`PixelWorld`: what is labelled is what happens, plans are followed, drivers are mixed, nothing is forgotten."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from renderer import CalibrationNoise, render
from simulator.logs.readers.scenarionet import read_scenarionet
from simulator.logs.scene_pack import ScenePackWriter
from simulator.metrics.summary import Metrics
from simulator.reset.map_set import load_places
from simulator.state import LOG, POLICY
from student import bridge
from student.dagger.closed_loop import Episode, EvaluationConfig, advance
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.pixel_world import PixelWorld, PixelWorldConfig
from student.trajectory import Trajectory, from_world

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    return PixelWorld(CONFIG)


@pytest.fixture(scope="module")
def noisy(world: PixelWorld) -> PixelWorld:
    """The same worlds, whose agents' cameras differ by a lot."""
    noise = CalibrationNoise(focal_share=0.1, position_m=0.2, rotation_deg=3.0)
    return PixelWorld(replace(CONFIG, calibration_noise=noise, calibration_rigs=3), teacher=world.teacher)


@pytest.fixture
def policy(torch_seed: None) -> StudentPolicy:
    encoder = EncoderConfig(features=16, channels=(8, 16))
    return StudentPolicy(PolicyConfig(encoder, PlannerConfig(hidden=32, layers=1), 4, 27, 48)).eval()


def axles(world: PixelWorld) -> torch.Tensor:
    """Rear-axle poses of all agents, [worlds * agents, 3]."""
    return torch.from_numpy(np.array(world._seen.rear_axle)).flatten(0, 1)


def test_observations_and_labels_are_in_the_viewers_order(world: PixelWorld) -> None:
    world.reset(1)
    observation, targets = world.observe(), world.label()
    observation.validate()
    targets.trajectory.validate()
    assert observation.images.shape == (len(world.viewers), 4, 27, 48, 3)
    assert len(targets.action) == len(world.viewers) == len(observation)
    speed = np.asarray(world.state.speed).ravel()[world.viewers.numpy()]
    np.testing.assert_allclose(observation.ego[:, 0].numpy() * 10.0, speed, rtol=1e-5)


def test_a_label_is_what_the_teacher_then_does(world: PixelWorld) -> None:
    """The fork and the world agree: 4 s later every agent stands where its label said."""
    world.reset(2)
    world.draw_drivers(1.0)
    targets, viewers, start = world.label(), world.viewers, axles(world)[world.viewers]
    for _ in range(8):
        world.follow(None)
    valid = targets.weight > 0
    assert valid.float().mean() > 0.5
    driven = from_world(axles(world)[viewers][:, None].expand(-1, 8, 3), start).poses[:, -1]
    torch.testing.assert_close(driven[valid], targets.trajectory.poses[valid, -1], atol=2e-3, rtol=0)


def test_tracking_the_teachers_plans_stays_with_the_teacher(world: PixelWorld) -> None:
    """Plans renewed at 2 Hz from labels: after 4 s the mean distance to the first label's end is under 0.7 m."""
    distances = []
    for seed in (3, 4, 5, 6):
        world.reset(seed)
        world.draw_drivers(0.0)
        first, viewers, start = world.label(), world.viewers, axles(world)[world.viewers]
        for _ in range(8):
            world.follow(world.label().trajectory)
        kept = (first.weight > 0) & torch.isin(viewers, world.viewers)
        end = first.trajectory.in_world(start)[:, -1]
        distances.append((axles(world)[viewers] - end)[kept, :2].norm(dim=-1))
    assert len(torch.cat(distances)) > 16
    assert float(torch.cat(distances).mean()) < 0.7


def test_standing_plans_stop_everyone(world: PixelWorld) -> None:
    world.reset(5)
    for _ in range(16):
        world.follow(Trajectory(torch.zeros(len(world.viewers), 8, 3)))
    assert np.abs(np.asarray(world.state.speed)).max() < 0.3


def test_beta_is_the_share_that_the_teacher_drives(world: PixelWorld) -> None:
    """200 draws of 12 agents at beta 0.3: within 5 sigma of 720 (chance of failure below 1e-6)."""
    world.reset(6)
    count = 0
    for _ in range(200):
        world.draw_drivers(0.3)
        count += int(np.asarray(world._by_teacher).sum())
    assert abs(count - 720) < 5 * (2400 * 0.3 * 0.7) ** 0.5
    assert not world.teacher_drives_all
    world.draw_drivers(1.0)
    assert world.teacher_drives_all


def test_worlds_without_drivers_are_reset(world: PixelWorld) -> None:
    world.reset(7)
    assert world.reset_finished() == 0
    active = world.state.active.at[1].set(False)
    world.state = world.state.replace(active=active)
    other = np.asarray(world.state.position[0])
    assert world.reset_finished() == 1
    assert np.asarray(world.state.active[1]).any()
    np.testing.assert_array_equal(np.asarray(world.state.position[0]), other)


def test_same_seed_same_bytes_and_exact_restore(world: PixelWorld, policy: StudentPolicy) -> None:
    def drive(decisions: int) -> torch.Tensor:
        for _ in range(decisions):
            world.draw_drivers(0.5)
            advance(world, policy, world.observe())
        return world.observe().images

    world.reset(8)
    first = drive(3)
    world.reset(8)
    drive(2)
    saved = world.state_dict()
    again = drive(1)
    assert torch.equal(first, again)
    world.reset(9)
    world.load_state_dict(saved)
    assert torch.equal(drive(1), first)


def test_without_noise_everyone_has_the_rig_of_the_config(world: PixelWorld) -> None:
    world.reset(10)
    scene = bridge.scene(world.state, world._seen, world.lights, world.ground, world.viewers)
    assert torch.equal(world.observe().images, render(scene, world.rig).rgb)
    assert world.state_dict()["rigs"] == {}


def test_noise_changes_what_is_seen_and_not_what_happens(world: PixelWorld, noisy: PixelWorld) -> None:
    """Each viewer's pictures are those of its own rig, in the order of the viewers; traffic is the same."""
    for each in (world, noisy):
        each.reset(10)
        each.draw_drivers(1.0)
        each.follow(None)
    np.testing.assert_array_equal(np.asarray(world.state.position), np.asarray(noisy.state.position))
    scene = bridge.scene(noisy.state, noisy._seen, noisy.lights, noisy.ground, noisy.viewers)
    alone = torch.stack([render(scene, rig).rgb for rig in noisy._rigs.rigs])
    mine = noisy._rigs.choice.flatten()[noisy.viewers]
    assert len(mine.unique()) == 3
    images = noisy.observe().images
    assert torch.equal(images, alone[mine, torch.arange(len(mine))])
    assert not torch.equal(images, world.observe().images)


def test_cameras_are_drawn_anew_with_the_episode_of_their_world(noisy: PixelWorld) -> None:
    noisy.reset(11)
    before, rigs = noisy._rigs.choice.clone(), noisy._rigs.rigs
    noisy.draw_drivers(1.0)
    noisy.follow(None)
    assert torch.equal(noisy._rigs.choice, before)
    noisy.state = noisy.state.replace(active=noisy.state.active.at[1].set(False))
    assert noisy.reset_finished() == 1
    assert torch.equal(noisy._rigs.choice[0], before[0])
    assert not torch.equal(noisy._rigs.choice[1], before[1])
    assert noisy._rigs.rigs is rigs, "the cars are kept, and with them their rays"
    noisy.reset(11)
    assert torch.equal(noisy._rigs.choice, before)
    noisy.reset(12)
    assert not torch.equal(noisy._rigs.rigs[0].intrinsics, rigs[0].intrinsics)


def test_restoring_brings_the_cameras_back(world: PixelWorld, noisy: PixelWorld) -> None:
    """Now and after the next episode has begun."""

    def look() -> torch.Tensor:
        noisy.state = noisy.state.replace(active=noisy.state.active.at[0].set(False))
        noisy.reset_finished()
        return noisy.observe().images

    noisy.reset(12)
    look()
    saved, first = noisy.state_dict(), noisy.observe().images
    second = look()
    noisy.reset(13)
    noisy.load_state_dict(saved)
    assert torch.equal(noisy.observe().images, first)
    assert torch.equal(look(), second)
    with pytest.raises(ValueError, match="made with calibration noise and the config is without it"):
        world.load_state_dict(saved)
    with pytest.raises(ValueError, match="made without calibration noise and the config is with it"):
        noisy.load_state_dict(world.state_dict())
    with pytest.raises(ValueError, match="calibration_rigs=3, but the checkpoint was made with 5"):
        noisy.load_state_dict({**saved, "rigs": {**saved["rigs"], "num_rigs": 5}})


def test_an_episode_gives_the_flat_metrics(world: PixelWorld, policy: StudentPolicy) -> None:
    config = EvaluationConfig(maps=CONFIG.maps, num_worlds=2, seconds=2.0, label_every=2)
    metrics = Episode(world, config).drive(policy)
    assert set(metrics) == set(Metrics.__dataclass_fields__) | {"ade_m", "fde_m", "action_accuracy"}
    assert metrics["at_fault_collision_rate"] is not None, "a student's evaluation has every figure"
    taught = Episode(world, config).drive(None)
    assert taught["agents"] == metrics["agents"]
    assert "ade_m" not in taught


def alone(world: PixelWorld, number: int) -> torch.Tensor:
    """What the viewers of one world see, drawn from its map alone and from its own state alone."""
    state = jax.tree.map(lambda leaf: leaf[number : number + 1], world.state)
    entry = world.config.maps[number % len(world.config.maps)]
    own = load_places([entry])
    first = world.places.entries[number % len(world.config.maps)].start
    state = state.replace(map_id=state.map_id - first)
    table = bridge.light_table(own.atlas)
    seen = bridge.drawable(state, table.stops, own.atlas, world.simulator)
    agents = world.config.num_agents
    viewers = world.viewers[world.viewers // agents == number] % agents
    scene = bridge.scene(state, seen, table, bridge.ground_library(own.road_maps), viewers)
    assert (scene.light_state > 0).any(), "there are lights to be seen"
    return render(scene, world.rig, channels=("rgb",)).rgb


def assert_each_is_as_if_alone(world: PixelWorld) -> None:
    images = world.observe().images
    for number in range(world.config.num_worlds):
        mine = images[world.viewers // world.config.num_agents == number]
        assert len(mine) > 0
        assert torch.equal(mine, alone(world, number)), f"world {number}"


@pytest.fixture(scope="module")
def mixed(world: PixelWorld, scene_pack: Path) -> PixelWorld:
    """Worlds in a town and in recorded scenes, in turn."""
    config = replace(CONFIG, maps=("Town02", str(scene_pack)), num_worlds=4)
    return PixelWorld(config, teacher=world.teacher)


def test_towns_and_recorded_scenes_share_a_batch(mixed: PixelWorld) -> None:
    """Every world's pictures are those of that world drawn alone: its ground, its lights, its traffic."""
    mixed.reset(3)
    names = [mixed.places.road_maps[number].name for number in mixed.state.map_id.tolist()]
    assert names == ["Town02", "east", "Town02", "north"]
    control = np.asarray(mixed.state.scenario.control)
    assert (control[::2] == POLICY).all()
    assert control[1::2, :4].tolist() == [[POLICY, LOG, POLICY, POLICY]] * 2
    assert_each_is_as_if_alone(mixed)
    mixed.draw_drivers(1.0)
    for _ in range(4):
        mixed.follow(None)
    assert_each_is_as_if_alone(mixed)
    assert mixed.label().weight.sum() > 0
    walker = np.asarray(mixed.state.position)[1, 1]
    np.testing.assert_allclose(walker, (22.0, 3.5, 0.0), atol=1e-4)


def test_an_episode_ends_with_its_recording(mixed: PixelWorld) -> None:
    """After 6 s recorded worlds stand still and nobody looks; then a pack's world goes on with any of its scenes."""
    mixed.reset(4, stagger=True)
    assert mixed.state.step[1::2].tolist() == [0, 0]
    mixed.draw_drivers(1.0)
    for decision in range(12):
        if decision == 8:
            saved = mixed.state_dict()
        mixed.follow(None)
    before, steps = np.asarray(mixed.state.position), mixed.agent_steps
    assert set((mixed.viewers // CONFIG.num_agents).tolist()) == {0, 2}
    mixed.follow(None)
    after = np.asarray(mixed.state.position)
    np.testing.assert_array_equal(after[1::2], before[1::2])
    assert not np.array_equal(after[::2], before[::2])
    assert mixed.agent_steps - steps <= 2 * 2 * CONFIG.num_agents, "only agents in towns are counted"
    assert mixed.metrics()["progress_ratio"] is not None
    met = set()
    for _ in range(8):
        mixed.state = mixed.state.replace(step=jnp.where(jnp.arange(4) % 2, 24, 0))
        assert mixed.reset_finished() == 2
        met.add(int(mixed.state.map_id[1]))
    assert met == {1, 2}
    mixed.load_state_dict(saved)
    for _ in range(5):
        mixed.follow(None)
    np.testing.assert_array_equal(mixed.state.position, after)


def test_recorded_scenes_can_be_spawned_like_towns(world: PixelWorld, scene_pack: Path) -> None:
    config = replace(CONFIG, maps=("Town02", f"{scene_pack}:north"), replay=None, num_agents=4)
    spawned = PixelWorld(config, teacher=world.teacher)
    assert spawned.state.scenario.logged is None
    assert_each_is_as_if_alone(spawned)
    place = np.asarray(spawned.state.position)[1][np.asarray(spawned.state.present)[1]]
    assert len(place)
    assert np.abs(place[:, 0]).max() < 2.0, "on the lane that runs north along x = 0"


def test_a_real_scene_beside_a_town(world: PixelWorld, tmp_path: Path) -> None:
    """A scene of Waymo with an overpass and traffic lights; skipped without real logs."""
    logs = Path(os.environ.get("GIGAPIXEL_DATA", "")) / "logs" / "nuscenes_scenarionet"
    if not os.environ.get("GIGAPIXEL_DATA") or not logs.is_dir():
        pytest.skip(
            "real logs are read from the folder in GIGAPIXEL_DATA, which has no logs/nuscenes_scenarionet"
        )
    with ScenePackWriter(tmp_path / "real.h5") as writer:
        writer.add(read_scenarionet(next(logs.glob("waymo_overpass*"))))
    config = replace(CONFIG, maps=("Town02", str(writer.path)), num_agents=12)
    both = PixelWorld(config, teacher=world.teacher)
    both.draw_drivers(1.0)
    both.follow(None)
    assert_each_is_as_if_alone(both)


def test_refusals(world: PixelWorld) -> None:
    world.reset(1)
    world.draw_drivers(0.5)
    with pytest.raises(ValueError, match="plans were given for"):
        world.follow(Trajectory(torch.zeros(1, 8, 3)))
    with pytest.raises(ValueError, match="left to the student"):
        world.follow(None)
    for settings, sentence in (
        ({"maps": ()}, "world.maps is empty"),
        ({"num_agents": 0}, "world.num_agents=0"),
        ({"calibration_rigs": 0}, "world.calibration_rigs=0"),
        ({"plan_s": 0.3}, "world.plan_s=0.3"),
        ({"careful_share": 1.5}, "world.careful_share=1.5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            PixelWorldConfig(**settings)
    with pytest.raises(ValueError, match=r"more than the .* m of lanes in Town02 can hold"):
        PixelWorld(PixelWorldConfig(maps=("Town02",), num_agents=5000))
