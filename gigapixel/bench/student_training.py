"""The student's training in memory, in parts that can be timed: collecting, labelling, learning, and all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.cli import LightningArgumentParser

from gigapixel.run_folder.config.yaml_file import read_mapping
from student.dagger.data import OnPolicyData
from student.dagger.replay_buffer import ReplayBuffer
from student.module import StudentModule
from student.run.command_line import link_settings
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

if TYPE_CHECKING:
    from gigapixel.bench.student import StudentSettings

DEFAULT_WORLD = PixelWorldConfig(maps=("Town03",), num_worlds=2, num_agents=16)
DEFAULT_BATCHES_PER_DECISION = 2


class StudentTraining:
    """What `OnPolicyData` and `StudentModule` do in a fit, without Lightning's loop, at the end of the beta schedule:
    the student drives all agents.

    Attributes:
        module, data: The student and its data.
        world, buffer: Those of `data`.
        batches: Optimiser steps per call of `learn` and `whole`.
        start: The first weights in words.
    """

    def __init__(self, settings: StudentSettings, device: str) -> None:
        torch.manual_seed(settings.seed)
        self.module, data, trainer = _configured(settings)
        decisions = data.decisions_per_epoch
        per_decision = data.batches_per_epoch / decisions if settings.config else DEFAULT_BATCHES_PER_DECISION
        self.batches = settings.batches or max(1, round(per_decision * settings.decisions))
        data.decisions_per_epoch, data.batches_per_epoch = settings.decisions, self.batches
        data.batch_size = settings.batch_size or data.batch_size
        slots = data.world_config.num_worlds * data.world_config.num_agents
        self.world = PixelWorld(data.world_config, device)
        self.world.reset(settings.seed, stagger=True)
        self.buffer = ReplayBuffer(settings.buffer or slots * settings.decisions)
        data.world, data.buffer, data.agent_steps = self.world, self.buffer, data.beta.beta_steps or 0
        self.data, self._device = data, device
        self.start = f"from {settings.weights}" if settings.weights else "from random weights"
        self.module.to(device)
        if settings.compile:
            self.module.policy.compile()
        self._optimiser = self.module.new_optimiser()
        self._clip = trainer.get("gradient_clip_val")
        self._bf16 = str(trainer.get("precision", "")).startswith("bf16")
        self._steps = self._samples = 0

    @property
    def num_cameras(self) -> int:
        """Cameras of an agent."""
        return self.module.policy.config.num_cameras

    @property
    def parameters(self) -> int:
        """Weights of the student."""
        return sum(weight.numel() for weight in self.module.policy.parameters())

    @property
    def samples_per_agent_step(self) -> float:
        """Samples learnt per agent-step driven, in the calls of `whole` so far."""
        return self._samples / max(1, self._steps)

    def collect(self) -> int:
        """Drive and label for the decisions of a call; returns the agent-steps."""
        before = self.data.agent_steps
        with self._precision():
            self.data.collect(self.module.policy)
        self.wait()
        return self.data.agent_steps - before

    def label(self) -> int:
        """Labels for the agents where they are, once per decision of a call; returns their number."""
        for _ in range(self.data.decisions_per_epoch):
            label = self.world.label()
        label.valid.sum().item()
        return self.data.decisions_per_epoch * len(label)

    def learn(self) -> int:
        """Optimiser steps on batches from the buffer; returns the number of samples."""
        if not len(self.buffer):
            self.collect()
        self.module.policy.train()
        for _ in range(self.batches):
            batch = self.data.draw().to(self._device)
            with self._precision():
                loss, _ = self.module.losses(batch)
            self._optimiser.zero_grad()
            loss.backward()
            if self._clip:
                torch.nn.utils.clip_grad_norm_(self.module.parameters(), self._clip)
            self._optimiser.step()
        self.wait()
        return self.batches * self.data.batch_size

    def whole(self) -> int:
        """An epoch: collecting, then learning; returns the agent-steps."""
        steps = self.collect()
        self._samples += self.learn()
        self._steps += steps
        return steps

    def wait(self) -> None:
        """Until the device has done everything."""
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device, torch.bfloat16, enabled=self._bf16)


def _configured(settings: StudentSettings) -> tuple[StudentModule, OnPolicyData, dict[str, Any]]:
    """Student, data and settings of the trainer. Raises OSError or ValueError for a configuration that cannot be read
    or used."""
    trainer: dict[str, Any] = {"gradient_clip_val": 1.0}
    if settings.config:
        module, data, trainer = _from_yaml(settings)
    else:
        module, data = StudentModule(weights=settings.weights or None), OnPolicyData(world=DEFAULT_WORLD)
    world = data.world_config
    data.world_config = replace(
        world,
        maps=(settings.map,) if settings.map else world.maps,
        num_worlds=settings.worlds or world.num_worlds,
        num_agents=settings.agents or world.num_agents,
    )
    return module, data, trainer


def _from_yaml(settings: StudentSettings) -> tuple[StudentModule, OnPolicyData, dict[str, Any]]:
    """What the blocks `model`, `data` and `trainer` of a training configuration ask for."""
    content = read_mapping(settings.config)
    if not {"model", "data"} <= set(content):
        raise ValueError(f"{settings.config}: expected the blocks model and data of a student's training")
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StudentModule, "model")
    parser.add_class_arguments(OnPolicyData, "data")
    link_settings(parser)
    wanted = {name: content.get(name, {}) for name in ("model", "data")}
    if settings.weights:
        wanted["model"] = {**wanted["model"], "weights": settings.weights}
    try:
        made = parser.instantiate_classes(parser.parse_object(wanted))
    except ValueError as error:
        raise ValueError(f"{settings.config}: {' '.join(str(error).split())}") from error
    return made.model, made.data, content.get("trainer", {})
