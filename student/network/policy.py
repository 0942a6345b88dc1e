"""The student: perception (images to tokens) and a planner (tokens to a trajectory and an action).

The two are separate submodules because adaptation to real cameras trains the first and freezes the second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from student.network.encoders import EncoderConfig, build_encoder
from student.network.planner import ActionHead, PlannerConfig, TrajectoryHead, Trunk
from student.observation import Observation
from student.tensor_batch import TensorBatch
from student.trajectory import Trajectory


@dataclass(frozen=True)
class PolicyConfig:
    """Architecture of the student."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    num_cameras: int = 4
    height_px: int = 54
    width_px: int = 96

    def __post_init__(self) -> None:
        for name in ("num_cameras", "height_px", "width_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"policy.{name}={getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class Plan(TensorBatch):
    """The student's output."""

    trajectory: Trajectory  # poses [batch, 8, 3]
    action_logits: Float[Tensor, "batch actions"]
    tokens: Float[Tensor, "batch cameras features"]  # the register features that adaptation matches

    def actions(self) -> Tensor:
        """Most likely action of each agent, [batch] int64."""
        return self.action_logits.argmax(-1)


class Perception(nn.Module):
    """One encoder shared by all cameras; a missing camera gives a learned token."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.height_px, config.width_px)
        self.missing = nn.Parameter(torch.zeros(config.num_cameras, config.encoder.features))

    def forward(
        self,
        images: UInt8[Tensor, "batch cameras height width 3"],
        camera_mask: Bool[Tensor, "batch cameras"],
    ) -> Float[Tensor, "batch cameras features"]:
        """One token per camera."""
        batch, cameras = images.shape[:2]
        tokens = self.encoder(images.flatten(0, 1)).view(batch, cameras, -1)
        return torch.where(camera_mask[..., None], tokens, self.missing.to(tokens.dtype))


class Planner(nn.Module):
    """Tokens, ego motion, command and reward conditioning to a plan."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.num_cameras, config.encoder.features, config.planner)
        self.trajectory_head = TrajectoryHead(config.planner.hidden)
        self.action_head = ActionHead(config.planner.hidden)

    def forward(self, tokens: Float[Tensor, "batch cameras features"], observation: Observation) -> Plan:
        """The plan of each agent; of the observation only ego, command and conditioning are read."""
        hidden = self.trunk(tokens, observation.ego, observation.command, observation.conditioning)
        return Plan(self.trajectory_head(hidden, observation.ego), self.action_head(hidden), tokens)


class StudentPolicy(nn.Module):
    """Perception and planner together."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.perception = Perception(config)
        self.planner = Planner(config)

    def forward(self, observation: Observation) -> Plan:
        """A plan for every agent of the batch."""
        shape = tuple(observation.images.shape[1:4])
        expected = (self.config.num_cameras, self.config.height_px, self.config.width_px)
        if shape != expected:
            raise ValueError(
                f"Observation.images is {shape} (cameras, height, width); this policy takes {expected}"
            )
        return self.planner(self.perception(observation.images, observation.camera_mask), observation)
