"""The planner: trunk, trajectory head, and the head for the 12 discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simulator.conventions import NUM_JERK_ACTIONS, NUM_POSES, NUM_TRAITS, POSE_SPACING_S, WHEELBASE_RATIO
from student.observation import EGO_FEATURES, Command, ego_value
from student.sub_scores import SELECTION_WEIGHTS, SelectionRule
from student.trajectory import Trajectory, chain

STEP_SCALE_M = 0.6
"""A head output of 1 changes the k-th step by k * STEP_SCALE_M: with 2.4 m/s2 held, step k grows by about that."""
CURVATURE_SCALE_1PM = 0.1
"""A head output of 1 bends the path by this; the tightest turns of a car are near 0.2 1/m."""
SLIP_SCALE_M = 0.05
"""A head output of 1 moves the path sideways by this at each step."""
MIN_STEP_M = -1.0
"""The simulator reverses at no more than 2 m/s."""


@dataclass(frozen=True)
class PlannerConfig:
    """Size of the planner."""

    kind: Literal["trunk", "proposals"] = "trunk"
    """`trunk`: one trajectory from one feature vector. `proposals`: DrivoR's decoder, see `ProposalPlanner`."""
    hidden: int = 256  # width of the trunk, or of the decoder's tokens
    layers: int = 2  # residual blocks of the trunk, or blocks of the decoder and of the scorer
    proposals: int = 64  # proposals: trajectories; 1 is DrivoR-Reg
    scorer: bool = True  # proposals: a second decoder, which predicts sub-scores, chooses among them
    heads: int = 1  # proposals: of each attention
    head_hidden: int = 1024  # proposals: hidden width of the heads for poses and sub-scores
    dropout: float = 0.1  # proposals: of what each attention and MLP adds, in training
    drop_path: float = 0.2  # proposals: probability that a sample skips an attention or MLP, in training
    poses: Literal["direct", "residual"] = "direct"
    """proposals: the heads answer with poses themselves, or with what `residual_poses` makes poses of."""
    selection: SelectionRule = "navsim_v2"  # proposals: how sub-scores choose one

    @property
    def has_scorer(self) -> bool:
        """Whether a scorer chooses among proposals."""
        return self.kind == "proposals" and self.scorer

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.layers < 0:
            raise ValueError(
                f"planner.hidden={self.hidden}, planner.layers={self.layers}: need at least 1 and 0"
            )
        for name, kinds in (("kind", ("trunk", "proposals")), ("poses", ("direct", "residual"))):
            if getattr(self, name) not in kinds:
                raise ValueError(
                    f"planner.{name}={getattr(self, name)!r} is unknown; use {kinds[0]!r} or {kinds[1]!r}"
                )
        if self.selection not in SELECTION_WEIGHTS:
            raise ValueError(
                f"planner.selection={self.selection!r} is unknown; use one of {', '.join(SELECTION_WEIGHTS)}"
            )
        for name in ("proposals", "heads", "head_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"planner.{name}={getattr(self, name)} must be at least 1")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"planner.{name}={getattr(self, name)} must lie in [0, 1)")
        if self.kind == "proposals" and self.hidden % self.heads:
            raise ValueError(f"planner.heads={self.heads} must divide planner.hidden={self.hidden}")
        if self.kind == "proposals" and self.proposals > 1 and not self.scorer:
            raise ValueError(
                f"planner.proposals={self.proposals} need planner.scorer, which chooses one of them; without it set "
                "planner.proposals to 1"
            )


class Trunk(nn.Module):
    """Camera tokens, ego motion, reward conditioning and command to one feature vector.

    The command scales and shifts the features of every block (FiLM): the same image requires opposite turns under LEFT
    and RIGHT.
    """

    def __init__(self, tokens: int, features: int, config: PlannerConfig, target_points: int = 0) -> None:
        super().__init__()
        self.target_points = target_points
        inputs = tokens * features + EGO_FEATURES + NUM_TRAITS + len(Command) + 2 * target_points
        self.enter = nn.Linear(inputs, config.hidden)
        self.blocks = nn.ModuleList(nn.Linear(config.hidden, config.hidden) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden) for _ in range(config.layers))
        self.modulations = nn.ModuleList(
            nn.Linear(len(Command), 2 * config.hidden) for _ in range(config.layers)
        )
        self.leave = nn.LayerNorm(config.hidden)

    def forward(
        self,
        tokens: Float[Tensor, "batch cameras features"],
        ego: Float[Tensor, "batch ego"],
        command: Float[Tensor, "batch commands"],
        conditioning: Float[Tensor, "batch conditioning"],
        target_points: Float[Tensor, "batch points 2"] | None = None,
    ) -> Float[Tensor, "batch hidden"]:
        """One feature vector per agent."""
        inputs = [tokens.flatten(1), ego, command, conditioning]
        if target_points is not None:
            inputs.append(target_points.flatten(1))
        hidden = self.enter(torch.cat(inputs, dim=-1))
        for block, norm, modulation in zip(self.blocks, self.norms, self.modulations, strict=True):
            scale, shift = modulation(command).chunk(2, dim=-1)
            hidden = hidden + torch.relu(block(norm(hidden) * (1 + scale) + shift))
        return self.leave(hidden)


class TrajectoryHead(nn.Module):
    """8 poses as residuals to the path that holds the present speed and steering.

    Steps are composed by `trajectory.chain`; turning is curvature times distance, so that a standing agent does not
    turn. With an output of zero (as when untrained) the plan holds speed and steering.
    """

    grow: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, NUM_POSES * 3)
        nn.init.normal_(self.project.weight, std=0.01)
        nn.init.zeros_(self.project.bias)
        self.register_buffer("grow", step_growth(), persistent=False)

    def forward(self, hidden: Float[Tensor, "batch hidden"], ego: Float[Tensor, "batch ego"]) -> Trajectory:
        """Poses in the current rear-axle frame."""
        output = self.project(hidden).view(-1, NUM_POSES, 3).float()
        return residual_poses(output, self.grow, ego)


def step_growth() -> Float[Tensor, " poses"]:
    """How much a head output of 1 changes each of the steps, m."""
    return torch.arange(1, NUM_POSES + 1, dtype=torch.float32) * STEP_SCALE_M


def residual_poses(
    output: Float[Tensor, "batch poses 3"], grow: Float[Tensor, " poses"], ego: Float[Tensor, "batch ego"]
) -> Trajectory:
    """Poses from head outputs (advance, curvature, slip), which are residuals to the present speed and steering;
    `grow` is `step_growth()`."""
    wheelbase = WHEELBASE_RATIO * ego_value(ego, "length_m").clamp(min=0.1)
    curvature = torch.tan(ego_value(ego, "steering_rad")) / wheelbase
    speed = ego_value(ego, "speed_mps")
    advance = speed[:, None] * POSE_SPACING_S + grow * output[..., 0]
    advance = MIN_STEP_M + nn.functional.softplus(4.0 * (advance - MIN_STEP_M)) / 4.0
    turn = advance * (curvature[:, None] + CURVATURE_SCALE_1PM * output[..., 1])
    return chain(advance, turn, SLIP_SCALE_M * output[..., 2])


class ActionHead(nn.Module):
    """Logits of the simulator's 12 jerk actions."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, NUM_JERK_ACTIONS)

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch actions"]:
        """Unnormalised log probabilities."""
        return self.project(hidden)
