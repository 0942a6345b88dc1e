"""What numbers a student is given beside the images, and at which point of the vehicle its poses are.

| contract   | ego vector                                                              | poses of              |
|------------|-------------------------------------------------------------------------|-----------------------|
| `native`   | 27: EGO_SCALES (8), command (4), driver traits (15)                      | the rear axle         |
| `gigapixel`| 25, SI units: pose x, y, yaw (0, 0, 0), velocity 2, acceleration 2,      | the centre of the box |
|            | command (4), length, width, 12 reward coefficients                      |                       |

`gigapixel` is what the published evaluation code of Gigapixel's authors gives their students: four cameras in the
order GIGAPIXEL_CAMERAS at GIGAPIXEL_HEIGHT_PX x GIGAPIXEL_WIDTH_PX. Everything outside the network stays as it is:
an `Observation` goes in and a `Trajectory` of the rear axle comes out.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from simulator.conventions import NUM_TRAITS, TRAIT_NAMES, WHEELBASE_RATIO
from student.observation import EGO_FEATURES, Command, Observation, ego_value

Contract = Literal["native", "gigapixel"]
GIGAPIXEL_HEIGHT_PX, GIGAPIXEL_WIDTH_PX = 252, 434
GIGAPIXEL_CAMERAS = ("front", "left", "right", "back")
"""Registers are learned for each camera, so the order is part of the weights; `configs/cameras/nuplan.yaml` has it."""
GIGAPIXEL_COEFFICIENTS: dict[str, tuple[str, float] | float] = {
    "collision": ("collision", -1.0),
    "offroad": ("offroad", -1.0),
    "comfort": ("comfort", -1.0),
    "lane_align": ("lane_align", 1.0),
    "lane_center": ("lane_center", -1.0),
    "velocity": 0.0,
    "traffic_light": ("red_light", -1.0),
    "timestep": 0.0,
    "reverse": ("reverse", -1.0),
    "goal_radius": -0.4,
    "overspeed": ("overspeed", 1.0),
    "goal_speed_tol": 1.0,
}
"""The authors' reward coefficients in order, in [-1, 1]: our driver trait and the sign that makes its largest weight
the one that they evaluate with (strongest penalties: collision -1, overspeed 1), or their own value at evaluation of
what our drivers do not vary."""
EGO_WIDTH: dict[Contract, int] = {
    "native": EGO_FEATURES + len(Command) + NUM_TRAITS,
    "gigapixel": 3 + 2 + 2 + len(Command) + 2 + len(GIGAPIXEL_COEFFICIENTS),
}
"""Numbers of the ego vector by contract."""


def ego_vector(observation: Observation, contract: Contract) -> Float[Tensor, "batch ego"]:
    """The numbers beside the images, in the order of the contract."""
    ego, command, conditioning = observation.ego, observation.command, observation.conditioning
    if contract == "native":
        return torch.cat([ego, command, conditioning], dim=-1)
    zero = torch.zeros_like(ego[:, 0])
    motion = [
        ego_value(ego, name) for name in ("speed_mps", "acceleration_mps2", "lateral_acceleration_mps2")
    ]
    size = [ego_value(ego, name) for name in ("length_m", "width_m")]
    coefficients = [
        torch.full_like(zero, entry)
        if isinstance(entry, float)
        else entry[1] * conditioning[:, TRAIT_NAMES.index(entry[0])]
        for entry in GIGAPIXEL_COEFFICIENTS.values()
    ]
    before = [zero, zero, zero, motion[0], zero, *motion[1:]]  # the rear axle does not move sideways
    return torch.cat([torch.stack(before, -1), command, torch.stack([*size, *coefficients], -1)], dim=-1).to(
        ego.dtype
    )


def centre_offset_m(ego: Float[Tensor, "batch ego"]) -> Float[Tensor, " batch"]:
    """Distance from the rear axle to the centre of the box, half a wheelbase."""
    return 0.5 * WHEELBASE_RATIO * ego_value(ego, "length_m")


def move_poses(
    poses: Float[Tensor, "batch proposals poses 3"], forward_m: Float[Tensor, " batch"]
) -> Float[Tensor, "batch proposals poses 3"]:
    """The same motion as poses of a point that lies `forward_m` further ahead on the vehicle, relative to that point's
    own first pose: x' = x - d (1 - cos yaw), y' = y + d sin yaw. A negative distance is the inverse."""
    x, y, yaw = poses.unbind(-1)
    distance = forward_m[:, None, None]
    return torch.stack([x - distance * (1 - torch.cos(yaw)), y + distance * torch.sin(yaw), yaw], dim=-1)
