"""The data of one update of PPO: all agents of the worlds driven by the actor for some steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from student.observation import Observation
from student.pixel_ppo.actor_critic import Acted, ActorCritic
from student.pixel_ppo.advantages import gae, normalised
from student.tensor_batch import TensorBatch

if TYPE_CHECKING:  # the world loads JAX; a sample does not need it
    from student.world.pixel_world import PixelWorld, Reward


@dataclass(frozen=True)
class Samples(TensorBatch):
    """Acted steps, in the order of time."""

    observation: Observation
    action: Int[Tensor, " samples"]  # 0..11
    log_prob: Float[Tensor, " samples"]  # of the action when it was taken
    advantage: Float[Tensor, " samples"]  # normalised over the rollout
    target: Float[Tensor, " samples"]  # of the value


@dataclass(frozen=True)
class Rollout:
    """Samples, and what the log tells about them."""

    samples: Samples
    mean_reward: float  # per agent-step
    ended_share: float  # of agent-steps after which the agent had crashed, left the road or arrived


@dataclass(frozen=True)
class _Step:
    """One simulator step of the agents that acted."""

    agents: Int[Tensor, " acting"]  # flat indices world * agents + agent
    observation: Observation
    acted: Acted
    got: Reward


def roll_out(
    world: PixelWorld,
    actor_critic: ActorCritic,
    steps: int,
    generator: torch.Generator,
    discount: float,
    trace_decay: float,
) -> Rollout:
    """Drive all agents for `steps` simulator steps; worlds whose episode is over begin a new one before, none during
    it. Raises ValueError where no agent drives."""
    world.reset_finished()
    world.assign_teacher(0.0)
    training = actor_critic.training
    actor_critic.eval()
    driven: list[_Step] = []
    for _ in range(steps):
        if not len(world.ego_agents):
            break
        agents, observation = world.ego_agents, world.observe()
        acted = actor_critic.act(observation, generator)
        driven.append(_Step(agents, observation, acted, world.act_for_reward(acted.action)))
    if not driven:
        raise ValueError("no agent drives in any of data.world's worlds; lower num_agents or name other maps")
    last_value = torch.zeros(world.config.num_worlds * world.config.num_agents)
    if len(world.ego_agents):
        last_value[world.ego_agents] = actor_critic.act(world.observe(), generator).value.cpu()
    actor_critic.train(training)
    return _joined(driven, last_value, discount, trace_decay)


def _joined(
    driven: list[_Step], last_value: Float[Tensor, " agents"], discount: float, trace_decay: float
) -> Rollout:
    """The steps as samples with advantages."""
    shape = (len(driven), len(last_value))
    reward, value = torch.zeros(shape), torch.zeros(shape)
    terminated, valid = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    for row, step in enumerate(driven):
        reward[row, step.agents] = step.got.reward.cpu()
        value[row, step.agents] = step.acted.value.cpu()
        terminated[row, step.agents] = step.got.terminated.cpu()
        valid[row, step.agents] = True
    advantage, target = gae(reward, value, last_value, terminated, valid, discount, trace_decay)
    device = driven[0].observation.images.device
    observations = [step.observation.tensors() for step in driven]
    samples = Samples(
        Observation.from_tensors(
            {name: torch.cat([one[name] for one in observations]) for name in observations[0]}
        ),
        torch.cat([step.acted.action for step in driven]),
        torch.cat([step.acted.log_prob for step in driven]),
        normalised(advantage[valid]).to(device),
        target[valid].to(device),
    )
    return Rollout(samples, float(reward[valid].mean()), float(terminated[valid].float().mean()))
