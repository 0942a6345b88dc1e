"""The student's plan and the teacher's label: 8 rear-axle poses, one every 0.5 s, in the current rear-axle frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from simulator.angles import wrap_angle
from simulator.conventions import NUM_POSES
from student.tensor_batch import TensorBatch


@dataclass(frozen=True)
class Trajectory(TensorBatch):
    """Future poses of a batch of agents, as NAVSIM defines them."""

    poses: Float[Tensor, "batch poses 3"]  # x forward m, y left m, yaw rad; rear axle, at 0.5, 1.0 ... 4.0 s

    def validate(self) -> None:
        """Raises ValueError for another number of poses than 8 and for poses that are not finite."""
        if self.poses.shape[1] != NUM_POSES:
            raise ValueError(
                f"Trajectory.poses has {self.poses.shape[1]} poses; {NUM_POSES} are expected "
                "(simulator/conventions.py)"
            )
        if not torch.isfinite(self.poses).all():
            raise ValueError("Trajectory.poses holds a value that is not finite")


def chain(
    advance_m: Float[Tensor, "batch poses"],
    turn_rad: Float[Tensor, "batch poses"],
    slip_m: Float[Tensor, "batch poses"],
) -> Trajectory:
    """Compose steps into poses: each step moves `advance_m` along its mean heading and `slip_m` to the left of it.

    The rear axle moves in the direction of the heading, so a circular arc is a chord along the mean heading of the
    step, shorter than the arc by sin(turn/2) / (turn/2). With slip 0 every output is a drivable path.
    """
    yaw = torch.cumsum(turn_rad, dim=-1)
    heading = yaw - 0.5 * turn_rad
    chord = advance_m * torch.sinc(turn_rad / (2 * math.pi))
    step_x = chord * torch.cos(heading) - slip_m * torch.sin(heading)
    step_y = chord * torch.sin(heading) + slip_m * torch.cos(heading)
    return Trajectory(torch.stack([step_x.cumsum(-1), step_y.cumsum(-1), wrap_angle(yaw)], dim=-1))


def displacement_m(first: Trajectory, second: Trajectory) -> Float[Tensor, "batch poses"]:
    """Distance (m) between corresponding poses; the mean over poses is ADE, the last one FDE."""
    return torch.linalg.vector_norm(first.poses[..., :2] - second.poses[..., :2], dim=-1)
