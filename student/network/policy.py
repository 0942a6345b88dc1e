"""The student: perception (images to tokens) and a planner (tokens to a trajectory and an action).

The two are separate submodules because adaptation to real cameras trains the first and freezes the second.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from student.network.encoder_config import EncoderConfig
from student.network.encoders import build_encoder
from student.network.input_contract import GIGAPIXEL_CAMERAS, Contract
from student.network.plan import Plan
from student.network.planner import ActionHead, PlannerConfig, TrajectoryHead, Trunk
from student.network.proposal_planner import ProposalPlanner
from student.observation import Observation

__all__ = ["Perception", "Plan", "Planner", "PolicyConfig", "StudentPolicy"]


@dataclass(frozen=True)
class PolicyConfig:
    """Architecture of the student."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    num_cameras: int = 4
    height_px: int = 54
    width_px: int = 96
    contract: Contract = (
        "native"  # numbers beside the images, and poses: see student/network/input_contract.py
    )
    target_points: int = 0  # of the route, given beside the command, see `Observation.target_points`
    conditioning: bool = True  # False: the policy is not told the reward conditioning

    def __post_init__(self) -> None:
        for name in ("num_cameras", "height_px", "width_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"policy.{name}={getattr(self, name)} must be at least 1")
        if self.target_points < 0:
            raise ValueError(f"policy.target_points={self.target_points} must not be negative (0: none)")
        if self.target_points and self.contract != "native":
            raise ValueError(
                f"policy.contract={self.contract!r} has no room for policy.target_points={self.target_points}; use the "
                "contract 'native' or 0"
            )
        proposes = self.planner.kind == "proposals"
        if proposes and self.planner.hidden != self.encoder.features:
            raise ValueError(
                f"policy: planner.hidden={self.planner.hidden} and encoder.features={self.encoder.features} must be "
                "the same where planner.kind is 'proposals', whose decoder looks at the encoder's tokens"
            )
        if proposes and not self.conditioning:
            raise ValueError(
                "policy.conditioning=false is for planner.kind 'trunk'; with 'proposals' leave it at true"
            )
        if self.contract not in ("native", "gigapixel"):
            raise ValueError(f"policy.contract={self.contract!r} is unknown; use 'native' or 'gigapixel'")
        if self.contract == "gigapixel" and not (proposes and self.planner.poses == "direct"):
            raise ValueError(
                f"policy.contract='gigapixel' has poses of the box centre: it needs planner.kind 'proposals' and "
                f"planner.poses 'direct', not {self.planner.kind!r} and {self.planner.poses!r}"
            )
        if self.contract == "gigapixel" and self.num_cameras != len(GIGAPIXEL_CAMERAS):
            raise ValueError(
                f"policy.contract='gigapixel' has the cameras {', '.join(GIGAPIXEL_CAMERAS)}; policy.num_cameras is "
                f"{self.num_cameras}"
            )

    @property
    def camera_features(self) -> int:
        """Numbers that one camera's image becomes: its tokens, one after another."""
        return self.encoder.tokens_per_camera * self.encoder.features


class Perception(nn.Module):
    """One encoder shared by all cameras; a missing camera gives learned tokens."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.height_px, config.width_px, config.num_cameras)
        self.missing = nn.Parameter(torch.zeros(config.num_cameras, config.camera_features))

    def forward(
        self,
        images: UInt8[Tensor, "batch cameras height width 3"],
        camera_mask: Bool[Tensor, "batch cameras"],
    ) -> Float[Tensor, "batch cameras features"]:
        """The tokens of each camera, flat."""
        batch, cameras = images.shape[:2]
        tokens = self.encoder(images.flatten(0, 1)).view(batch, cameras, -1)
        return torch.where(camera_mask[..., None], tokens, self.missing.to(tokens.dtype))


class Planner(nn.Module):
    """Tokens, ego motion, command and reward conditioning to a plan."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.num_cameras, config.camera_features, config.planner, config.target_points)
        self.trajectory_head = TrajectoryHead(config.planner.hidden)
        self.action_head = ActionHead(config.planner.hidden)

    def forward(self, tokens: Float[Tensor, "batch cameras features"], observation: Observation) -> Plan:
        """The plan of each agent; of the observation the images are not read."""
        hidden = self.features(tokens, observation)
        return Plan(self.trajectory_head(hidden, observation.ego), self.action_head(hidden), tokens)

    def features(
        self, tokens: Float[Tensor, "batch cameras features"], observation: Observation
    ) -> Float[Tensor, "batch hidden"]:
        """What both heads read."""
        return self.trunk(
            tokens,
            observation.ego,
            observation.command,
            observation.conditioning,
            observation.target_points if self.trunk.target_points else None,
        )


class StudentPolicy(nn.Module):
    """Perception and planner together."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.perception = Perception(config)
        proposes = config.planner.kind == "proposals"
        self.planner: Planner | ProposalPlanner = (
            ProposalPlanner(
                config.planner,
                config.num_cameras * config.encoder.tokens_per_camera,
                config.contract,
                config.target_points,
            )
            if proposes
            else Planner(config)
        )

    def forward(self, observation: Observation) -> Plan:
        """A plan for every agent of the batch."""
        shape = tuple(observation.images.shape[1:4])
        expected = (self.config.num_cameras, self.config.height_px, self.config.width_px)
        if shape != expected:
            raise ValueError(
                f"Observation.images is {shape} (cameras, height, width); this policy takes {expected}"
            )
        points = observation.target_points
        given = 0 if points is None else points.shape[1]
        if self.config.target_points not in (0, given):
            raise ValueError(
                f"Observation.target_points holds {given} points; this policy takes {self.config.target_points}, which "
                "worlds give it where their target_points says so"
            )
        seen = self.given(observation)
        return self.planner(self.perception(seen.images, seen.camera_mask), seen)

    def given(self, observation: Observation) -> Observation:
        """The observation as the policy is given it: without `PolicyConfig.conditioning` that of an average driver."""
        if self.config.conditioning:
            return observation
        return replace(observation, conditioning=torch.zeros_like(observation.conditioning))
