"""Generalised advantage estimation (arXiv 1506.02438) on tensors, as `teacher.ppo.losses.gae` is on JAX arrays."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def gae(
    reward: Float[Tensor, "steps agents"],
    value: Float[Tensor, "steps agents"],
    last_value: Float[Tensor, " agents"],
    terminated: Bool[Tensor, "steps agents"],
    valid: Bool[Tensor, "steps agents"],
    discount: float,
    trace_decay: float,
) -> tuple[Float[Tensor, "steps agents"], Float[Tensor, "steps agents"]]:
    """Advantages and value targets (advantage + value), backwards in time.

    A terminated step has no future; the end of the rollout is a truncation, so `last_value`, the critic's value of the
    state after the last step, stands for the rest. Steps that are not valid (the agent no longer acted) have an
    advantage of 0 and propagate nothing.
    """
    advantage = torch.zeros_like(reward)
    next_advantage, next_value = torch.zeros_like(last_value), last_value
    for step in reversed(range(len(reward))):
        goes_on = (~terminated[step]).to(reward.dtype)
        error = reward[step] + discount * goes_on * next_value - value[step]
        next_advantage = (error + discount * trace_decay * goes_on * next_advantage) * valid[step]
        advantage[step], next_value = next_advantage, value[step]
    return advantage, advantage + value


def normalised(advantage: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """The advantages with mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
