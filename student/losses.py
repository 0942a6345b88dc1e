"""Imitation losses and the errors reported beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from student.network.policy import Plan
from student.targets import Targets
from student.trajectory import Trajectory, displacement_m, wrap_angle


@dataclass(frozen=True)
class LossConfig:
    """Weights between the terms."""

    yaw_weight_m: float = 3.0  # metres that one radian of heading error counts as
    action_weight: float = 0.2  # of the cross-entropy against the L1 trajectory loss in metres

    def __post_init__(self) -> None:
        if self.yaw_weight_m < 0 or self.action_weight < 0:
            raise ValueError(
                f"loss.yaw_weight_m={self.yaw_weight_m}, loss.action_weight={self.action_weight}: must not be negative"
            )


def pose_l1(predicted: Trajectory, target: Trajectory, yaw_weight_m: float) -> Float[Tensor, " batch"]:
    """Mean over the 8 poses of |x| + |y| + yaw_weight_m * |yaw| error, in metres."""
    error = predicted.poses - target.poses
    position = error[..., :2].abs().sum(-1)
    yaw = wrap_angle(error[..., 2]).abs()
    return (position + yaw_weight_m * yaw).mean(-1)


def weighted_mean(values: Float[Tensor, " batch"], weight: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of the values by weight; 0 when every weight is 0."""
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)


def action_cross_entropy(
    logits: Float[Tensor, "batch actions"], action: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Negative log likelihood of the teacher's action, in nats."""
    return functional.cross_entropy(logits, action.long(), reduction="none")


def imitation_loss(
    plan: Plan, targets: Targets, config: LossConfig
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted loss and its named terms (each a weighted mean over the batch)."""
    trajectory = weighted_mean(
        pose_l1(plan.trajectory, targets.trajectory, config.yaw_weight_m), targets.weight
    )
    action = weighted_mean(action_cross_entropy(plan.action_logits, targets.action), targets.weight)
    loss = trajectory + config.action_weight * action
    return loss, {"loss": loss, "loss_trajectory": trajectory, "loss_action": action}


@torch.no_grad()
def plan_errors(plan: Plan, targets: Targets) -> dict[str, Float[Tensor, ""]]:
    """Unweighted errors: ADE and FDE in metres and the share of actions that match the teacher's."""
    distance = displacement_m(plan.trajectory, targets.trajectory)
    return {
        "ade_m": distance.mean(),
        "fde_m": distance[:, -1].mean(),
        "action_accuracy": (plan.actions() == targets.action).float().mean(),
    }
