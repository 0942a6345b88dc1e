"""The student network: shapes, what untrained heads say, missing cameras, learning, files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from simulator.conventions import POSE_SPACING_S
from student.checkpoint import load_policy, load_weights, save_policy
from student.losses import LossConfig, imitation_loss, pose_l1
from student.network.encoders import EncoderConfig, build_encoder
from student.network.planner import PlannerConfig, TrajectoryHead
from student.network.policy import PolicyConfig, StudentPolicy
from student.observation import Command, command_from_heading_change, ego_features, ego_value, one_hot_command
from student.targets import Targets
from student.trajectory import Trajectory

pytestmark = pytest.mark.usefixtures("torch_seed")


def test_plan_shapes_and_gradients_reach_every_weight(tiny_config, make_observation) -> None:
    policy = StudentPolicy(tiny_config)
    observation = make_observation(5)
    observation.camera_mask[0, 1] = False
    plan = policy(observation)
    assert plan.trajectory.poses.shape == (5, 8, 3)
    assert plan.action_logits.shape == (5, 12)
    assert plan.tokens.shape == (5, 4, 16)
    (plan.trajectory.poses.square().sum() + plan.action_logits.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in policy.parameters())


def test_a_silent_head_goes_on_as_it_goes() -> None:
    """With an output of zero the plan holds speed and steering; a standing agent stays where it is."""
    head = TrajectoryHead(4)
    torch.nn.init.zeros_(head.project.weight)
    speed, zero = torch.tensor([8.0, 0.0]), torch.zeros(2)
    steering = torch.tensor([0.1, 0.3])
    ego = ego_features(speed, zero, zero, steering, torch.tensor([[5.0, 2.0, 1.5]]).expand(2, 3))
    poses = head(torch.zeros(2, 4), ego).poses.detach()
    curvature = torch.tan(steering[0]) / 3.0
    assert float(poses[0, -1, 2]) == pytest.approx(float(8 * POSE_SPACING_S * 8.0 * curvature), rel=1e-3)
    assert poses[1].abs().max() < 0.05


def test_a_missing_camera_cannot_be_seen(tiny_config, make_observation) -> None:
    policy = StudentPolicy(tiny_config).eval()
    observation = make_observation(3)
    observation.camera_mask[:, 2] = False
    other = observation.images.clone()
    other[:, 2] = 255 - other[:, 2]
    first = policy(observation).trajectory.poses
    torch.testing.assert_close(
        policy(replace(observation, images=other)).trajectory.poses, first, atol=0, rtol=0
    )
    other[:, 0] = 255 - other[:, 0]
    assert not torch.equal(policy(replace(observation, images=other)).trajectory.poses, first)


def test_every_command_asks_for_its_own_plan(tiny_config, make_observation) -> None:
    """The command must reach the plan through more than the picture: same pictures, other command, other plan."""
    policy = StudentPolicy(tiny_config)
    observation = make_observation(1)
    plans = [
        policy(replace(observation, command=one_hot_command(torch.tensor([int(command)])))).trajectory.poses
        for command in Command
    ]
    assert all(not torch.equal(plans[0], plan) for plan in plans[1:])


def test_command_thresholds() -> None:
    change = torch.deg2rad(torch.tensor([26.0, 24.0, -24.0, -26.0, float("nan")]))
    names = [Command(int(index)).name for index in command_from_heading_change(change)]
    assert names == ["LEFT", "STRAIGHT", "STRAIGHT", "RIGHT", "UNKNOWN"]


def test_ego_values_survive_scaling() -> None:
    size = torch.tensor([[4.0, 1.8, 1.5]])
    one = torch.ones(1)
    ego = ego_features(12.0 * one, -2.0 * one, 1.5 * one, 0.2 * one, size)
    found = [float(ego_value(ego, name)) for name in ("speed_mps", "steering_rad", "length_m", "stopped")]
    assert found == pytest.approx([12.0, 0.2, 4.0, 0.0])


def test_loss_by_hand_and_weights() -> None:
    """Sample 0 is 1 m off at every pose and 0.1 rad at every pose; sample 1 is right. Weights 3 and 1."""
    target = torch.zeros(2, 8, 3)
    predicted = target.clone()
    predicted[0] += torch.tensor([1.0, 0.0, 0.1])
    error = pose_l1(Trajectory(predicted), Trajectory(target), yaw_weight_m=2.0)
    torch.testing.assert_close(error, torch.tensor([1.2, 0.0]))
    from student.network.policy import Plan

    plan = Plan(Trajectory(predicted), torch.zeros(2, 12), torch.zeros(2, 4, 1))
    targets = Targets(Trajectory(target), torch.tensor([0, 5]), torch.tensor([3.0, 1.0]))
    loss, terms = imitation_loss(plan, targets, LossConfig(yaw_weight_m=2.0, action_weight=0.5))
    assert float(terms["loss_trajectory"]) == pytest.approx(0.9)
    assert float(loss) == pytest.approx(0.9 + 0.5 * torch.log(torch.tensor(12.0)).item(), rel=1e-5)


def test_it_learns_a_plan_from_pixels(tiny_config, make_observation) -> None:
    """A plan that depends on the brightness of one camera is learnt: the error falls to under a fifth."""
    policy = StudentPolicy(tiny_config)
    observation = make_observation(16)
    bright = torch.arange(16) % 2 == 0
    observation.images[:, 0] = torch.where(bright[:, None, None, None], 220, 30).to(torch.uint8)
    poses = torch.zeros(16, 8, 3)
    poses[..., 0] = torch.where(bright, 1.0, 4.0)[:, None] * torch.arange(1, 9)
    targets = Targets(Trajectory(poses), torch.where(bright, 1, 7), torch.ones(16))
    optimiser = torch.optim.Adam(policy.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        loss, _ = imitation_loss(policy(observation), targets, LossConfig())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_backbones_give_one_token_per_picture(name: str) -> None:
    config = EncoderConfig(kind="timm", timm_name=name, features=16, input_height_px=96, input_width_px=96)
    encoder = build_encoder(config, 27, 48)
    tokens = encoder(torch.randint(0, 256, (3, 27, 48, 3), dtype=torch.uint8))
    assert tokens.shape == (3, 16)
    assert torch.isfinite(tokens).all()


def test_saved_policy_answers_the_same(tiny_config, make_observation, tmp_path) -> None:
    policy = StudentPolicy(tiny_config).eval()
    save_policy(policy, tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert loaded.config == tiny_config
    torch.testing.assert_close(
        loaded(make_observation(2)).trajectory.poses,
        policy(make_observation(2)).trajectory.poses,
        atol=0,
        rtol=0,
    )


def test_another_architecture_is_refused(tiny_config, tmp_path) -> None:
    save_policy(StudentPolicy(tiny_config), tmp_path / "policy.pt")
    wider = replace(tiny_config, planner=PlannerConfig(hidden=64, layers=1))
    with pytest.raises(
        ValueError, match=r"policy\.pt holds another .*planner\.hidden is 32 there and 64 here"
    ):
        load_weights(StudentPolicy(wider), tmp_path / "policy.pt")


def test_files_that_are_no_policy_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no such student policy"):
        load_policy(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt is not a student policy file"):
        load_policy(tmp_path / "text.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt is not a student policy file"):
        load_policy(tmp_path / "other.pt")


def test_a_truncated_policy_is_refused(tiny_config, tmp_path) -> None:
    path = tmp_path / "policy.pt"
    save_policy(StudentPolicy(tiny_config), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"policy\.pt is not a student policy file"):
        load_policy(path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EncoderConfig(channels=(12,)), "multiples of 8"),
        (lambda: PlannerConfig(hidden=0), "planner.hidden=0"),
        (lambda: PolicyConfig(num_cameras=0), "policy.num_cameras=0"),
        (lambda: LossConfig(action_weight=-1.0), "action_weight=-1.0"),
        (
            lambda: build_encoder(EncoderConfig(kind="timm", timm_name="resnet_of_mine"), 27, 48),
            "not a timm model",
        ),
    ],
)
def test_impossible_settings_are_refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_pictures_of_another_size_are_refused(tiny_config, make_observation) -> None:
    observation = make_observation(1)
    with pytest.raises(ValueError, match=r"is \(4, 20, 48\) .* takes \(4, 27, 48\)"):
        StudentPolicy(tiny_config)(replace(observation, images=observation.images[:, :, :20]))


def test_observations_are_checked(make_observation) -> None:
    good = make_observation(2)
    good.validate()
    with pytest.raises(ValueError, match="must be one-hot"):
        replace(good, command=torch.zeros(2, 4)).validate()
    with pytest.raises(ValueError, match=r"Observation\.ego holds a value that is not finite"):
        replace(good, ego=torch.full_like(good.ego, float("nan"))).validate()


def test_the_room_itself_never_loads_jax(repository) -> None:
    modules = "student, student.losses, student.module, student.network.encoders"
    code = f"import {modules}, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == 0
