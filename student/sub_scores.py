"""Sub-scores of a trajectory: what the scorer predicts, what its targets mean, and how they choose a proposal.

This is the only place that says the order and the meaning of a tensor [..., sub_scores]:

| index | name              | NAVSIM | target: 1 where the agent, had it followed the trajectory for 4 s,       |
|-------|-------------------|--------|---------------------------------------------------------------------------|
| 0     | no_collision      | NC     | had caused no collision (0.5: only with a static object)                  |
| 1     | drivable_area     | DAC    | had stayed on the drivable area with its whole box                        |
| 2     | time_to_collision | TTC    | had never been within 0.9 s of a collision at constant speed              |
| 3     | progress          | EP     | had come as far along its route as the best safe one: a share in [0, 1]   |
| 4     | direction         | DDC    | had neither driven against the traffic (0.5: for a few metres) nor run    |
|       |                   |        | a red light or a stop sign                                                |
| 5     | comfort           | C      | had kept accelerations and jerks within their limits                      |

All lie in [0, 1], larger is better. A sub-score that is not defined (such as time to collision after a collision) has
`sub_scores_valid` false and does not count in the loss. `simulator/judging/sub_scores.py` computes them and says how
(it knows no static objects, so no_collision is 0 or 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from student.tensor_batch import TensorBatch

SUB_SCORES = ("no_collision", "drivable_area", "time_to_collision", "progress", "direction", "comfort")
"""The sub-scores in order, see above."""
ALL_OR_NOTHING = ("no_collision", "direction")
"""Of these a target below 1 counts as 0 in the loss, as in DrivoR."""
SelectionRule = Literal["navsim_v1", "navsim_v2"]
SELECTION_WEIGHTS: dict[SelectionRule, tuple[float, ...]] = {
    "navsim_v1": (1.0, 1.0, 5.0, 5.0, 0.0, 2.0),
    "navsim_v2": (10.0, 13.0, 14.0, 15.0, 6.0, 2.0),
}
"""By rule the weights of `selection_score` in the order of SUB_SCORES, DrivoR's for the two versions of NAVSIM."""
REQUIRED, AVERAGED = (0, 1, 4), (2, 3, 5)
"""Indices of the sub-scores that are factors, and of those of which a weighted mean is a factor."""
AVERAGE_WEIGHTS = (5.0, 5.0, 2.0)
"""Weights of `proposal_score` of time to collision, progress and comfort (NAVSIM)."""


@dataclass(frozen=True)
class JudgedProposals(TensorBatch):
    """Trajectories, of which the sub-scores are known: targets of the scorer. They need not be those that the student
    proposes now, nor as many."""

    candidates: Float[Tensor, "batch proposals poses 3"]  # as in `student.trajectory.Trajectory.poses`
    sub_scores: Float[Tensor, "batch proposals sub_scores"]  # in [0, 1], order of SUB_SCORES
    sub_scores_valid: Bool[Tensor, "batch proposals sub_scores"]  # False: undefined, excluded from the loss

    def validate(self) -> None:
        """Raises ValueError for another number of sub-scores and for valid ones outside [0, 1]."""
        if self.sub_scores.shape[-1] != len(SUB_SCORES):
            raise ValueError(
                f"JudgedProposals.sub_scores has {self.sub_scores.shape[-1]} sub-scores; {len(SUB_SCORES)} are "
                f"expected: {', '.join(SUB_SCORES)}"
            )
        wrong = self.sub_scores_valid & ~((self.sub_scores >= 0) & (self.sub_scores <= 1))
        if wrong.any():
            value = float(self.sub_scores[wrong][0])
            name = SUB_SCORES[int(wrong.nonzero()[0, -1])]
            raise ValueError(
                f"JudgedProposals.sub_scores holds {name}={value}; expected a number from 0 to 1"
            )


def scorer_loss(
    logits: Float[Tensor, "batch proposals sub_scores"], judged: JudgedProposals
) -> Float[Tensor, " batch"]:
    """Binary cross-entropy (nats): per sub-score the mean over the valid proposals, summed over the sub-scores, which
    weigh the same; 0 where none is valid."""
    strict = torch.tensor([name in ALL_OR_NOTHING for name in SUB_SCORES], device=logits.device)
    target = torch.where(strict, (judged.sub_scores >= 1).to(logits.dtype), judged.sub_scores)
    target = torch.where(judged.sub_scores_valid, target, 0.0)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    count = judged.sub_scores_valid.sum(1).clamp(min=1)
    return ((entropy * judged.sub_scores_valid).sum(1) / count).sum(-1)


def selection_score(
    logits: Float[Tensor, "batch proposals sub_scores"], rule: SelectionRule
) -> Float[Tensor, "batch proposals"]:
    """The score by which a proposal is chosen: with p the predicted sub-scores and w the weights of the rule,
    w0 log NC + w1 log DAC + w4 log DDC + log(w2 TTC + w3 EP + w5 C)."""
    probability = torch.sigmoid(logits.float()).clamp(min=1e-7)
    weight = probability.new_tensor(SELECTION_WEIGHTS[rule])
    product = (weight[..., REQUIRED] * probability[..., REQUIRED].log()).sum(-1)
    return product + (weight[..., AVERAGED] * probability[..., AVERAGED]).sum(-1).log()


def proposal_score(judged: JudgedProposals) -> Float[Tensor, "batch proposals"]:
    """How good judged proposals are, in [0, 1]: NAVSIM's NC x DAC x DDC x (5 TTC + 5 EP + 2 C) / 12, where what is
    undefined counts as 0."""
    known = torch.where(judged.sub_scores_valid, judged.sub_scores, 0.0)
    weight = known.new_tensor(AVERAGE_WEIGHTS) / sum(AVERAGE_WEIGHTS)
    return known[..., REQUIRED].prod(-1) * (known[..., AVERAGED] * weight).sum(-1)
