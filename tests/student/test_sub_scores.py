"""What the scorer's targets mean in its loss, and how sub-scores choose a proposal."""

from __future__ import annotations

import math

import pytest
import torch

from student.losses import LossConfig, scoring_loss
from student.sub_scores import SUB_SCORES, JudgedProposals, proposal_score, scorer_loss, selection_score


def judged(values: torch.Tensor, valid: torch.Tensor | None = None) -> JudgedProposals:
    """Targets with made-up trajectories."""
    candidates = torch.zeros(*values.shape[:2], 8, 3)
    return JudgedProposals(
        candidates, values, torch.ones_like(values, dtype=torch.bool) if valid is None else valid
    )


def test_cross_entropy_by_hand() -> None:
    """A half collision or wrong direction counts as 0, half a progress as a half; all six weigh the same."""
    logits = torch.full((1, 1, 6), math.log(3.0))  # probability 3/4
    values = torch.tensor([[[0.5, 1.0, 0.0, 0.5, 0.5, 1.0]]])
    good, bad = -math.log(0.75), -math.log(0.25)
    expected = bad + good + bad + 0.5 * (good + bad) + bad + good
    assert float(scorer_loss(logits, judged(values))) == pytest.approx(expected, rel=1e-5)


def test_what_is_not_valid_does_not_count() -> None:
    logits = torch.randn(2, 3, 6).requires_grad_()
    valid = torch.rand(2, 3, 6) > 0.4
    valid[1] = False
    values = torch.where(valid, torch.ones(()), torch.full((), 2.0))
    targets = judged(values, valid)
    targets.validate()
    loss = scoring_loss(logits, targets, torch.ones(2), LossConfig(score_weight=2.0))
    assert loss.item() == pytest.approx(2.0 * scorer_loss(logits, targets)[0].item(), rel=1e-5)
    loss.backward()
    assert torch.equal(logits.grad != 0, valid)
    assert scorer_loss(logits, targets)[1].item() == 0.0


def test_selection_by_hand() -> None:
    probability = torch.tensor([[[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]]])
    logits = torch.logit(probability)
    second = (
        10 * math.log(0.9) + 13 * math.log(0.8) + 6 * math.log(0.5) + math.log(14 * 0.7 + 15 * 0.6 + 2 * 0.4)
    )
    first = math.log(0.9) + math.log(0.8) + math.log(5 * 0.7 + 5 * 0.6 + 2 * 0.4)
    assert float(selection_score(logits, "navsim_v2")) == pytest.approx(second, rel=1e-5)
    assert float(selection_score(logits, "navsim_v1")) == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("name", SUB_SCORES)
def test_each_sub_score_makes_a_proposal_better(name: str) -> None:
    logits = torch.zeros(1, 3, 6)
    logits[0, 1, SUB_SCORES.index(name)] = 2.0
    assert int(selection_score(logits, "navsim_v2").argmax()) == 1


def test_the_score_of_a_proposal_by_hand() -> None:
    """A collision makes it 0; an undefined time to collision counts as 0."""
    values = torch.tensor([[[1.0, 1, 1, 0.5, 0.5, 0], [0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]])
    valid = torch.ones(1, 3, 6) > 0
    valid[0, 2, 2] = False
    expected = torch.tensor([[0.5 * (5 + 2.5) / 12, 0.0, 7 / 12]])
    torch.testing.assert_close(proposal_score(judged(values, valid)), expected)


def test_sub_scores_outside_their_range_are_refused() -> None:
    values = torch.zeros(1, 2, 6)
    values[0, 1, 3] = 1.5
    with pytest.raises(ValueError, match=r"sub_scores holds progress=1\.5; expected a number from 0 to 1"):
        judged(values).validate()
    with pytest.raises(ValueError, match="has 5 sub-scores; 6 are expected: no_collision"):
        judged(values[..., :5]).validate()
