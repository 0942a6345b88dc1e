"""A training sample: the observation, the teacher's label, and the weight of the sample in the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from student.observation import Observation
from student.sub_scores import JudgedProposals
from student.tensor_batch import TensorBatch
from student.trajectory import Trajectory

TURN_WEIGHT = 5.0
"""Left and right turns weigh five times a straight sample (Gigapixel, section 3)."""
TURN_THRESHOLD_RAD = math.radians(15.0)
"""The paper does not define a turn. Our choice: a label whose heading changes by more than 15 degrees in 4 s."""


@dataclass(frozen=True)
class Label(TensorBatch):
    """`teacher.label.Label` of a batch of agents as torch tensors, field by field."""

    trajectory: Trajectory  # poses [batch, 8, 3]
    valid: Bool[Tensor, " batch"]  # False: the trajectory is undefined, the sample is excluded from the loss
    action: Int[Tensor, " batch"]  # teacher's action in 0..11 in the labelled state
    pose_valid: Bool[Tensor, "batch poses"] | None = None
    """False: the agent had crashed, left the road or arrived by then; the pose is excluded from the loss. None: all
    poses of a valid label count."""


@dataclass(frozen=True)
class Batch(TensorBatch):
    """One minibatch."""

    observation: Observation
    label: Label
    weight: Float[Tensor, " batch"]  # weight of the sample in the loss, if its label is valid
    judged: JudgedProposals | None = None  # what the scorer learns from
    situation: Int[Tensor, " batch"] | None = None  # index into `student.dagger.situations.SITUATIONS`


def turn_weights(
    trajectory: Trajectory,
    turn_weight: float = TURN_WEIGHT,
    pose_valid: Bool[Tensor, "batch poses"] | None = None,
) -> Float[Tensor, " batch"]:
    """`turn_weight` for labels that turn by more than 15 degrees within the horizon, 1 for the others; up to the last
    valid pose, where a mask is given (the first valid poses of a label are without gaps)."""
    yaw = trajectory.poses[:, :, 2]
    if pose_valid is None:
        last = yaw[:, -1]
    else:
        last = yaw.gather(1, (pose_valid.sum(1, keepdim=True) - 1).clamp(min=0))[:, 0]
    return torch.where(last.abs() > TURN_THRESHOLD_RAD, turn_weight, 1.0)
