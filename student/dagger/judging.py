"""Which of the student's proposals are judged by the simulator while data are collected, and while it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from student.network.plan import Plan
from student.sub_scores import SUB_SCORES, JudgedProposals, proposal_score

if TYPE_CHECKING:  # the world loads JAX
    from student.world.pixel_world import PixelWorld


@dataclass(frozen=True)
class JudgingConfig:
    """What a student with a scorer learns to score: before every plan some proposals of some agents are followed in a
    fork of the worlds (`simulator.judging.sub_scores`). Other students ignore it.

    The cost of a decision is one rollout of all worlds by the teacher, as for a label, and 4 s of the dynamics and
    rules of ``agents`` x ``proposals`` vehicles.
    """

    proposals: int = 8  # per agent: the chosen one, and others at random; 0: the scorer does not learn
    agents: int = 256  # at most so many of all worlds, at random, whose label is valid

    def __post_init__(self) -> None:
        if self.proposals < 0:
            raise ValueError(f"judging.proposals={self.proposals} must not be negative; 0 judges none")
        if self.agents < 1:
            raise ValueError(f"judging.agents={self.agents} must be at least 1; proposals: 0 judges none")


def judge_some(
    world: PixelWorld,
    plan: Plan,
    eligible: Bool[Tensor, " batch"],
    config: JudgingConfig,
    generator: torch.Generator,
) -> JudgedProposals:
    """Judged proposals of every ego agent of ``world`` now, whose plan is ``plan``; of agents that are not eligible, or
    more than the limit, no sub-score is valid."""
    candidates = proposals_to_judge(plan, config.proposals, generator)
    rows = some_of(eligible, config.agents, generator)
    found = world.judge(rows, candidates[rows], config.agents)
    values = torch.zeros(*candidates.shape[:2], len(SUB_SCORES), device=found.sub_scores.device)
    judged = JudgedProposals(candidates.to(values), values, values > 0)
    judged.sub_scores[rows] = found.sub_scores
    judged.sub_scores_valid[rows] = found.sub_scores_valid
    return judged


def proposals_to_judge(plan: Plan, count: int, generator: torch.Generator) -> Tensor:
    """Trajectories [batch, min(count, proposals), poses, 3]: the chosen one first, then others drawn without
    replacement."""
    assert plan.proposals is not None
    assert plan.choice is not None
    order = torch.rand(plan.proposals.shape[:2], generator=generator)
    order[torch.arange(len(order)), plan.choice.cpu()] = -1.0
    index = order.argsort(dim=1)[:, :count].to(plan.proposals.device)
    return plan.proposals[torch.arange(len(index), device=index.device)[:, None], index]


def some_of(
    eligible: Bool[Tensor, " batch"], most: int, generator: torch.Generator
) -> Int[Tensor, " judged"]:
    """Rows drawn at random from the eligible ones, in increasing order, on the CPU."""
    rows = eligible.cpu().nonzero()[:, 0]
    return rows[torch.randperm(len(rows), generator=generator)[:most]].sort().values


def choice_scores(world: PixelWorld, plan: Plan, most: int, generator: torch.Generator) -> dict[str, Tensor]:
    """How good the proposals of at most ``most`` ego agents of ``world`` are now, by what comes of them
    (`proposal_score`), [judged] each: of the chosen one, the mean one, the first one and the best one."""
    assert plan.proposals is not None
    assert plan.choice is not None
    rows = some_of(torch.ones(len(plan.choice), dtype=torch.bool), most, generator)
    score = proposal_score(world.judge(rows, plan.proposals[rows.to(plan.proposals.device)], most)).cpu()
    chosen = score[torch.arange(len(rows)), plan.choice.cpu()[rows]]
    return {
        "score_chosen": chosen,
        "score_mean": score.mean(1),
        "score_first": score[:, 0],
        "score_best": score.amax(1),
    }
