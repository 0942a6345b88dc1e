"""The student's input: camera images, ego motion, a navigation command and the reward conditioning.

Every constant that scales a physical quantity into a network input is defined here, for the simulator bridge and the
reader of real data alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from simulator.conventions import NUM_TRAITS, STANDSTILL_MPS
from student.tensor_batch import TensorBatch

EGO_SCALES: dict[str, float] = {
    "speed_mps": 10.0,
    "acceleration_mps2": 5.0,
    "lateral_acceleration_mps2": 5.0,
    "steering_rad": 0.5,
    "length_m": 5.0,
    "width_m": 2.0,
    "height_m": 2.0,
    "stopped": 1.0,
}
"""Ego inputs in order, and what each is divided by. `stopped` is 1 below STANDSTILL_MPS, else 0."""

EGO_FEATURES = len(EGO_SCALES)
COMMAND_THRESHOLD_RAD = math.radians(25.0)
"""Heading change of the route over COMMAND_LOOKAHEAD_M beyond which the command is a turn."""
COMMAND_LOOKAHEAD_M = 28.0


TARGET_SPACING_M = 15.0
"""Distance along the route to the first target point, and from each to the next (our choice)."""
TARGET_SCALE_M = 20.0
"""What the coordinates of target points are divided by."""


class Command(IntEnum):
    """Navigation command, in the order of the one-hot input. UNKNOWN: no route is known."""

    LEFT = 0
    STRAIGHT = 1
    RIGHT = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Observation(TensorBatch):
    """Inputs of a batch of agents; each field has a leading [batch]."""

    images: UInt8[Tensor, "batch cameras height width 3"]  # RGB
    camera_mask: Bool[Tensor, "batch cameras"]  # False: the camera is missing, its image is ignored
    ego: Float[Tensor, "batch ego"]  # EGO_SCALES order, already scaled
    command: Float[Tensor, "batch commands"]  # one-hot over Command
    conditioning: Float[Tensor, "batch conditioning"]  # reward conditioning, scaled to [-1, 1]
    target_points: Float[Tensor, "batch points 2"] | None = None
    """Points of the route TARGET_SPACING_M, 2 TARGET_SPACING_M, ... ahead: x forward, y left of the rear axle, over
    TARGET_SCALE_M; all 0 where they are hidden. None for students that are given none."""

    def validate(self) -> None:
        """Raises ValueError for wrong widths, commands that are not one-hot and numbers that are not finite."""
        for name, want in (
            ("ego", EGO_FEATURES),
            ("command", len(Command)),
            ("conditioning", NUM_TRAITS),
        ):
            got = getattr(self, name).shape[-1]
            if got != want:
                raise ValueError(f"Observation.{name} has {got} features; {want} are expected")
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"Observation.{name} holds a value that is not finite")
        if self.target_points is not None and not torch.isfinite(self.target_points).all():
            raise ValueError("Observation.target_points holds a value that is not finite")
        one_hot = ((self.command == 0) | (self.command == 1)).all() and (self.command.sum(-1) == 1).all()
        if not one_hot:
            raise ValueError("Observation.command must be one-hot: exactly one 1 per row")


@dataclass(frozen=True)
class Told(TensorBatch):
    """What agents are told of their way, as in `Observation`."""

    command: Float[Tensor, "batch commands"]
    target_points: Float[Tensor, "batch points 2"] | None = None


def ego_features(
    speed_mps: Float[Tensor, " batch"],
    acceleration_mps2: Float[Tensor, " batch"],
    lateral_acceleration_mps2: Float[Tensor, " batch"],
    steering_rad: Float[Tensor, " batch"],
    size_m: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch ego"]:
    """The scaled ego vector in the order of EGO_SCALES; size is length, width, height; steering is the front wheel
    angle of the bicycle model."""
    stopped = (speed_mps.abs() < STANDSTILL_MPS).float()
    motion = [speed_mps, acceleration_mps2, lateral_acceleration_mps2, steering_rad]
    columns = torch.stack([*motion, *size_m.unbind(-1), stopped], dim=-1)
    return columns / _ego_scales(columns.dtype, columns.device)


@cache
def _ego_scales(dtype: torch.dtype, device: torch.device) -> Float[Tensor, " ego"]:
    """The values of EGO_SCALES, copied to a device once."""
    return torch.tensor(list(EGO_SCALES.values()), dtype=dtype, device=device)


def ego_value(ego: Float[Tensor, "batch ego"], name: str) -> Float[Tensor, " batch"]:
    """One quantity of the ego vector in SI units, by its name in EGO_SCALES."""
    return ego[:, list(EGO_SCALES).index(name)] * EGO_SCALES[name]


def command_from_heading_change(change_rad: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """LEFT or RIGHT beyond +-25 degrees of heading change ahead (left positive), else STRAIGHT.

    NaN, meaning no route ahead, gives UNKNOWN.
    """
    command = torch.full(change_rad.shape, int(Command.STRAIGHT), dtype=torch.int64, device=change_rad.device)
    command = torch.where(change_rad > COMMAND_THRESHOLD_RAD, int(Command.LEFT), command)
    command = torch.where(change_rad < -COMMAND_THRESHOLD_RAD, int(Command.RIGHT), command)
    return torch.where(torch.isnan(change_rad), int(Command.UNKNOWN), command)


def one_hot_command(command: Int[Tensor, " batch"]) -> Float[Tensor, "batch 4"]:
    """Command index to the network's one-hot input."""
    return functional.one_hot(command.long(), len(Command)).float()
