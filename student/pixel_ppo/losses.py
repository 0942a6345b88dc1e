"""PPO's clipped loss (arXiv 1707.06347) on tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from student.pixel_ppo.rollout import Samples


@dataclass(frozen=True)
class PixelPPOConfig:
    """Weights of the loss."""

    clip_ratio: float = 0.2  # PPO's epsilon
    value_weight: float = 0.5  # of half the squared value error
    entropy_weight: float = 0.01

    def __post_init__(self) -> None:
        if not self.clip_ratio > 0:
            raise ValueError(f"ppo.clip_ratio={self.clip_ratio} must be above 0")
        for name in ("value_weight", "entropy_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"ppo.{name}={getattr(self, name)} must not be negative")


def ppo_loss(
    logits: Float[Tensor, "samples actions"],
    value: Float[Tensor, " samples"],
    samples: Samples,
    config: PixelPPOConfig,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Clipped policy loss + value_weight x squared error / 2 - entropy_weight x entropy, means over the samples, and
    the named terms."""
    log_probs = logits.float().log_softmax(-1)
    log_ratio = log_probs.gather(1, samples.action.long()[:, None])[:, 0] - samples.log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    policy = -torch.minimum(ratio * samples.advantage, clipped * samples.advantage).mean()
    squared = 0.5 * (value.float() - samples.target).square().mean()
    entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
    loss = policy + config.value_weight * squared - config.entropy_weight * entropy
    terms = {
        "loss": loss,
        "loss_policy": policy,
        "loss_value": squared,
        "entropy": entropy,
        "approximate_kl": (ratio - 1 - log_ratio).mean(),  # k3 of http://joschu.net/blog/kl-approx.html
        "clipped_share": ((ratio - 1).abs() > config.clip_ratio).float().mean(),
    }
    return loss, terms
