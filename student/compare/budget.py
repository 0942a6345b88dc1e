"""A training that lasts for a given experience: length, learning rate and evaluations follow the agent-steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import lightning
import torch

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.metadata import source_commit
from student.dagger.closed_loop import ClosedLoopConfig, Episode
from student.module import StudentModule, learning_rate_at

POINTS = "points.json"
"""In a run folder: what the evaluations found, see `ExperienceBudget`."""
Progress = Callable[[int], object]
"""Called with the agent-steps so far after every epoch."""


@runtime_checkable
class Experienced(Protocol):
    """The part of `OnPolicyData` and `RolloutData` that is used here, without loading JAX."""

    agent_steps: int
    labels: int
    validation_config: ClosedLoopConfig

    def episode(self, config: ClosedLoopConfig) -> Episode:
        """An evaluation."""
        ...


class ExperienceBudget(lightning.Callback):
    """Ends the training after `agent_steps`, lets the learning rate fall over them, and drives the validation after the
    shares `evaluate_at` of them, whatever number of epochs that takes.

    Each evaluation is a point: `agent_steps`, `labels`, `optimiser_steps`, `train_s` (without evaluations), `commit`,
    and the metrics of the closed loop. They are part of the checkpoint, so that a resumed run repeats those that came
    after it, and are written to points.json.

    Args:
        agent_steps: experience of the run, in steps of all agents.
        evaluate_at: increasing shares of it, from 0.
        folder: the run folder.
        progress: called after every epoch.
    """

    def __init__(
        self, agent_steps: int, evaluate_at: Sequence[float], folder: Path, progress: Progress
    ) -> None:
        self.agent_steps, self.evaluate_at = agent_steps, tuple(evaluate_at)
        self.folder, self.progress = folder, progress
        self.points: list[dict[str, Any]] = []
        self._done = 0  # entries of `evaluate_at` that have been reached
        self._spent_s = 0.0
        self._since_s = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Called by Lightning for a checkpoint."""
        now = time.perf_counter()
        self._spent_s, self._since_s = self._spent_s + now - self._since_s, now
        return {"points": list(self.points), "done": self._done, "spent_s": self._spent_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning when it resumes."""
        self.points, self._done = list(state_dict["points"]), state_dict["done"]
        self._spent_s = state_dict["spent_s"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called by Lightning before the first epoch, and after resuming."""
        self._since_s = time.perf_counter()
        self._after_epoch(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Called by Lightning: sets the learning rate of the next optimiser step."""
        config = cast(StudentModule, pl_module).optimiser_config
        progress = _data(trainer).agent_steps / self.agent_steps
        share = learning_rate_at(config, trainer.global_step, progress)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = config.learning_rate * share

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called by Lightning before the checkpoint of the epoch."""
        self._after_epoch(trainer, pl_module)
        self.progress(_data(trainer).agent_steps)

    def _after_epoch(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        steps = _data(trainer).agent_steps
        reached = sum(share * self.agent_steps <= steps for share in self.evaluate_at)
        if reached > self._done:
            self._done = reached
            self._evaluate(trainer, cast(StudentModule, pl_module))
        if steps >= self.agent_steps:
            trainer.should_stop = True

    def _evaluate(self, trainer: lightning.Trainer, module: StudentModule) -> None:
        """Adds a point."""
        data, now = _data(trainer), time.perf_counter()
        self._spent_s += now - self._since_s
        with torch.no_grad():
            metrics = data.episode(data.validation_config).drive(module.policy)
        self._since_s = time.perf_counter()
        counts = {
            "agent_steps": data.agent_steps,
            "labels": data.labels,
            "optimiser_steps": trainer.global_step,
            "train_s": round(self._spent_s, 1),
            "commit": source_commit(),
        }
        self.points.append(counts | {name: value for name, value in metrics.items() if name not in counts})
        write_json(self.folder / POINTS, {"points": self.points})


def _data(trainer: lightning.Trainer) -> Experienced:
    return cast(Experienced, trainer.datamodule)  # type: ignore[attr-defined]
