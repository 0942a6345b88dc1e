"""Rollouts of PPO as a LightningDataModule: drive with the actor, then serve the samples in minibatches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from student.dagger.closed_loop import ClosedLoopConfig
from student.dagger.data import OnPolicyData
from student.pixel_ppo.actor_critic import ActorCritic
from student.pixel_ppo.rollout import Samples, roll_out
from student.world.config import PixelWorldConfig


class RolloutData(OnPolicyData):
    """Every epoch first drives all agents for `rollout_steps` simulator steps by sampled jerk actions, and then serves
    the samples `passes` times, each time in `minibatches` random parts. Nothing is labelled and nothing kept.

    Args:
        world: The worlds that are driven for training. `drive_with` is for the evaluations: `actions`.
        validation: Closed-loop evaluation during fitting.
        test: Closed-loop evaluation of the `test` command.
        rollout_steps: Simulator steps between two updates.
        passes: Times that each sample is learnt from.
        minibatches: Optimiser steps per pass.
        discount: Gamma of generalised advantage estimation, per simulator step.
        trace_decay: Its lambda.
        seed: Seed of worlds, actions and minibatches.
    """

    def __init__(
        self,
        world: PixelWorldConfig = PixelWorldConfig(drive_with="actions"),  # noqa: B008  frozen
        validation: ClosedLoopConfig = ClosedLoopConfig(),  # noqa: B008
        test: ClosedLoopConfig = ClosedLoopConfig(),  # noqa: B008
        rollout_steps: int = 16,
        passes: int = 2,
        minibatches: int = 8,
        discount: float = 0.99,
        trace_decay: float = 0.95,
        seed: int = 0,
    ) -> None:
        super().__init__(world, validation, test, seed=seed)
        sizes = {"rollout_steps": rollout_steps, "passes": passes, "minibatches": minibatches}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"data.{name}={value} must be at least 1")
        for name, share in {"discount": discount, "trace_decay": trace_decay}.items():
            if not 0 < share <= 1:
                raise ValueError(f"data.{name}={share} must lie in (0, 1]")
        if world.drive_with != "actions" or world.students != "all":
            raise ValueError(
                f"PPO acts by jerk actions and for all agents: it needs world.drive_with='actions' and "
                f"world.students='all', not {world.drive_with!r} and {world.students!r}"
            )
        self.rollout_steps, self.passes, self.minibatches = rollout_steps, passes, minibatches
        self.discount, self.trace_decay = discount, trace_decay

    def new_buffer(self) -> None:
        """None: samples are not kept."""

    def train_dataloader(self) -> RolloutMinibatches:  # type: ignore[override]
        """Minibatches of one epoch; starting to iterate drives a new rollout with the current actor."""
        return RolloutMinibatches(self)

    def roll_out(self, actor_critic: ActorCritic) -> Samples:
        """The samples of a new rollout."""
        assert self.world is not None, "setup('fit') comes first"
        started, before = time.perf_counter(), self.world.agent_steps
        rollout = roll_out(
            self.world, actor_critic, self.rollout_steps, self.generator, self.discount, self.trace_decay
        )
        steps, wall_s = self.world.agent_steps - before, time.perf_counter() - started
        self.agent_steps += steps
        self._latest = {
            "reward": rollout.mean_reward,
            "ended_share": rollout.ended_share,
            "agent_steps_per_s": steps / wall_s,
            "collect_s": wall_s,
        }
        return rollout.samples

    def statistics(self) -> dict[str, float]:
        """Metrics of the rollouts so far, for the log."""
        return {"agent_steps": self.agent_steps, "labels": self.labels, **self._latest}


class RolloutMinibatches:
    """Iterating drives a rollout first, then gives its samples in random parts, `passes` times."""

    def __init__(self, data: RolloutData) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.passes * self.data.minibatches

    def __iter__(self) -> Iterator[Samples]:
        data = self.data
        assert data.trainer is not None, "the trainer attaches itself before asking for batches"
        samples = data.roll_out(data.trainer.lightning_module.actor_critic)
        if len(samples) < data.minibatches:
            raise ValueError(
                f"data.minibatches={data.minibatches} is more than the {len(samples)} samples of a rollout; try 1, or "
                "more worlds"
            )
        for _ in range(data.passes):
            order = torch.randperm(len(samples), generator=data.generator)
            for part in order.tensor_split(data.minibatches):
                yield samples[part.to(samples.action.device)]
