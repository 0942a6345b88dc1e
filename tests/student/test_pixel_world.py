"""`PixelWorld`: labels are what then happens, plans and actions are followed, checkpoints restore everything."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Array, Float

from renderer import CalibrationNoise, render, sample_rigs
from simulator.conventions import COAST, HARDEST_BRAKING, NUM_JERK_ACTIONS
from simulator.dynamics.bicycle import rear_poses
from simulator.logs.readers.scenarionet import read_scenarionet
from simulator.logs.scene_pack import ScenePackWriter
from simulator.metrics.summary import Metrics
from simulator.poses import from_frame, to_frame
from simulator.reset.map_set import load_map_set
from simulator.state import LOG, POLICY
from student.batch import Label
from student.bridge.ground import ground_library
from student.bridge.scene import light_table, render_inputs, scene_of_worlds
from student.dagger.closed_loop import ClosedLoopConfig, Episode, drive_until_next_plan
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import Plan, PolicyConfig, StudentPolicy
from student.observation import Observation
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from teacher.label import Label as TeacherLabel

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)
TINY = PolicyConfig(
    EncoderConfig(features=16, channels=(8, 16)), PlannerConfig(hidden=32, layers=1), 4, 27, 48
)
NOISE = CalibrationNoise(focal_share=0.1, position_m=0.2, rotation_deg=3.0)


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    return PixelWorld(CONFIG)


@pytest.fixture(scope="module")
def noisy(world: PixelWorld) -> PixelWorld:
    """The same worlds, whose agents' cameras differ by a lot."""
    return PixelWorld(replace(CONFIG, calibration_noise=NOISE, calibration_rigs=3), teacher=world.teacher)


@pytest.fixture
def policy(torch_seed: None) -> StudentPolicy:
    return StudentPolicy(TINY).eval()


@pytest.fixture(scope="module")
def acting(world: PixelWorld) -> PixelWorld:
    """The same worlds, driven by the student's actions."""
    return PixelWorld(replace(CONFIG, drive_with="actions"), teacher=world.teacher)


TINY = PolicyConfig(
    EncoderConfig(features=16, channels=(8, 16)), PlannerConfig(hidden=32, layers=1), 4, 27, 48
)


class Scripted(StudentPolicy):
    """A policy that plans to stand still and chooses a given action at each call, the same for all agents."""

    def __init__(self, actions: list[int]) -> None:
        super().__init__(TINY)
        self.actions, self.observations = list(actions), list[Observation]()

    def forward(self, observation: Observation) -> Plan:
        """The next action of the script."""
        self.observations.append(observation)
        agents, action = len(observation), self.actions.pop(0)
        logits = torch.nn.functional.one_hot(torch.full((agents,), action), NUM_JERK_ACTIONS).float()
        return Plan(Trajectory(torch.zeros(agents, 8, 3)), logits, torch.zeros(agents, 4, 1))


def axles(world: PixelWorld) -> Float[Array, "agents 3"]:
    """Rear-axle poses of all agents of all worlds."""
    return rear_poses(world.state).reshape(-1, 3)


def position_of(world: PixelWorld) -> np.ndarray:
    return np.asarray(world.state.position)


def test_observations_and_labels_are_in_the_order_of_the_ego_agents(world: PixelWorld) -> None:
    world.reset(1)
    observation, label = world.observe(), world.label()
    observation.validate()
    label.trajectory.validate()
    assert observation.images.shape == (len(world.ego_agents), 4, 27, 48, 3)
    assert len(label) == len(world.ego_agents) == len(observation)
    speed = np.asarray(world.state.speed).ravel()[world.ego_agents.numpy()]
    np.testing.assert_allclose(observation.ego[:, 0].numpy() * 10.0, speed, rtol=1e-5)


def test_a_label_has_the_fields_of_the_teachers() -> None:
    ours, theirs = ({field.name for field in fields(label)} for label in (Label, TeacherLabel))
    assert ours == theirs


def test_a_label_is_what_the_teacher_then_does(world: PixelWorld) -> None:
    """The fork and the world agree: 4 s later every agent stands where its label said; it drives on if and
    only if the label is valid."""
    world.reset(2)
    world.assign_teacher(1.0)
    label, agents = world.label(), world.ego_agents
    start = axles(world)[agents.numpy()]
    for _ in range(8):
        world.follow(None)
    valid = label.valid.numpy()
    assert valid.mean() > 0.5
    driven = np.asarray(to_frame(axles(world)[agents.numpy()], start))
    np.testing.assert_allclose(driven[valid], label.trajectory.poses.numpy()[valid, -1], atol=2e-3)
    np.testing.assert_array_equal(torch.isin(agents, world.ego_agents).numpy(), valid)


def test_tracking_the_teachers_plans_stays_with_the_teacher(world: PixelWorld) -> None:
    """Plans renewed at 2 Hz from labels: after 4 s agents are on the first label's path, and not far along it from its
    end. The tracker feeds back the lateral error and the speed, not the distance along the path."""
    lateral, longitudinal = [], []
    for seed in (3, 4, 5, 6):
        world.reset(seed)
        world.assign_teacher(0.0)
        first, agents = world.label(), world.ego_agents.numpy()
        start = axles(world)[agents]
        for _ in range(8):
            world.follow(world.label().trajectory)
        kept = first.valid.numpy() & np.isin(agents, world.ego_agents.numpy())
        end = from_frame(jnp.asarray(first.trajectory.poses.numpy()[:, -1]), start)
        apart = np.asarray(to_frame(jnp.asarray(axles(world)[agents]), end))[kept]
        longitudinal.append(np.abs(apart[:, 0]))
        lateral.append(np.abs(apart[:, 1]))
    assert len(np.concatenate(lateral)) > 16
    assert np.concatenate(lateral).mean() < 0.1
    assert np.concatenate(longitudinal).mean() < 1.5


def test_standing_plans_stop_everyone(world: PixelWorld) -> None:
    world.reset(5)
    for _ in range(16):
        world.follow(Trajectory(torch.zeros(len(world.ego_agents), 8, 3)))
    assert np.abs(np.asarray(world.state.speed)).max() < 0.3


def test_beta_is_the_share_that_the_teacher_drives(world: PixelWorld) -> None:
    """200 draws of 12 agents at beta 0.3: within 5 sigma of 720 (chance of failure below 1e-6)."""
    world.reset(6)
    count = 0
    for _ in range(200):
        world.assign_teacher(0.3)
        count += int(np.asarray(world.teacher_mask).sum())
    assert abs(count - 720) < 5 * (2400 * 0.3 * 0.7) ** 0.5
    assert not world.teacher_drives_all
    world.assign_teacher(1.0)
    assert world.teacher_drives_all


@pytest.mark.parametrize("drive_with", ["trajectory", "actions"])
def test_the_teacher_drives_its_agents_and_the_student_the_others(world: PixelWorld, drive_with: str) -> None:
    """For one step the teacher's agents move as in worlds that it drives alone, the others as in worlds that the
    student drives alone; the student brakes."""

    def drive(beta: float) -> tuple[np.ndarray, np.ndarray]:
        world.reset(14)
        world.assign_teacher(beta)
        agents = len(world.ego_agents)
        if drive_with == "trajectory":
            world.follow(Trajectory(torch.zeros(agents, 8, 3)))
        else:
            world.act(torch.full((agents,), HARDEST_BRAKING))
        return position_of(world), np.asarray(world.teacher_mask)

    (alone, _), (taught, _), (mixed, by_teacher) = (drive(beta) for beta in (0.0, 1.0, 0.5))
    assert 0 < by_teacher.sum() < by_teacher.size
    np.testing.assert_allclose(mixed[~by_teacher], alone[~by_teacher], atol=1e-4)
    if drive_with == "actions":  # one step; over several the teacher reacts to the others
        np.testing.assert_allclose(mixed[by_teacher], taught[by_teacher], atol=1e-4)
    assert not np.allclose(alone, taught, atol=0.05)


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
            world.assign_teacher(0.5)
            drive_until_next_plan(world, policy, world.observe())
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


def test_actions_are_applied_at_every_simulator_step(world: PixelWorld, acting: PixelWorld) -> None:
    """A plan of 0.5 s is two steps: each with its own observation and action, as if `act` was called by hand."""
    script = [HARDEST_BRAKING, COAST, COAST, HARDEST_BRAKING]
    policy = Scripted(script)
    acting.reset(15)
    for _ in range(2):
        drive_until_next_plan(acting, policy, acting.observe())
    assert not policy.actions
    for each in (world, acting):  # the same worlds
        assert each.steps_per_plan == 2
    world.reset(15)
    for action, observation in zip(script, policy.observations, strict=True):
        assert torch.equal(observation.images, world.observe().images)
        assert torch.equal(observation.ego, world.observe().ego)
        world.act(torch.full((len(world.ego_agents),), action))
    np.testing.assert_array_equal(position_of(world), position_of(acting))
    assert world.agent_steps == acting.agent_steps > 0
    world.reset(15)
    for _ in range(4):
        world.act(torch.full((len(world.ego_agents),), HARDEST_BRAKING))
    assert not np.allclose(position_of(world), position_of(acting), atol=0.05)


def test_the_teachers_actions_reproduce_the_teachers_driving(world: PixelWorld) -> None:
    """Worlds driven for 3 s by `act` with the labelled action of every step go where the teacher drives them."""
    world.reset(16)
    world.assign_teacher(1.0)
    for _ in range(6):
        world.follow(None)
    taught, active = position_of(world), np.asarray(world.state.active)
    world.reset(16)
    start = position_of(world)
    for _ in range(12):
        world.act(world.label().action)
    np.testing.assert_allclose(position_of(world), taught, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(world.state.active), active)
    assert np.linalg.norm((taught - start)[active], axis=-1).max() > 3.0


def test_without_noise_everyone_has_the_rig_of_the_config(world: PixelWorld) -> None:
    world.reset(10)
    assert torch.equal(world.observe().images, render(world.scene(), world.rig).rgb)
    assert world.state_dict()["rigs"] == {}


def rig_choice(world: PixelWorld, seed: int) -> torch.Tensor:
    """Which of the rigs drawn by the seed of `PixelWorld.reset` each ego agent has, told by its images."""
    rigs = sample_rigs(world.rig, NOISE, 3, torch.Generator().manual_seed(seed))
    by_rig = torch.stack([render(world.scene(), rig).rgb for rig in rigs])
    same = (by_rig == world.observe().images).flatten(2).all(2)  # [rigs, ego_agents]
    assert (same.sum(0) == 1).all(), "every ego agent's images are those of exactly one rig"
    return same.int().argmax(0)


def test_noise_changes_what_is_seen_and_not_what_happens(world: PixelWorld, noisy: PixelWorld) -> None:
    """Each ego agent's images are those of one of the three rigs, all in use; traffic is the same."""
    for each in (world, noisy):
        each.reset(10)
        each.assign_teacher(1.0)
        each.follow(None)
    np.testing.assert_array_equal(position_of(world), position_of(noisy))
    assert len(rig_choice(noisy, 10).unique()) == 3
    assert not torch.equal(noisy.observe().images, world.observe().images)


def test_cameras_are_drawn_anew_with_the_episode_of_their_world(noisy: PixelWorld) -> None:
    def choice() -> dict[int, int]:
        return dict(zip(noisy.ego_agents.tolist(), rig_choice(noisy, 11).tolist(), strict=True))

    noisy.reset(11)
    first = choice()
    noisy.assign_teacher(1.0)
    noisy.follow(None)
    later = choice()
    assert later == {agent: first[agent] for agent in later}
    noisy.state = noisy.state.replace(active=noisy.state.active.at[1].set(False))
    assert noisy.reset_finished() == 1
    renewed = choice()
    agents = CONFIG.num_agents
    assert all(renewed[agent] == later[agent] for agent in later if agent < agents)
    assert any(renewed[agent] != first[agent] for agent in renewed if agent >= agents and agent in first)
    noisy.reset(11)
    assert choice() == first
    noisy.reset(12)
    images = noisy.observe().images
    rig_choice(noisy, 12)
    noisy.reset(11)
    assert not torch.equal(noisy.observe().images, images)


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


def test_an_episode_measures_driving_and_plans(world: PixelWorld) -> None:
    """A policy that plans to stand still: its errors are the mean lengths of the valid labels that were asked for, it
    makes less progress than the teacher, and both are given the same agents."""
    config = ClosedLoopConfig(maps=CONFIG.maps, num_worlds=2, seconds=4.0, label_every=2)
    metrics = Episode(world, config).drive(Scripted([COAST] * 8))
    names = set(Metrics.__dataclass_fields__)
    assert set(metrics) == names | {"ade_m", "fde_m", "action_accuracy"}
    assert metrics["at_fault_collision_rate"] is not None, "a student's evaluation has every figure"
    world.reset(config.seed)
    labels = []
    for decision in range(8):
        if decision % config.label_every == 0:
            label = world.label()
            labels.append(label[label.valid])
        world.follow(Trajectory(torch.zeros(len(world.ego_agents), 8, 3)))
    length = torch.cat([label.trajectory.poses[..., :2].norm(dim=-1) for label in labels])
    coasts = torch.cat([label.action == COAST for label in labels]).float()
    assert metrics["ade_m"] == pytest.approx(float(length.mean()), rel=1e-4)
    assert metrics["fde_m"] == pytest.approx(float(length[:, -1].mean()), rel=1e-4)
    assert metrics["action_accuracy"] == pytest.approx(float(coasts.mean()), rel=1e-4)
    taught = Episode(world, config).drive(None)
    assert set(taught) == names
    assert taught["agents"] == metrics["agents"]
    assert taught["progress"] > metrics["progress"]


def alone(world: PixelWorld, number: int) -> torch.Tensor:
    """What the viewers of one world see, drawn from its map alone and from its own state alone."""
    state = jax.tree.map(lambda leaf: leaf[number : number + 1], world.state)
    entry = world.config.maps[number % len(world.config.maps)]
    own = load_map_set([entry])
    first = world.map_set.entries[number % len(world.config.maps)].start
    state = state.replace(map_id=state.map_id - first)
    table = light_table(own.atlas)
    seen = render_inputs(state, table.stops, own.atlas, world.simulator)
    agents = world.config.num_agents
    viewers = world.ego_agents[world.ego_agents // agents == number] % agents
    scene = scene_of_worlds(state, seen, table, ground_library(own.road_maps), viewers)
    assert (scene.light_state > 0).any(), "there are lights to be seen"
    return render(scene, world.rig, channels=("rgb",)).rgb


def assert_each_is_as_if_alone(world: PixelWorld) -> None:
    images = world.observe().images
    for number in range(world.config.num_worlds):
        mine = images[world.ego_agents // world.config.num_agents == number]
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
    names = [mixed.map_set.road_maps[number].name for number in mixed.state.map_id.tolist()]
    assert names == ["Town02", "east", "Town02", "north"]
    control = np.asarray(mixed.state.scenario.control)
    assert (control[::2] == POLICY).all()
    assert control[1::2, :4].tolist() == [[POLICY, LOG, POLICY, POLICY]] * 2
    assert_each_is_as_if_alone(mixed)
    mixed.assign_teacher(1.0)
    for _ in range(4):
        mixed.follow(None)
    assert_each_is_as_if_alone(mixed)
    assert mixed.label().valid.any()
    walker = np.asarray(mixed.state.position)[1, 1]
    np.testing.assert_allclose(walker, (22.0, 3.5, 0.0), atol=1e-4)


def test_an_episode_ends_with_its_recording(mixed: PixelWorld) -> None:
    """After 6 s recorded worlds stand still and nobody looks; then a pack's world goes on with any of its scenes."""
    mixed.reset(4, stagger=True)
    assert mixed.state.step[1::2].tolist() == [0, 0]
    mixed.assign_teacher(1.0)
    for decision in range(12):
        if decision == 8:
            saved = mixed.state_dict()
        mixed.follow(None)
    before, steps = np.asarray(mixed.state.position), mixed.agent_steps
    assert set((mixed.ego_agents // CONFIG.num_agents).tolist()) == {0, 2}
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
    assert spawned.state.scenario.log is None
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
    both.assign_teacher(1.0)
    both.follow(None)
    assert_each_is_as_if_alone(both)


def test_refusals(world: PixelWorld) -> None:
    world.reset(1)
    world.assign_teacher(0.5)
    with pytest.raises(ValueError, match="plans were given for"):
        world.follow(Trajectory(torch.zeros(1, 8, 3)))
    with pytest.raises(ValueError, match=r"Trajectory\.poses has 6 poses; 8 are expected"):
        world.follow(Trajectory(torch.zeros(len(world.ego_agents), 6, 3)))
    with pytest.raises(ValueError, match=r"Trajectory\.poses holds a value that is not finite"):
        world.follow(Trajectory(torch.full((len(world.ego_agents), 8, 3), torch.nan)))
    with pytest.raises(ValueError, match="the student drives some agents"):
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
