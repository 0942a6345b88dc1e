"""The run folder of a Lightning trainer, for student and adaptation: metadata.json, metrics.csv and checkpoints."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.metadata import STUDENT_PACKAGES, run_metadata
from gigapixel.run_folder.table import MetricsTable, cut_rows


def torch_metadata(device: torch.device | str, seed: int | None) -> dict[str, Any]:
    """Content of metadata.json for a torch device: commit, versions, device and seed."""
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()
    return run_metadata(f"{kind} {name}", seed, STUDENT_PACKAGES)


class RunMetadata(lightning.Callback):
    """Writes metadata.json into the run folder when fitting begins."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called by Lightning once the device is known."""
        if trainer.is_global_zero:
            seed = os.environ.get("PL_GLOBAL_SEED")
            content = torch_metadata(trainer.strategy.root_device, int(seed) if seed else None)
            write_json(Path(trainer.default_root_dir) / "metadata.json", content)


class EpochCheckpoint(ModelCheckpoint):
    """Saves the training state after every `checkpoint_every` epochs and after the last one.

    Args:
        folder: folder of the checkpoint.
        filename: its name without .ckpt; each checkpoint replaces the one before.
        checkpoint_every: epochs between two checkpoints, at least 1.
    """

    def __init__(self, folder: Path, filename: str, checkpoint_every: int = 1) -> None:
        super().__init__(
            folder, filename=filename, enable_version_counter=False, save_on_train_epoch_end=True
        )
        self._checkpoint_every = checkpoint_every

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called by Lightning after the validation of an epoch, and after the other callbacks."""
        epochs = trainer.current_epoch + 1
        ends = trainer.should_stop or epochs == trainer.max_epochs or trainer.global_step == trainer.max_steps
        if ends or epochs % self._checkpoint_every == 0:
            super().on_train_epoch_end(trainer, pl_module)


class MetricsCsv(Logger):
    """metrics.csv with one column per metric: rows are appended, new metrics add columns, and resuming cuts the rows
    of steps that are about to be repeated (Lightning's own CSV logger deletes the file on resume).

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._folder = Path(save_dir)
        self._table: MetricsTable | None = None

    @property
    def name(self) -> str:
        """Empty: the run folder has its own name."""
        return ""

    @property
    def version(self) -> str:
        """Empty: there is no sub-folder per session."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @property
    def log_dir(self) -> str:
        """The run folder; Lightning writes config.yaml into it as well."""
        return str(self._folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsCsv:
        """The logger itself."""
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing is written: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        step = step or 0
        if self._table is None:  # the first row of a session
            self._folder.mkdir(parents=True, exist_ok=True)
            cut_rows(self._folder / "metrics.csv", "step", step - 1)
            self._table = MetricsTable(self._folder / "metrics.csv")
        self._table.append({"step": step, **metrics})
