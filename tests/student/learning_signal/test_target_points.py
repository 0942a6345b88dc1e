"""Target points: where they are, that the network reads them, and that students without them stay as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from simulator.config import SimulatorConfig
from simulator.conventions import WHEELBASE_RATIO
from student.batch import Batch, Label
from student.bridge.scene import target_points
from student.checkpoint import load_policy, load_weights, save_policy
from student.dagger.data import OnPolicyData
from student.dagger.replay_buffer import ReplayBuffer
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.observation import TARGET_SCALE_M, TARGET_SPACING_M, Command, Observation
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from tests.worlds import world_on_straight_routes

PROPOSALS = PlannerConfig(kind="proposals", hidden=16, layers=1, proposals=2, head_hidden=16)
CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)


@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_points_on_a_straight_route_by_hand(yaw: float) -> None:
    """A car of 4 m, 7.3 m along its route and 0.5 m left of it: its rear axle is 1.2 m behind its centre, so that the
    first point lies 15 + 1.2 m ahead and 0.5 m to the right, the second 15 m further. The world may be turned."""
    along = np.array([np.cos(yaw), np.sin(yaw)])
    left = np.array([-along[1], along[0]])
    state = world_on_straight_routes([3.0], [4.0], [yaw], [5.0], SimulatorConfig())
    place = np.array([3.0, 4.0]) + 7.3 * along + 0.5 * left
    moved = state.replace(
        position=jnp.array([[place[0], place[1], 0.0]], jnp.float32), route_m=jnp.array([7.3])
    )
    found = np.asarray(target_points(jax.tree.map(lambda leaf: leaf[None], moved), 2))[0, 0]
    axle = 0.5 * WHEELBASE_RATIO * 4.0
    expected = np.array([[TARGET_SPACING_M + axle, -0.5], [2 * TARGET_SPACING_M + axle, -0.5]])
    np.testing.assert_allclose(TARGET_SCALE_M * found, expected, atol=1e-3)


def with_points(observation: Observation, points: int, seed: int = 0) -> Observation:
    random = torch.Generator().manual_seed(seed)
    return replace(observation, target_points=torch.randn(len(observation), points, 2, generator=random))


@pytest.mark.parametrize("kind", ["trunk", "proposals"])
def test_the_plan_depends_on_the_points(
    kind: str, tiny_config: PolicyConfig, make_observation, torch_seed: None
) -> None:
    config = replace(tiny_config, planner=PROPOSALS) if kind == "proposals" else tiny_config
    plain = StudentPolicy(config).eval()
    pointed = StudentPolicy(replace(config, target_points=2)).eval()
    numbers = [sum(weight.numel() for weight in one.parameters()) for one in (plain, pointed)]
    assert numbers[1] - numbers[0] == 4 * config.planner.hidden, "four more inputs of one layer"
    observation = make_observation(3)
    one, other = (pointed(with_points(observation, 2, seed)).action_logits for seed in (1, 2))
    assert not torch.allclose(one, other)
    alike = [plain(seen).action_logits for seen in (observation, with_points(observation, 2))]
    assert torch.equal(*alike), "a student that takes none ignores them"
    with pytest.raises(ValueError, match="target_points holds 0 points; this policy takes 2"):
        pointed(observation)


def test_files_know_their_points(tiny_config: PolicyConfig, make_observation, tmp_path: Path) -> None:
    config = replace(tiny_config, target_points=3)
    policy = StudentPolicy(config).eval()
    save_policy(policy, tmp_path / "pointed.pt")
    loaded = load_policy(tmp_path / "pointed.pt")
    assert loaded.config == config
    observation = with_points(make_observation(2), 3)
    assert torch.equal(loaded(observation).trajectory.poses, policy(observation).trajectory.poses)
    with pytest.raises(ValueError, match="target_points is 3 there and 0 here"):
        load_weights(StudentPolicy(tiny_config), tmp_path / "pointed.pt")


def test_the_shipped_student_takes_none(repository: Path) -> None:
    assert load_policy(repository / "student" / "pretrained" / "student.pt").config.target_points == 0


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    world = PixelWorld(replace(CONFIG, target_points=2))
    world.reset(2)
    world.assign_teacher(1.0)
    for _ in range(4):
        world.follow(None)
    return world


def test_worlds_give_them_also_for_other_routes(world: PixelWorld) -> None:
    """An other way is told by another command or by a target point that lies elsewhere: of those whose command is the
    same, some point is more than 2 m away."""
    observation = world.observe()
    observation.validate()
    points = observation.target_points
    assert points is not None
    assert points.shape == (len(world.ego_agents), 2, 2)
    np.testing.assert_array_equal(
        points, np.asarray(target_points(world.state, 2)).reshape(-1, 2, 2)[world.ego_agents.numpy()]
    )
    assert PixelWorld(CONFIG, teacher=world.teacher).observe().target_points is None
    found = 0
    for _ in range(4):
        label, told = world.label_elsewhere(1.0)
        assert told.target_points is not None
        same = (told.command == observation.command).all(1)
        apart = TARGET_SCALE_M * (told.target_points - points).norm(dim=-1).amax(1)
        assert (apart[label.valid & same] > 2.0).all()
        found += int(label.valid.sum())
    assert found


def test_points_are_hidden_with_the_command(make_observation) -> None:
    data = OnPolicyData(CONFIG, command_dropout=0.5, batch_size=200)
    data.buffer, data.world = ReplayBuffer(20), object.__new__(PixelWorld)
    label = Label(Trajectory(torch.zeros(20, 8, 3)), torch.ones(20, dtype=torch.bool), torch.zeros(20).long())
    data.buffer.add(Batch(with_points(make_observation(20), 2), label, torch.ones(20)))
    drawn = data.draw().observation
    assert drawn.target_points is not None
    unknown = drawn.command[:, Command.UNKNOWN] == 1
    zero = (drawn.target_points == 0).flatten(1).all(1)
    assert 60 < zero.sum() < 140
    assert unknown[zero].all()


def test_refusals(tiny_config: PolicyConfig) -> None:
    with pytest.raises(ValueError, match=r"policy\.target_points=-1 must not be negative"):
        replace(tiny_config, target_points=-1)
    with pytest.raises(ValueError, match=r"contract='gigapixel' has no room for policy\.target_points=1"):
        PolicyConfig(EncoderConfig(features=16), PROPOSALS, contract="gigapixel", target_points=1)
    with pytest.raises(ValueError, match=r"world\.target_points=-2"):
        PixelWorldConfig(target_points=-2)
