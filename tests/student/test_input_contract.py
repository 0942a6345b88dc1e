"""The numbers of each contract in their order, and poses of the box centre."""

from __future__ import annotations

import math

import pytest
import torch

from simulator.conventions import TRAIT_NAMES
from student.network.input_contract import (
    EGO_WIDTH,
    GIGAPIXEL_CAMERAS,
    centre_offset_m,
    ego_vector,
    move_poses,
)
from student.observation import Observation, ego_features, one_hot_command


def observation(length_m: float = 5.0, **traits: float) -> Observation:
    """One agent at 8 m/s, accelerating by 1.5 and 0.5 m/s2, turning right, with scaled traits 0 but those given."""
    one = torch.ones(1)
    ego = ego_features(8 * one, 1.5 * one, 0.5 * one, 0.1 * one, torch.tensor([[length_m, 2.1, 1.5]]))
    conditioning = torch.tensor([[traits.get(name, 0.0) for name in TRAIT_NAMES]])
    images, mask = torch.zeros(1, 4, 9, 16, 3, dtype=torch.uint8), torch.ones(1, 4, dtype=torch.bool)
    return Observation(images, mask, ego, one_hot_command(torch.tensor([2])), conditioning)


def test_the_25_numbers_in_order() -> None:
    """Pose 3, velocity 2, acceleration 2, command 4, length and width, then the 12 coefficients."""
    traits = {"collision": 1.0, "red_light": 0.5, "overspeed": 1.0, "lane_align": 0.25, "reverse": -1.0}
    found = ego_vector(observation(**traits), "gigapixel")[0].tolist()
    motion = [0, 0, 0, 8.0, 0, 1.5, 0.5]
    coefficients = [-1.0, 0, 0, 0.25, 0, 0, -0.5, 0, 1.0, -0.4, 1.0, 1.0]
    assert found == pytest.approx([*motion, 0, 0, 1, 0, 5.0, 2.1, *coefficients])
    assert EGO_WIDTH == {"native": 27, "gigapixel": 25}
    assert ego_vector(observation(), "native").shape == (1, 27)


def test_cameras_are_in_the_order_of_the_default_rig() -> None:
    from renderer import CameraRig

    names = tuple(name.removeprefix("front_") for name in CameraRig.nuplan().names)
    assert names == GIGAPIXEL_CAMERAS == ("front", "left", "right", "back")


def test_box_centre_poses_by_the_published_formula_and_back() -> None:
    """d = 1.461 m as in the authors' evaluation: x' = x + d (1 - cos h), y' = y - d sin h from centre to rear axle."""
    distance = torch.tensor([1.461])
    centre = torch.tensor([[[[10.0, 2.0, math.pi / 3], [12.0, -1.0, -0.2]]]])
    rear = move_poses(centre, -distance)
    assert rear[0, 0, 0].tolist() == pytest.approx(
        [10 + 1.461 * 0.5, 2 - 1.461 * math.sin(math.pi / 3), math.pi / 3], rel=1e-5
    )
    torch.testing.assert_close(move_poses(rear, distance), centre)


def test_a_turn_on_the_spot_of_the_rear_axle_moves_the_centre() -> None:
    """By a quarter turn to the left, the centre of a car of 5 m, 1.5 m ahead, comes to lie left of the axle."""
    ego = observation(length_m=5.0).ego
    assert float(centre_offset_m(ego)) == pytest.approx(1.5)
    turned = torch.tensor([[[[0.0, 0.0, math.pi / 2]]]])
    torch.testing.assert_close(
        move_poses(turned, centre_offset_m(ego)),
        torch.tensor([[[[-1.5, 1.5, math.pi / 2]]]]),
        atol=1e-6,
        rtol=0,
    )
