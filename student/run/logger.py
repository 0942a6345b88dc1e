"""What a Lightning trainer writes into its run folder besides checkpoints: metadata, configuration, metrics, events."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from gigapixel.run_folder.atomic import write_json, write_text
from gigapixel.run_folder.metadata import STUDENT_PACKAGES, run_metadata
from gigapixel.run_folder.table import MetricsTable, cut_rows
from gigapixel.run_folder.tensorboard import EventLog

CONFIG, METADATA, METRICS, EVENTS = "config.yaml", "metadata.json", "metrics.csv", "tensorboard"
"""Names in a run folder."""


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
            write_json(Path(trainer.default_root_dir) / METADATA, content)


class RunConfig(SaveConfigCallback):
    """Writes config.yaml into the run folder, whole or not at all."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Called by Lightning when fitting begins."""
        if stage == "fit" and trainer.is_global_zero:
            text = self.parser.dump(self.config, skip_none=False)
            write_text(Path(trainer.default_root_dir) / CONFIG, text)


class RunFolderLogger(Logger):
    """A logger of one run folder, which has no name or version of its own.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._folder = Path(save_dir)

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
        """The run folder."""
        return str(self._folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> RunFolderLogger:
        """The logger itself."""
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing is written: config.yaml holds them."""


class MetricsCsv(RunFolderLogger):
    """metrics.csv with one column per metric: rows are appended, new metrics add columns, and resuming cuts the rows
    of steps that are about to be repeated (Lightning's own CSV logger deletes the file on resume).

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._table: MetricsTable | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        step = step or 0
        if self._table is None:  # the first row of a session
            self._folder.mkdir(parents=True, exist_ok=True)
            cut_rows(self._folder / METRICS, "step", step - 1)
            self._table = MetricsTable(self._folder / METRICS)
        self._table.append({"step": step, **metrics})


class TensorBoardEvents(RunFolderLogger):
    """TensorBoard events in RUN/tensorboard; those of steps that are repeated after resuming replace the first ones.

    Lightning's own logger writes from a thread, which prints a traceback where the disk is full.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._events: EventLog | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append the scalars of one step."""
        step = step or 0
        if self._events is None:  # the first ones of a session
            folder = self._folder / EVENTS
            self._events = EventLog(folder, purge_step=step if folder.is_dir() else None)
        self._events.write(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._events is not None:
            self._events.close()
            self._events = None
