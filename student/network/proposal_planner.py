"""DrivoR's planner: proposals from a decoder over the scene's tokens, and a scorer that chooses one of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simulator.conventions import NUM_POSES
from student.network.decoder import Decoder, pose_head
from student.network.input_contract import EGO_WIDTH, Contract, centre_offset_m, ego_vector, move_poses
from student.network.plan import Plan
from student.network.planner import ActionHead, PlannerConfig, residual_poses, step_growth
from student.observation import Observation
from student.sub_scores import SUB_SCORES, selection_score
from student.trajectory import Trajectory


class Scorer(nn.Module):
    """Predicts the sub-scores of given trajectories from the scene; no gradient reaches the trajectories."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        width, hidden = config.hidden, config.head_hidden
        self.embed = nn.Sequential(nn.Linear(NUM_POSES * 3, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.decoder = Decoder(config.layers, width, config.heads, config.dropout, config.drop_path)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))
                for name in SUB_SCORES
            }
        )

    def forward(
        self,
        proposals: Float[Tensor, "batch proposals poses 3"],
        scene: Float[Tensor, "batch tokens width"],
        ego_token: Float[Tensor, "batch 1 width"],
    ) -> Float[Tensor, "batch proposals sub_scores"]:
        """Logits in the order of SUB_SCORES."""
        queries = self.embed(proposals.detach().flatten(2))
        features = self.decoder(queries, scene)[-1] + ego_token
        return torch.cat([head(features) for head in self.heads.values()], dim=-1)


class ProposalPlanner(nn.Module):
    """Learned queries, one per proposal, each with the ego vector added, decoded over the scene's tokens.

    Of the heads for poses, one before the first block and one after each, only the last is trained and used: DrivoR
    gives the others the weight 0 in its loss. They are part of its weights and of its count of parameters. The head for
    the 12 actions, of which DrivoR knows nothing, reads the mean of the last queries (our choice).
    """

    grow: Tensor

    def __init__(
        self, config: PlannerConfig, scene_tokens: int, contract: Contract, target_points: int = 0
    ) -> None:
        super().__init__()
        self.target_points = target_points
        self.config, self.contract, self.scene_tokens = config, contract, scene_tokens
        width = config.hidden
        self.ego = nn.Linear(EGO_WIDTH[contract] + 2 * target_points, width)
        self.queries = nn.Parameter(torch.randn(config.proposals, width))
        self.decoder = Decoder(config.layers, width, config.heads, config.dropout, config.drop_path)
        self.pose_heads = nn.ModuleList(
            pose_head(width, config.head_hidden, NUM_POSES * 3) for _ in range(config.layers + 1)
        )
        for head in self.pose_heads[:-1]:
            head.requires_grad_(False)
        self.action_head = ActionHead(width)
        self.scorer = Scorer(config) if config.scorer else None
        self.register_buffer("grow", step_growth(), persistent=False)

    def forward(self, tokens: Float[Tensor, "batch cameras features"], observation: Observation) -> Plan:
        """The plan of each agent; of the observation the images are not read."""
        scene, ego_token = self._scene(tokens), self._ego_token(observation)
        features = self.decoder(self.queries + ego_token, scene)[-1]
        output = self.pose_heads[-1](features).unflatten(-1, (NUM_POSES, 3)).float()
        proposals = self._rear_axle(output, observation.ego)
        actions = self.action_head(features.mean(1))
        if self.scorer is None:
            chosen = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
            return Plan(Trajectory(proposals[:, 0]), actions, tokens, proposals, None, chosen)
        scores = self.scorer(self._own_frame(proposals, observation.ego), scene, ego_token)
        chosen = selection_score(scores.detach(), self.config.selection).argmax(-1)
        trajectory = Trajectory(proposals[torch.arange(len(chosen), device=chosen.device), chosen])
        return Plan(trajectory, actions, tokens, proposals, scores, chosen)

    def score(
        self,
        tokens: Float[Tensor, "batch cameras features"],
        observation: Observation,
        proposals: Float[Tensor, "batch proposals poses 3"],
    ) -> Float[Tensor, "batch proposals sub_scores"]:
        """Logits of the sub-scores of any trajectories (as in `Trajectory.poses`). Raises ValueError without a
        scorer."""
        if self.scorer is None:
            raise ValueError(
                "planner.scorer is false: this student has no scorer, so it cannot judge proposals"
            )
        ego_token = self._ego_token(observation)
        return self.scorer(self._own_frame(proposals, observation.ego), self._scene(tokens), ego_token)

    def _scene(self, tokens: Float[Tensor, "batch cameras features"]) -> Float[Tensor, "batch tokens width"]:
        return tokens.reshape(len(tokens), self.scene_tokens, self.config.hidden)

    def _ego_token(self, observation: Observation) -> Float[Tensor, "batch 1 width"]:
        vector, points = ego_vector(observation, self.contract), observation.target_points
        if self.target_points and points is not None:
            vector = torch.cat([vector, points.flatten(1)], dim=-1)
        return self.ego(vector)[:, None]

    def _rear_axle(
        self, output: Float[Tensor, "batch proposals poses 3"], ego: Float[Tensor, "batch ego"]
    ) -> Float[Tensor, "batch proposals poses 3"]:
        """Poses of the rear axle from what the head answers."""
        if self.config.poses == "residual":
            count = output.shape[1]
            chained = residual_poses(output.flatten(0, 1), self.grow, ego.repeat_interleave(count, dim=0))
            return chained.poses.unflatten(0, (-1, count))
        return output if self.contract == "native" else move_poses(output, -centre_offset_m(ego))

    def _own_frame(
        self, proposals: Float[Tensor, "batch proposals poses 3"], ego: Float[Tensor, "batch ego"]
    ) -> Float[Tensor, "batch proposals poses 3"]:
        """Poses of the point of the vehicle that the contract names, from those of the rear axle."""
        return proposals if self.contract == "native" else move_poses(proposals, centre_offset_m(ego))
