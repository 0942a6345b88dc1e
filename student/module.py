"""The LightningModule: connects policy, loss, optimiser and logging."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning
import torch
from torch import Tensor

from simulator.conventions import STUDENT_CONVENTIONS, stamp
from student.batch import Batch
from student.checkpoint import CONFIG_KEY, CONVENTIONS_KEY, check_architecture, load_weights
from student.losses import LossConfig, imitation_loss, plan_errors, scoring_loss
from student.network.policy import Plan, PolicyConfig, StudentPolicy
from student.network.proposal_planner import ProposalPlanner
from student.observation import Observation

ON_PROGRESS_BAR = ("student/train/ade_m", "student/data/beta", "student/data/agent_steps_per_s")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with a linear warm-up and a cosine decay over the whole run."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100  # optimiser steps
    final_share: float = 0.05  # learning rate at the end, as a share of `learning_rate`
    decay_steps: int = 0  # optimiser steps of the whole run; 0: ask the trainer

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"optimiser.learning_rate={self.learning_rate} must be above 0")
        if self.warmup_steps < 0 or self.decay_steps < 0 or self.weight_decay < 0:
            raise ValueError("optimiser.warmup_steps, decay_steps and weight_decay must not be negative")
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"optimiser.final_share={self.final_share} must lie in [0, 1]")


@runtime_checkable
class Episode(Protocol):
    """A closed-loop evaluation; `student.dagger.closed_loop.Episode` without loading JAX."""

    def drive(self, policy: StudentPolicy | None) -> dict[str, float | None]:
        """Evaluate the policy (None: the teacher) and return the flat metrics."""
        ...


class StudentModule(lightning.LightningModule):
    """Trains a `StudentPolicy` on the batches of `OnPolicyData`; validates and tests it in closed loop.

    Args:
        policy: Architecture of the student.
        loss: Weights of the loss terms.
        optimiser: Optimiser settings.
        weights: Policy file or checkpoint to start from, or `pretrained`; none starts untrained.
    """

    def __init__(
        self,
        policy: PolicyConfig = PolicyConfig(),  # noqa: B008  frozen
        loss: LossConfig = LossConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if weights is not None:  # they replace the published ones, which need not be fetched
            policy = replace(policy, encoder=replace(policy.encoder, pretrained=False))
        self.policy = StudentPolicy(policy)
        self.loss_config = loss
        self.optimiser_config = optimiser
        self.test_results: dict[str, float | None] = {}
        self.run_seed = 0
        if weights is not None:
            load_weights(self.policy, weights)

    def forward(self, observation: Observation) -> Plan:
        """The policy's plan."""
        return self.policy(observation)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss [] of one batch; logs its terms."""
        loss, terms = self.losses(batch)
        self._log_all("student/train", {name: term.detach() for name, term in terms.items()}, len(batch))
        return loss

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [] of one batch, imitation of the teacher's trajectory and action and, where proposals are judged,
        the scorer's; and by name its terms and the errors of the plans."""
        plan = self.policy(batch.observation)
        loss, terms = imitation_loss(plan, batch.label, batch.weight, self.loss_config)
        planner = self.policy.planner
        if batch.judged is not None and isinstance(planner, ProposalPlanner) and planner.scorer is not None:
            logits = planner.score(plan.tokens, batch.observation, batch.judged.candidates)
            terms["loss_score"] = scoring_loss(logits, batch.judged, batch.weight, self.loss_config)
            loss = terms["loss"] = loss + terms["loss_score"]
        return loss, terms | plan_errors(plan, batch.label)

    def on_fit_start(self) -> None:
        """Store the seed of the run."""
        self.run_seed = torch.initial_seed()

    def on_train_epoch_start(self) -> None:
        """Seed dropout and GridMask by run seed and epoch, so that a resumed run continues exactly."""
        drops = isinstance(self.policy.planner, ProposalPlanner) or self.policy.config.encoder.grid_mask
        if drops:  # nothing else draws from torch's own generator
            torch.manual_seed((self.run_seed * 1_000_003 + self.current_epoch) % 2**63)

    def on_train_epoch_end(self) -> None:
        """Log the data module's statistics: beta, agent-steps, buffer, speed."""
        statistics = getattr(getattr(self.trainer, "datamodule", None), "statistics", dict)()
        self._log_all("student/data", statistics, 1)

    def validation_step(self, episode: Episode, batch_index: int) -> None:
        """Drive one validation episode."""
        self._log_all("student/validate", episode.drive(self.policy), 1)

    def test_step(self, episode: Episode, batch_index: int) -> None:
        """Drive the test episode; `test_results` keeps its metrics."""
        self.test_results = episode.drive(self.policy)
        self._log_all("student/test", self.test_results, 1)

    def predict_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """The student's plans, the teacher's labels, and the command and ego inputs, as tensors on the CPU."""
        plan = self.policy(batch.observation)
        predictions = {
            "trajectory": plan.trajectory.poses,
            "action": plan.actions(),
            "teacher_trajectory": batch.label.trajectory.poses,
            "teacher_action": batch.label.action,
            "command": batch.observation.command,
            "ego": batch.observation.ego,
        }
        return {name: tensor.cpu() for name, tensor in predictions.items()}

    def new_optimiser(self, fused: bool = True) -> torch.optim.AdamW:
        """AdamW over the weights that are trained; `fused` is twice as fast, but Lightning refuses to clip gradients
        with it in mixed precision."""
        config = self.optimiser_config
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused or None
        )

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW; the learning rate changes after every optimiser step."""
        config = self.optimiser_config
        optimiser = self.new_optimiser(fused=self.trainer.precision == "32-true")
        total = config.decay_steps or int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate_share(config, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add architecture and conventions, so that `load_policy` reads the checkpoint."""
        checkpoint[CONFIG_KEY] = asdict(self.policy.config)
        checkpoint[CONVENTIONS_KEY] = stamp(STUDENT_CONVENTIONS)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises ValueError for a checkpoint of another architecture or other conventions, before its weights are
        loaded."""
        check_architecture(checkpoint, self.policy.config, Path(str(self.trainer.ckpt_path)))

    def _log_all(self, prefix: str, values: dict[str, Any], batch_size: int) -> None:
        named = {
            f"{prefix}/{name}": value if isinstance(value, Tensor) else float(value)  # no wait for the device
            for name, value in values.items()
            if value is not None
        }
        for name, value in named.items():
            self.log(name, value, batch_size=batch_size, prog_bar=name in ON_PROGRESS_BAR)


def learning_rate_share(config: OptimiserConfig, total_steps: int) -> Callable[[int], float]:
    """Multiplier of the learning rate by optimiser step, see `learning_rate_at`."""
    return lambda step: learning_rate_at(config, step, step / max(1, total_steps))


def learning_rate_at(config: OptimiserConfig, step: int, progress: float) -> float:
    """Multiplier of the learning rate at an optimiser step, after the share `progress` of the run: linear warm-up over
    `warmup_steps`, times a cosine down to `final_share`."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return warmup * (config.final_share + (1.0 - config.final_share) * cosine)
