"""`AdaptationModule`: fine-tuning of the student's image encoder, so that real images give the features and trajectory
of their renderings; the planner is frozen.

Loss (after Gigapixel's appendix B.3, without its term for the scorer, which stays frozen):
    feature_weight * |E_real - E_sim|^2  +  trajectory_weight * mean L1(trajectory_real, trajectory_sim)
Of a student with several proposals each is compared with the same one of the other, and the mean is over all of them.
E_sim and trajectory_sim come from the frozen student on the rendering; E_real and trajectory_real from the adapted
student on the real images. E are the tokens of the cameras that are not masked.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor

from adaptation.data import epoch_seed
from adaptation.pairs.pair import PairBatch
from adaptation.report import SampleErrors
from gigapixel.run_folder.config.named_weights import SHIPPED
from student.checkpoint import load_policy
from student.losses import pose_l1
from student.module import OptimiserConfig, learning_rate_share
from student.network.policy import Plan, StudentPolicy
from student.network.registers import RegisterEncoder
from student.trajectory import Trajectory, displacement_m


@dataclass(frozen=True)
class AdaptationLoss:
    """Weights of the two terms. The paper does not state its value of lambda, here `feature_weight`."""

    feature_weight: float = 1.0  # of the mean squared token difference over features and unmasked cameras
    trajectory_weight: float = 1.0  # of the L1 trajectory difference
    yaw_weight_m: float = 3.0  # metres that are equivalent to one radian of heading

    def __post_init__(self) -> None:
        for name in ("feature_weight", "trajectory_weight", "yaw_weight_m"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"loss.{name}={getattr(self, name)} must be 0 or more")
        if self.feature_weight == 0 and self.trajectory_weight == 0:
            raise ValueError(
                "loss.feature_weight and loss.trajectory_weight are both 0; at least one must be above 0"
            )


def feature_loss(
    tokens: Float[Tensor, "batch cameras features"],
    target: Float[Tensor, "batch cameras features"],
    camera_mask: Tensor,
) -> Float[Tensor, ""]:
    """Mean squared difference over the features of unmasked cameras; camera_mask [batch, cameras] bool."""
    squared = (tokens - target).square().mean(-1)
    return (squared * camera_mask).sum() / camera_mask.sum().clamp(min=1)


def adaptation_loss(
    adapted: Plan, frozen: Plan, camera_mask: Tensor, config: AdaptationLoss
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The loss and its named terms; `frozen` is the target and gets no gradient."""
    features = feature_loss(adapted.tokens, frozen.tokens.detach(), camera_mask)
    trajectory = pose_l1(_trajectories(adapted), _trajectories(frozen), config.yaw_weight_m).mean()
    loss = config.feature_weight * features + config.trajectory_weight * trajectory
    return loss, {"loss": loss, "loss_feature": features, "loss_trajectory": trajectory}


def _trajectories(plan: Plan) -> Trajectory:
    """All proposals of a plan, or its only trajectory."""
    return plan.trajectory if plan.proposals is None else Trajectory(plan.proposals.flatten(0, 1))


class AdaptationModule(lightning.LightningModule):
    """Fine-tunes a copy of the student's image encoder on pairs.

    Args:
        student: File of the simulation-trained student, or `pretrained`.
        loss: Weights of the loss terms.
        optimiser: Optimiser settings.
    """

    constant: Float[Tensor, "cameras features"]

    def __init__(
        self,
        student: str | StudentPolicy = SHIPPED,
        loss: AdaptationLoss = AdaptationLoss(),
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
    ) -> None:
        super().__init__()
        policy = load_policy(student) if isinstance(student, str) else student
        self.frozen = copy.deepcopy(policy).eval().requires_grad_(False)
        self.adapted = copy.deepcopy(policy).requires_grad_(False)
        # Only the encoder depends on images; the token of a missing camera stays, as the frozen planner expects it.
        encoder = self.adapted.perception.encoder
        if isinstance(encoder, RegisterEncoder):
            encoder.train_all()
        else:
            encoder.requires_grad_(True)
        encoder.train()
        self.loss_config = loss
        self.optimiser_config = optimiser
        self.test_errors: list[SampleErrors] = []
        self.run_seed = 0
        self.constant_known = False
        tokens = tuple(policy.perception.missing.shape)
        self.register_buffer("constant", torch.zeros(tokens), persistent=False)

    def train(self, mode: bool = True) -> AdaptationModule:
        """Sets the mode of the encoder; the frozen student and the planner stay in evaluation mode."""
        super().train(mode)
        self.frozen.eval()
        self.adapted.planner.eval()
        return self

    def forward(self, batch: PairBatch) -> tuple[Plan, Plan]:
        """Plans of (adapted student on the real images, frozen student on the renderings)."""
        with torch.no_grad():
            target = self.frozen(batch.rendering)
        return self.adapted(batch.real), target

    def on_fit_start(self) -> None:
        """Store the seed of the run."""
        self.run_seed = torch.initial_seed()

    def on_train_epoch_start(self) -> None:
        """Seed the augmentation by run seed and epoch, so that a resumed run continues exactly."""
        torch.manual_seed(epoch_seed(self.run_seed, self.current_epoch))

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """The loss of one batch; logs its terms under adaptation/train."""
        adapted, frozen = self(batch)
        loss, terms = adaptation_loss(adapted, frozen, batch.real.camera_mask, self.loss_config)
        self._log_all("adaptation/train", terms, len(batch))
        return loss

    def validation_step(self, batch: PairBatch, batch_index: int) -> None:
        """Log the loss terms and the mean displacement error (ADE, m) under adaptation/validate."""
        adapted, frozen = self(batch)
        _, terms = adaptation_loss(adapted, frozen, batch.real.camera_mask, self.loss_config)
        terms["error_m"] = displacement_m(adapted.trajectory, frozen.trajectory).mean()
        self._log_all("adaptation/validate", terms, len(batch))

    def on_test_epoch_start(self) -> None:
        """Clear `test_errors`."""
        self.test_errors = []

    def test_step(self, batch: PairBatch, batch_index: int) -> None:
        """Append the errors of every sample to `test_errors`."""
        self.test_errors += self.errors(batch)

    def predict_step(self, batch: PairBatch, batch_index: int) -> dict[str, Any]:
        """Names of the samples, and poses [batch, poses, 3] on the CPU of each combination of student and input."""
        adapted, frozen = self(batch)
        unadapted = self.frozen(batch.real)
        return {
            "names": batch.names,
            "adapted_on_real": adapted.trajectory.poses.cpu(),
            "unadapted_on_real": unadapted.trajectory.poses.cpu(),
            "frozen_on_rendering": frozen.trajectory.poses.cpu(),
        }

    @torch.no_grad()
    def set_constant(self, batches: Sequence[PairBatch]) -> None:
        """Compute the image-independent baseline (see `SampleErrors.constant_m`): each camera's mean token over the
        renderings of the training scenes in which it is not masked.
        """
        tokens = torch.cat([self.frozen(batch.rendering).tokens for batch in batches])
        present = torch.cat([batch.rendering.camera_mask for batch in batches])[..., None].to(tokens.dtype)
        self.constant = (tokens * present).sum(0) / present.sum(0).clamp(min=1)
        self.constant_known = True

    @torch.no_grad()
    def errors(self, batch: PairBatch) -> list[SampleErrors]:
        """Trajectory errors of each sample against the frozen student on the rendering; that of the constant baseline
        is None before `set_constant`."""
        target = self.frozen(batch.rendering)
        plans = [self.frozen(batch.real), self.adapted(batch.real)]
        if self.constant_known:
            mask = batch.real.camera_mask[..., None]
            tokens = torch.where(mask, self.constant, target.tokens)
            plans.append(self.frozen.planner(tokens, self.frozen.given(batch.real)))
        weight = self.loss_config.yaw_weight_m
        columns = [pose_l1(plan.trajectory, target.trajectory, weight) for plan in plans[:2]]
        columns += [displacement_m(plan.trajectory, target.trajectory).mean(-1) for plan in plans]
        rows = torch.stack(columns, dim=1).tolist()
        named = zip(batch.names, batch.scenes, rows, strict=True)
        return [
            SampleErrors(
                name, scene, unadapted, adapted, constant[0] if constant else None, unadapted_l1, adapted_l1
            )
            for name, scene, (unadapted_l1, adapted_l1, unadapted, adapted, *constant) in named
        ]

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW on the encoder; warm-up, then cosine decay over the run."""
        config = self.optimiser_config
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        total = config.decay_steps or int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate_share(config, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log_all(self, prefix: str, values: dict[str, Tensor], batch_size: int) -> None:
        named = {f"{prefix}/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, batch_size=batch_size)
