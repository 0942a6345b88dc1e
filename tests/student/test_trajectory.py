"""Trajectories: frames, arcs, and errors."""

from __future__ import annotations

import math

import pytest
import torch

from simulator.conventions import POSE_SPACING_S
from student.targets import turn_weights
from student.trajectory import Trajectory, chain, displacement_m, from_world, wrap_angle


def test_world_and_back_is_identity() -> None:
    random = torch.Generator().manual_seed(1)
    poses = torch.randn(6, 8, 3, generator=random) * torch.tensor([20.0, 5.0, 1.0])
    axle = torch.randn(6, 3, generator=random) * torch.tensor([100.0, 100.0, 2.0])
    back = from_world(Trajectory(poses).in_world(axle), axle)
    torch.testing.assert_close(back.poses[..., :2], poses[..., :2], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        wrap_angle(back.poses[..., 2] - poses[..., 2]), torch.zeros(6, 8), atol=1e-5, rtol=0
    )


def test_in_world_by_hand() -> None:
    """One metre ahead and two to the left of an agent at (10, 20) that heads north is (8, 21)."""
    poses = torch.zeros(1, 8, 3)
    poses[0, 0] = torch.tensor([1.0, 2.0, 0.5])
    world = Trajectory(poses).in_world(torch.tensor([[10.0, 20.0, math.pi / 2]]))
    torch.testing.assert_close(world[0, 0], torch.tensor([8.0, 21.0, math.pi / 2 + 0.5]))


def test_constant_curvature_chains_to_a_circle() -> None:
    radius, speed = 12.0, 6.0
    advance = torch.full((1, 8), speed * POSE_SPACING_S)
    poses = chain(advance, advance / radius, torch.zeros(1, 8)).poses[0]
    angle = torch.arange(1, 9) * speed * POSE_SPACING_S / radius
    torch.testing.assert_close(poses[:, 0], radius * torch.sin(angle), atol=1e-4, rtol=0)
    torch.testing.assert_close(poses[:, 1], radius * (1 - torch.cos(angle)), atol=1e-4, rtol=0)
    torch.testing.assert_close(poses[:, 2], angle)


def test_displacement_and_turn_weights_by_hand() -> None:
    straight, turning = torch.zeros(1, 8, 3), torch.zeros(1, 8, 3)
    turning[0, -1] = torch.tensor([3.0, 4.0, math.radians(-16)])
    distance = displacement_m(Trajectory(straight), Trajectory(turning))
    assert distance[0, -1] == 5.0
    assert distance[0, :-1].sum() == 0.0
    assert turn_weights(Trajectory(torch.cat([straight, turning]))).tolist() == [1.0, 5.0]


def test_poses_that_are_not_finite_are_refused() -> None:
    poses = torch.zeros(1, 8, 3)
    poses[0, 3, 1] = float("nan")
    with pytest.raises(ValueError, match=r"Trajectory\.poses .* not finite"):
        Trajectory(poses).validate()
