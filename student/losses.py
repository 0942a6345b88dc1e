"""Imitation losses and the open-loop errors that are reported beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from simulator.angles import wrap_angle
from student.batch import Label
from student.network.plan import Plan
from student.sub_scores import JudgedProposals, scorer_loss
from student.trajectory import Trajectory, displacement_m


@dataclass(frozen=True)
class LossConfig:
    """Weights between the terms."""

    yaw_weight_m: float = 3.0  # metres that one radian of heading error counts as
    action_weight: float = 0.2  # of the cross-entropy against the L1 trajectory loss in metres
    score_weight: float = 1.0  # of the scorer's cross-entropy, where proposals are judged

    def __post_init__(self) -> None:
        if self.yaw_weight_m < 0 or self.action_weight < 0 or self.score_weight < 0:
            raise ValueError(
                f"loss.yaw_weight_m={self.yaw_weight_m}, loss.action_weight={self.action_weight}, "
                f"loss.score_weight={self.score_weight}: must not be negative"
            )


def pose_l1(
    predicted: Trajectory,
    target: Trajectory,
    yaw_weight_m: float,
    pose_valid: Bool[Tensor, "batch poses"] | None = None,
) -> Float[Tensor, " batch"]:
    """Mean over the 8 poses of |x| + |y| + yaw_weight_m * |yaw| error, in metres; over those that are valid, where a
    mask is given, and 0 where none is."""
    error = predicted.poses - target.poses
    position = error[..., :2].abs().sum(-1)
    yaw = wrap_angle(error[..., 2]).abs()
    if pose_valid is None:
        return (position + yaw_weight_m * yaw).mean(-1)
    return ((position + yaw_weight_m * yaw) * pose_valid).sum(-1) / pose_valid.sum(-1).clamp(min=1)


def winner_takes_all_l1(
    proposals: Float[Tensor, "batch proposals poses 3"],
    target: Trajectory,
    yaw_weight_m: float,
    pose_valid: Bool[Tensor, "batch poses"] | None = None,
) -> Float[Tensor, " batch"]:
    """`pose_l1` of the proposal that is nearest to the target: only this one gets a gradient."""
    count = proposals.shape[1]
    targets = Trajectory(target.poses.repeat_interleave(count, dim=0))
    mask = None if pose_valid is None else pose_valid.repeat_interleave(count, dim=0)
    errors = pose_l1(Trajectory(proposals.flatten(0, 1)), targets, yaw_weight_m, mask)
    return errors.unflatten(0, (-1, count)).amin(1)


def weighted_mean(values: Float[Tensor, " batch"], weight: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of the values by weight; 0 when every weight is 0."""
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)


def action_cross_entropy(
    logits: Float[Tensor, "batch actions"], action: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Negative log likelihood of the teacher's action, in nats."""
    return functional.cross_entropy(logits, action.long(), reduction="none")


def imitation_loss(
    plan: Plan, label: Label, weight: Float[Tensor, " batch"], config: LossConfig
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The loss and its named terms, each a mean over the valid labels by `weight`; 0 where no label is valid.

    Of several proposals the nearest to the label learns. The scorer's loss is apart: `scoring_loss`.
    """
    weight = weight * label.valid
    if plan.proposals is None:
        errors = pose_l1(plan.trajectory, label.trajectory, config.yaw_weight_m, label.pose_valid)
    else:
        errors = winner_takes_all_l1(plan.proposals, label.trajectory, config.yaw_weight_m, label.pose_valid)
    trajectory = weighted_mean(errors, weight)
    action = weighted_mean(action_cross_entropy(plan.action_logits, label.action), weight)
    loss = trajectory + config.action_weight * action
    return loss, {"loss": loss, "loss_trajectory": trajectory, "loss_action": action}


def scoring_loss(
    logits: Float[Tensor, "batch proposals sub_scores"],
    judged: JudgedProposals,
    weight: Float[Tensor, " batch"],
    config: LossConfig,
) -> Float[Tensor, ""]:
    """What the scorer adds to the loss: the mean of `scorer_loss` by `weight` over the samples that have a valid
    sub-score, times `score_weight`."""
    weight = weight * judged.sub_scores_valid.flatten(1).any(1)
    return config.score_weight * weighted_mean(scorer_loss(logits, judged), weight)


@torch.no_grad()
def plan_errors(plan: Plan, label: Label) -> dict[str, Float[Tensor, ""]]:
    """Unweighted errors over all labels of the batch, which must be valid: ADE and FDE in metres and the share of
    actions that match the teacher's. Poses that are not valid do not count; FDE is that of whole labels (0 without
    any)."""
    distance = displacement_m(plan.trajectory, label.trajectory)
    if label.pose_valid is None:
        ade, fde = distance.mean(), distance[:, -1].mean()
    else:
        counted = label.pose_valid.to(distance.dtype)
        ade = weighted_mean(distance.flatten(), counted.flatten())
        fde = weighted_mean(distance[:, -1], counted[:, -1])
    return {
        "ade_m": ade,
        "fde_m": fde,
        "action_accuracy": (plan.actions() == label.action).float().mean(),
    }
