"""Trajectories: frames, arcs, and errors."""

from __future__ import annotations

import math

import pytest
import torch

from simulator.angles import wrap_angle
from simulator.conventions import POSE_SPACING_S
from student.batch import turn_weights
from student.trajectory import Trajectory, chain, displacement_m


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


def test_chained_headings_stay_in_range() -> None:
    """Three and a half turns to the left end at half a turn; every heading lies in [-pi, pi)."""
    turn = torch.full((1, 8), 7 * math.pi / 8)
    poses = chain(torch.ones(1, 8), turn, torch.zeros(1, 8)).poses[0]
    assert ((poses[:, 2] >= -math.pi) & (poses[:, 2] < math.pi)).all()
    torch.testing.assert_close(wrap_angle(poses[-1, 2] - math.pi), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_slip_moves_to_the_left_of_the_heading() -> None:
    """North-bound after a left quarter turn on the spot, 0.1 m of slip per step leads west."""
    turn = torch.zeros(1, 8)
    turn[0, 0] = math.pi / 2
    slip = torch.full((1, 8), 0.1)
    slip[0, 0] = 0.0
    poses = chain(torch.zeros(1, 8), turn, slip).poses[0]
    torch.testing.assert_close(poses[:, 0], -0.1 * torch.arange(8.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(poses[:, 1], torch.zeros(8), atol=1e-6, rtol=0)


def test_wrong_trajectories_are_refused() -> None:
    poses = torch.zeros(1, 8, 3)
    poses[0, 3, 1] = float("nan")
    with pytest.raises(ValueError, match=r"Trajectory\.poses .* not finite"):
        Trajectory(poses).validate()
    with pytest.raises(ValueError, match=r"has 6 poses; 8 are expected"):
        Trajectory(torch.zeros(1, 6, 3)).validate()
