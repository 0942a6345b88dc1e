"""The student's network as actor and critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from student.network.policy import Planner, StudentPolicy
from student.observation import Observation


@dataclass(frozen=True)
class Acted:
    """What the actor chose for a batch of agents, and what the critic expects."""

    action: Int[Tensor, " batch"]  # sampled, 0..11
    log_prob: Float[Tensor, " batch"]  # of the action
    value: Float[Tensor, " batch"]  # discounted reward to come


class ActorCritic(nn.Module):
    """The policy's action head as actor, and a linear critic on the features that the head reads.

    The trajectory head is not used. Raises ValueError for a policy without a trunk, whose action head reads no common
    features.
    """

    def __init__(self, policy: StudentPolicy) -> None:
        super().__init__()
        if not isinstance(policy.planner, Planner):
            raise ValueError(
                f"PPO acts by jerk actions and needs planner.kind='trunk', not {policy.config.planner.kind!r}"
            )
        self.policy = policy
        self.value_head = nn.Linear(policy.config.planner.hidden, 1)

    def forward(
        self, observation: Observation
    ) -> tuple[Float[Tensor, "batch actions"], Float[Tensor, " batch"]]:
        """Logits of the jerk actions, and values."""
        planner = self.policy.planner
        assert isinstance(planner, Planner)
        seen = self.policy.given(observation)
        tokens = self.policy.perception(seen.images, seen.camera_mask)
        hidden = planner.features(tokens, seen)
        return planner.action_head(hidden), self.value_head(hidden)[:, 0]

    @torch.no_grad()
    def act(self, observation: Observation, generator: torch.Generator) -> Acted:
        """A sampled action for each agent, on the observation's device; the generator is on the CPU."""
        device = self.value_head.weight.device
        logits, value = self(observation.to(device))
        log_probs = logits.float().log_softmax(-1).cpu()
        action = torch.multinomial(log_probs.exp(), 1, generator=generator)
        log_prob = log_probs.gather(1, action)[:, 0]
        there = observation.images.device
        return Acted(action[:, 0].to(there), log_prob.to(there), value.float().to(there))
