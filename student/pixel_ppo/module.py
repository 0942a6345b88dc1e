"""The LightningModule of PPO from pixels; optimiser, evaluation and checkpoints are those of `StudentModule`."""

from __future__ import annotations

from torch import Tensor

from student.losses import LossConfig
from student.module import OptimiserConfig, StudentModule
from student.network.policy import PolicyConfig
from student.pixel_ppo.actor_critic import ActorCritic
from student.pixel_ppo.losses import PixelPPOConfig, ppo_loss
from student.pixel_ppo.rollout import Samples


class PixelPPO(StudentModule):
    """Trains the action head of a `StudentPolicy` on the rollouts of `RolloutData`.

    Args:
        policy: Architecture of the student.
        ppo: Weights of the loss terms.
        optimiser: Optimiser settings.
        weights: Policy file or checkpoint to start from, or `pretrained`; none starts untrained.
    """

    def __init__(
        self,
        policy: PolicyConfig = PolicyConfig(),  # noqa: B008  frozen
        ppo: PixelPPOConfig = PixelPPOConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        weights: str | None = None,
    ) -> None:
        super().__init__(policy, LossConfig(), optimiser, weights)
        self.ppo_config = ppo
        self.actor_critic = ActorCritic(self.policy)

    def training_step(self, samples: Samples, batch_index: int) -> Tensor:
        """PPO's loss [] of one minibatch; logs its terms."""
        logits, value = self.actor_critic(samples.observation)
        loss, terms = ppo_loss(logits, value, samples, self.ppo_config)
        self._log_all("student/train", {name: term.detach() for name, term in terms.items()}, len(samples))
        return loss
