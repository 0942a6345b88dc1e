"""Labels that end early: their poses count up to the moment at which the agent stops driving, and no further."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from simulator.dynamics.bicycle import rear_poses
from simulator.poses import to_frame
from student.batch import Batch, Label, turn_weights
from student.dagger.data import OnPolicyData
from student.dagger.replay_buffer import ReplayBuffer
from student.losses import LossConfig, imitation_loss, plan_errors, pose_l1, winner_takes_all_l1
from student.network.plan import Plan
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)
UP_TO_THIRD = torch.arange(8)[None] < 3


@pytest.fixture(scope="module")
def worlds() -> tuple[PixelWorld, PixelWorld]:
    """Two equal batches of worlds, the second one with masked labels; in both agents 0 and 1 of world 0 are about to
    collide head on."""
    plain = PixelWorld(CONFIG)
    masked = PixelWorld(replace(CONFIG, incomplete_labels="mask"), teacher=plain.teacher)
    for each in (plain, masked):
        each.reset(3)
        state = each.state
        heading = jnp.stack([jnp.cos(state.yaw[0, 0]), jnp.sin(state.yaw[0, 0]), jnp.zeros(())])
        size = state.scenario.size.at[0, :2].set(jnp.array([4.5, 2.0, 1.5]))
        each.state = state.replace(
            position=state.position.at[0, 1].set(state.position[0, 0] + 25.0 * heading),
            yaw=state.yaw.at[0, 1].set(state.yaw[0, 0] + np.pi),
            speed=state.speed.at[0, :2].set(12.0),
            active=state.active.at[0, :2].set(True),
            present=state.present.at[0, :2].set(True),
            scenario=state.scenario.replace(size=size),
        )
        each.assign_teacher(1.0)
        each._refresh()
    return plain, masked


def test_poses_count_until_the_crash_and_are_what_happens(worlds: tuple[PixelWorld, PixelWorld]) -> None:
    """The teacher drives on for 4 s: at each of the 8 poses the mask says who still drives, and where it says so the
    pose is where the agent is. Labels of the others are the same in both batches."""
    plain, masked = worlds
    label, dropped = masked.label(), plain.label()
    assert label.pose_valid is not None
    assert dropped.pose_valid is None
    agents = masked.ego_agents
    start = np.asarray(rear_poses(masked.state)).reshape(-1, 3)[agents.numpy()]
    whole = label.pose_valid.all(1)
    assert torch.equal(whole, dropped.valid)
    assert torch.equal(label.valid, label.pose_valid[:, 0])
    assert not whole[:2].any(), "both crash within 4 s"
    assert label.valid[:2].all(), "not within 0.5 s"
    for pose in range(8):
        masked.follow(None)
        drives = torch.isin(agents, masked.ego_agents)
        assert torch.equal(label.pose_valid[:, pose], drives), pose
        now = np.asarray(rear_poses(masked.state)).reshape(-1, 3)[agents.numpy()]
        there = np.asarray(to_frame(jnp.asarray(now), jnp.asarray(start)))[drives.numpy()]
        np.testing.assert_allclose(there, label.trajectory.poses[drives, pose].numpy(), atol=2e-3)


def test_losses_of_the_first_three_poses_by_hand() -> None:
    """1 m off at each pose: 1 m of loss over any mask. Poses 3 to 7 are a kilometre off, and masked."""
    target = torch.zeros(1, 8, 3)
    target[:, 3:] = 1000.0
    predicted = torch.zeros(1, 8, 3)
    predicted[..., 0] = 1.0
    predicted[:, 1, 2] = 0.3
    error = pose_l1(Trajectory(predicted), Trajectory(target), 2.0, UP_TO_THIRD)
    assert error.item() == pytest.approx((1 + 1.6 + 1) / 3)
    worse = torch.stack([predicted + 5.0, predicted], dim=1)
    assert winner_takes_all_l1(worse, Trajectory(target), 2.0, UP_TO_THIRD).item() == pytest.approx(
        error.item()
    )
    assert pose_l1(Trajectory(predicted), Trajectory(target), 2.0, ~UP_TO_THIRD & UP_TO_THIRD).item() == 0.0


def test_masked_poses_get_no_gradient_and_no_say() -> None:
    poses = torch.zeros(1, 8, 3, requires_grad=True)
    plan = Plan(Trajectory(poses), torch.zeros(1, 12), torch.zeros(1, 4, 1))
    label = Label(
        Trajectory(torch.ones(1, 8, 3)), torch.tensor([True]), torch.tensor([5]), pose_valid=UP_TO_THIRD
    )
    imitation_loss(plan, label, torch.ones(1), LossConfig())[0].backward()
    assert (poses.grad[:, :3] != 0).all()
    assert (poses.grad[:, 3:] == 0).all()
    errors = plan_errors(plan, label)
    assert errors["ade_m"].item() == pytest.approx(2**0.5)
    assert errors["fde_m"].item() == 0.0, "no label is whole"


def test_a_turn_counts_up_to_the_last_valid_pose() -> None:
    yaw = torch.linspace(0.05, 0.40, 8)  # 0.15 rad at the third pose, 0.40 rad (23 degrees) at the last
    poses = torch.stack([torch.zeros(8), torch.zeros(8), yaw], dim=-1)[None]
    assert turn_weights(Trajectory(poses)).item() == 5.0
    assert turn_weights(Trajectory(poses), pose_valid=UP_TO_THIRD).item() == 1.0


def test_masks_travel_through_the_replay_buffer(make_observation) -> None:
    label = Label(Trajectory(torch.zeros(4, 8, 3)), torch.ones(4, dtype=torch.bool), torch.arange(4))
    mask = torch.arange(8)[None] < torch.arange(1, 5)[:, None]
    buffer, copy = ReplayBuffer(4), ReplayBuffer(4)
    buffer.add(Batch(make_observation(4), replace(label, pose_valid=mask), torch.ones(4)))
    copy.load_state_dict(buffer.state_dict())
    found = copy.get(torch.tensor([2, 0])).label.pose_valid
    assert found is not None
    assert torch.equal(found, mask[[2, 0]])


def test_evaluations_compare_with_whole_labels_alone() -> None:
    data = OnPolicyData(replace(CONFIG, incomplete_labels="mask"))
    tiny = replace(data.validation_config, maps=CONFIG.maps, num_worlds=2)
    assert data.episode(tiny).world.config.incomplete_labels == "drop"
