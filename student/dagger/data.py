"""Self-play DAgger as a LightningDataModule: drive, label the visited states, store them, serve batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning
import torch
from jaxtyping import Bool
from torch import Tensor

from renderer import CalibrationNoise
from student.batch import TURN_WEIGHT, Batch, turn_weights
from student.dagger.beta_schedule import BetaSchedule
from student.dagger.closed_loop import ClosedLoopConfig, Episode, drive_until_next_plan, plan_for
from student.dagger.goal_augmentation import GoalAugmentation, samples_elsewhere
from student.dagger.judging import JudgingConfig, judge_some
from student.dagger.replay_buffer import ReplayBuffer
from student.dagger.situations import SITUATIONS
from student.network.policy import StudentPolicy
from student.observation import Command, one_hot_command
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld


class OnPolicyData(lightning.LightningDataModule):
    """Every epoch first drives `decisions_per_epoch` plans in all worlds, each agent by the teacher with probability
    beta and else by the student, labels every visited state for every agent (with `world.students: one` for the one
    student of each world), and then serves batches from the replay buffer.

    Args:
        world: The worlds that are driven for training.
        validation: Closed-loop evaluation during fitting.
        test: Closed-loop evaluation of the `test` command.
        beta_steps: Agent-steps over which beta falls from 1 to 0; None: the teacher always drives (behaviour cloning).
        decisions_per_epoch: Decisions (plans, 0.5 s apart) driven and labelled per epoch in every world.
        batches_per_epoch: Optimiser steps per epoch.
        batch_size: Agents per batch.
        buffer_capacity: Samples in the replay buffer; the newest replace the oldest.
        turn_weight: Weight of a turning label in the loss; a straight one has weight 1.
        command_dropout: Share of the samples whose command is replaced by UNKNOWN, so that the student can also
            drive without a route.
        balanced_share: Share of each batch in which all situations are equally likely, see
            `student.dagger.situations`; the others come from the buffer as they are.
        goals: Labels of the same pictures under other commands and goals.
        judging: Which proposals are judged in the simulator for a student with a scorer.
        label_share: Share of the visited states that are labelled, drawn at random; the others are driven through only.
        seed: Seed of worlds, of the choice between teacher and student, and of batches.
    """

    def __init__(
        self,
        world: PixelWorldConfig = PixelWorldConfig(),  # noqa: B008  frozen
        validation: ClosedLoopConfig = ClosedLoopConfig(),  # noqa: B008
        test: ClosedLoopConfig = ClosedLoopConfig(),  # noqa: B008
        beta_steps: int | None = 200_000,
        decisions_per_epoch: int = 8,
        batches_per_epoch: int = 40,
        batch_size: int = 128,
        buffer_capacity: int = 20_000,
        turn_weight: float = TURN_WEIGHT,
        command_dropout: float = 0.05,
        balanced_share: float = 0.0,
        goals: GoalAugmentation = GoalAugmentation(),  # noqa: B008
        judging: JudgingConfig = JudgingConfig(),  # noqa: B008
        label_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"decisions_per_epoch": decisions_per_epoch, "batches_per_epoch": batches_per_epoch}
        for name, value in (sizes | {"batch_size": batch_size, "buffer_capacity": buffer_capacity}).items():
            if value < 1:
                raise ValueError(f"data.{name}={value} must be at least 1")
        if not 0 <= command_dropout < 1:
            raise ValueError(f"data.command_dropout={command_dropout} must lie in [0, 1)")
        if not 0 <= balanced_share <= 1:
            raise ValueError(f"data.balanced_share={balanced_share} must lie in [0, 1]")
        if not 0 < label_share <= 1:
            raise ValueError(f"data.label_share={label_share} must lie in (0, 1]")
        self.world_config, self.validation_config, self.test_config = world, validation, test
        self.beta = BetaSchedule(beta_steps)
        self.decisions_per_epoch, self.batches_per_epoch = decisions_per_epoch, batches_per_epoch
        self.batch_size, self.buffer_capacity = batch_size, buffer_capacity
        self.turn_weight, self.command_dropout, self.seed = turn_weight, command_dropout, seed
        self.goals, self.balanced_share = goals, balanced_share
        self.judging, self.label_share = judging, label_share
        self.generator = torch.Generator().manual_seed(seed)
        self.agent_steps = 0
        self.world: PixelWorld | None = None
        self.buffer: ReplayBuffer | None = None
        self._evaluation_worlds: dict[ClosedLoopConfig, PixelWorld] = {}
        self._latest: dict[str, float] = {}

    def setup(self, stage: str) -> None:
        """Build the training worlds and the buffer once, before `fit`."""
        if stage != "fit" or self.world is not None:
            return
        self.world = PixelWorld(self.world_config, device=self._device())
        self.world.reset(self.seed, stagger=True)
        self.buffer = self.new_buffer()

    def new_buffer(self) -> ReplayBuffer | None:
        """The empty replay buffer; None for data that keep nothing."""
        return ReplayBuffer(self.buffer_capacity)

    def train_dataloader(self) -> OnPolicyBatches:
        """Batches of one epoch; starting to iterate collects new samples with the current policy."""
        return OnPolicyBatches(self)

    def val_dataloader(self) -> OneEpisode:
        """One closed-loop episode."""
        return OneEpisode(self.episode(self.validation_config))

    def test_dataloader(self) -> OneEpisode:
        """One closed-loop episode."""
        return OneEpisode(self.episode(self.test_config))

    def predict_dataloader(self) -> LabelledStates:
        """States visited by the teacher in the test worlds, with labels."""
        return LabelledStates(self, self.episode(self.test_config))

    def episode(self, config: ClosedLoopConfig) -> Episode:
        """An evaluation in its own worlds, which are built once per config."""
        if config not in self._evaluation_worlds:
            world = replace(
                self.world_config,
                maps=config.maps,
                num_worlds=config.num_worlds,
                episode_s=config.seconds,
                careful_share=1.0,
                students="all",
                calibration_noise=CalibrationNoise(),
                incomplete_labels="drop",
                label_sight="all",
            )
            self._evaluation_worlds[config] = PixelWorld(world, device=self._device())
        return Episode(self._evaluation_worlds[config], config)

    def collect(self, policy: StudentPolicy) -> None:
        """Drive `decisions_per_epoch` plans; before each, all samples with a valid label go into the buffer, with
        judged proposals if the policy has a scorer."""
        world, buffer = self._training()
        started, training = time.perf_counter(), policy.training
        policy.eval()
        steps = labelled = visited = elsewhere = 0
        plan, judge_s = None, 0.0
        judges = policy.config.planner.has_scorer and self.judging.proposals > 0
        for _ in range(self.decisions_per_epoch):
            world.reset_finished()
            world.assign_teacher(self.beta(self.agent_steps + steps))
            batch = self.labelled(world)
            valid = batch.label.valid & self._labelled_share(batch.label.valid)
            if judges:
                plan, began = plan_for(policy, batch.observation), time.perf_counter()
                batch = replace(batch, judged=judge_some(world, plan, valid, self.judging, self.generator))
                judge_s += time.perf_counter() - began
            buffer.add(batch, valid)
            for extra in samples_elsewhere(world, batch, self.goals, self.turn_weight):
                buffer.add(extra)
                elsewhere += len(extra)
            visited, labelled = visited + len(batch), labelled + int(valid.sum())
            before = world.agent_steps
            drive_until_next_plan(world, policy, batch.observation, plan)
            steps += world.agent_steps - before
        policy.train(training)
        self.agent_steps += steps
        wall_s = time.perf_counter() - started
        self._latest = {
            "valid_share": labelled / max(1, visited),
            "labels_per_s": labelled / wall_s,
            "agent_steps_per_s": steps / wall_s,
            "collect_s": wall_s,
        }
        if self.goals.labels:
            self._latest["labels_elsewhere"] = elsewhere
        if judges:
            self._latest["judge_s"] = judge_s

    def labelled(self, world: PixelWorld) -> Batch:
        """Observation, label and weight of every ego agent of `world` now."""
        observation, label = world.observe(), world.label()
        weight = turn_weights(label.trajectory, self.turn_weight, label.pose_valid)
        situation = world.situations(observation.command) if self.balanced_share else None
        return Batch(observation, label, weight, situation=situation)

    def _labelled_share(self, valid: Bool[Tensor, " agents"]) -> Bool[Tensor, " agents"]:
        """A random share `label_share` of the visited states."""
        if self.label_share == 1.0:
            return torch.ones_like(valid)
        return (torch.rand(len(valid), generator=self.generator) < self.label_share).to(valid.device)

    def draw(self) -> Batch:
        """A batch from the buffer, a share `command_dropout` of its commands set to UNKNOWN."""
        _, buffer = self._training()
        batch = buffer.sample(self.batch_size, self.generator, self.balanced_share)
        hidden = torch.rand(len(batch), generator=self.generator) < self.command_dropout
        command = batch.observation.command
        unknown = one_hot_command(torch.tensor([int(Command.UNKNOWN)])).to(command.device)
        command = torch.where(hidden[:, None].to(command.device), unknown, command)
        points = batch.observation.target_points
        if points is not None:  # without a route there are none
            points = torch.where(hidden[:, None, None].to(points.device), 0.0, points)
        observation = replace(batch.observation, command=command, target_points=points)
        return replace(batch, observation=observation)

    def statistics(self) -> dict[str, float]:
        """Metrics of the data collection so far, for the log."""
        held = len(self.buffer) if self.buffer is not None else 0
        beta = self.beta(self.agent_steps)
        counts = {"agent_steps": self.agent_steps, "labels": self.labels, "buffer": held}
        if held and self.balanced_share:
            assert self.buffer is not None
            found = torch.bincount(self.buffer.situations(), minlength=len(SITUATIONS)).tolist()
            shares = {f"{name}_share": part / held for name, part in zip(SITUATIONS, found, strict=True)}
            self._latest = self._latest | shares
        return {**counts, "beta": beta, **self._latest}

    @property
    def labels(self) -> int:
        """Valid labels that have gone into the buffer so far."""
        return self.buffer.added if self.buffer is not None else 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on: worlds, keys, buffer, counters, generator."""
        if self.world is None:
            return {}
        state = {
            "agent_steps": self.agent_steps,
            "generator": self.generator.get_state(),
            "world": self.world.state_dict(),
        }
        return state if self.buffer is None else state | {"buffer": self.buffer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        if self.world is None or not state_dict:
            return
        self.agent_steps = state_dict["agent_steps"]
        self.generator.set_state(state_dict["generator"])
        self.world.load_state_dict(state_dict["world"])
        if self.buffer is not None:
            self.buffer.load_state_dict(state_dict["buffer"])

    def policy(self) -> StudentPolicy:
        """The policy being trained."""
        assert self.trainer is not None, "the trainer attaches itself before asking for batches"
        return self.trainer.lightning_module.policy

    def _training(self) -> tuple[PixelWorld, ReplayBuffer]:
        """Worlds and buffer, once `setup` has built them."""
        assert self.world is not None, "setup('fit') comes first"
        assert self.buffer is not None, "setup('fit') comes first"
        return self.world, self.buffer

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")


class OnPolicyBatches:
    """Iterating collects first, then draws `batches_per_epoch` batches."""

    def __init__(self, data: OnPolicyData) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        self.data.collect(self.data.policy())
        for _ in range(self.data.batches_per_epoch):
            yield self.data.draw()


class OneEpisode:
    """Loader of a validation or test: its only item is a closed-loop evaluation."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Episode]:
        return iter([self.episode])


class LabelledStates:
    """Iterating lets the teacher drive an evaluation and yields the labelled observations before each plan."""

    def __init__(self, data: OnPolicyData, episode: Episode) -> None:
        self.data, self.episode = data, episode

    def __len__(self) -> int:
        return round(self.episode.config.seconds / self.episode.world.config.plan_s)

    def __iter__(self) -> Iterator[Batch]:
        world = self.episode.world
        world.reset(self.episode.config.seed)
        world.assign_teacher(1.0)
        for _ in range(len(self)):
            if not len(world.ego_agents):
                return
            yield self.data.labelled(world)
            world.follow(None)
