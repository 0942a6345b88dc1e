"""Goal augmentation: the same picture labelled under other commands and goals (DriveZero, arXiv 2609.06055)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from student.batch import Batch, turn_weights
from student.dagger.situations import LIGHT, NEAR_OTHERS, situation_of

if TYPE_CHECKING:  # the world loads JAX
    from student.world.pixel_world import PixelWorld


@dataclass(frozen=True)
class GoalAugmentation:
    """How many labels a visited state has under other routes than the driven one."""

    labels: int = (
        0  # forks per state, in each of which routes are drawn anew; each costs as much as the label itself
    )
    share: float = 0.5  # of the agents that have another route in such a fork; the others keep theirs

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise ValueError(f"data.goals.labels={self.labels} must not be negative (0: none)")
        if not 0 < self.share <= 1:
            raise ValueError(f"data.goals.share={self.share} must lie in (0, 1]")


def samples_elsewhere(
    world: PixelWorld, batch: Batch, config: GoalAugmentation, turn_weight: float
) -> Iterator[Batch]:
    """Per fork the valid samples that are told another way than those of `batch`, which holds all ego agents of `world`
    now: the same pictures with the other command (and target points) and its label. Proposals that were judged on the
    driven route do not count there."""
    for _ in range(config.labels):
        label, told = world.label_elsewhere(config.share)
        judged = batch.judged
        if judged is not None:
            judged = replace(judged, sub_scores_valid=torch.zeros_like(judged.sub_scores_valid))
        situation = batch.situation
        if situation is not None:  # of the driven route: its light, and whoever is near unless that is a turn
            situation = situation_of(situation == LIGHT, situation == NEAR_OTHERS, told.command)
        weight = turn_weights(label.trajectory, turn_weight, label.pose_valid)
        observation = replace(batch.observation, command=told.command, target_points=told.target_points)
        extra = Batch(observation, label, weight, judged, situation)
        yield extra[label.valid]
