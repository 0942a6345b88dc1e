"""What the student learns from one state: the teacher's future and next action, and how much it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from student.observation import Observation
from student.trajectory import Trajectory

TURN_WEIGHT = 5.0
"""Left and right turns weigh five times a straight sample (papers.md, section 3)."""
TURN_THRESHOLD_RAD = math.radians(15.0)
"""The source does not give the rule: a turn is a label whose heading changes by more than 15 degrees in 4 s."""


@dataclass(frozen=True)
class Targets:
    """Labels of a batch of agents."""

    trajectory: Trajectory  # poses [batch, 8, 3]
    action: Int[Tensor, " batch"]  # teacher's action in 0..11 at the labelled state
    weight: Float[Tensor, " batch"]  # weight of the sample in the loss

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """The same targets on another device."""
        return Targets(
            Trajectory(self.trajectory.poses.to(device, non_blocking=non_blocking)),
            self.action.to(device, non_blocking=non_blocking),
            self.weight.to(device, non_blocking=non_blocking),
        )

    def __getitem__(self, index: Tensor | slice) -> Targets:
        """Rows of the batch by slice, integer tensor [n] or boolean tensor [batch]."""
        return Targets(Trajectory(self.trajectory.poses[index]), self.action[index], self.weight[index])


@dataclass(frozen=True)
class Batch:
    """One minibatch: what was seen and what should follow."""

    observation: Observation
    targets: Targets

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return Batch(self.observation.to(device, non_blocking), self.targets.to(device, non_blocking))

    def __len__(self) -> int:
        return len(self.observation)


def turn_weights(trajectory: Trajectory, turn_weight: float = TURN_WEIGHT) -> Float[Tensor, " batch"]:
    """`turn_weight` for labels that turn by more than 15 degrees within the horizon, 1 for the others."""
    turns = trajectory.poses[:, -1, 2].abs() > TURN_THRESHOLD_RAD
    return torch.where(turns, turn_weight, 1.0)
