"""Where the student means to be: 8 rear-axle poses, one every 0.5 s, in its current rear-axle frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Trajectory:
    """Future poses of a batch of agents, as NAVSIM defines them."""

    poses: Float[Tensor, "batch poses 3"]  # x forward m, y left m, yaw rad; rear axle, at 0.5, 1.0 ... 4.0 s

    def validate(self) -> None:
        """Refuse poses that are not finite."""
        if not torch.isfinite(self.poses).all():
            raise ValueError("Trajectory.poses holds a value that is not finite")

    def in_world(self, rear_axle: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch poses 3"]:
        """The poses in the world frame, given each agent's rear-axle pose (x, y, yaw) in it."""
        cos, sin = torch.cos(rear_axle[:, None, 2]), torch.sin(rear_axle[:, None, 2])
        x, y, yaw = self.poses.unbind(-1)
        world_x = rear_axle[:, None, 0] + cos * x - sin * y
        world_y = rear_axle[:, None, 1] + sin * x + cos * y
        return torch.stack([world_x, world_y, wrap_angle(yaw + rear_axle[:, None, 2])], dim=-1)


def from_world(
    poses_world: Float[Tensor, "batch poses 3"], rear_axle: Float[Tensor, "batch 3"]
) -> Trajectory:
    """Inverse of `Trajectory.in_world`."""
    cos, sin = torch.cos(rear_axle[:, None, 2]), torch.sin(rear_axle[:, None, 2])
    dx, dy = (poses_world[..., :2] - rear_axle[:, None, :2]).unbind(-1)
    yaw = wrap_angle(poses_world[..., 2] - rear_axle[:, None, 2])
    return Trajectory(torch.stack([cos * dx + sin * dy, cos * dy - sin * dx, yaw], dim=-1))


def wrap_angle(angle: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """An angle in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def chain(
    advance_m: Float[Tensor, "batch poses"],
    turn_rad: Float[Tensor, "batch poses"],
    slip_m: Float[Tensor, "batch poses"],
) -> Trajectory:
    """Poses from steps: each step moves `advance_m` along its mean heading and `slip_m` to the left of it.

    A rear axle rolls where it points, so a circular arc is a chord along the mean heading of the step,
    shorter than the arc by sin(turn/2) / (turn/2). With slip 0 every output is a drivable path.
    """
    yaw = torch.cumsum(turn_rad, dim=-1)
    heading = yaw - 0.5 * turn_rad
    chord = advance_m * torch.sinc(turn_rad / (2 * math.pi))
    step_x = chord * torch.cos(heading) - slip_m * torch.sin(heading)
    step_y = chord * torch.sin(heading) + slip_m * torch.cos(heading)
    return Trajectory(torch.stack([step_x.cumsum(-1), step_y.cumsum(-1), wrap_angle(yaw)], dim=-1))


def displacement_m(first: Trajectory, second: Trajectory) -> Float[Tensor, "batch poses"]:
    """Distance between corresponding poses; the mean over poses is ADE, the last one FDE."""
    return torch.linalg.vector_norm(first.poses[..., :2] - second.poses[..., :2], dim=-1)
