"""What the command lines of student and adaptation share: one process per run folder, exact resume, one-line errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from gigapixel.run_folder.checkpoint_files import CHECKPOINTS, newest_first, remove_temporaries
from gigapixel.run_folder.config.changed_settings import refuse_changed
from gigapixel.run_folder.config.command_line import parse_config_arguments
from gigapixel.run_folder.config.yaml_file import read_mapping
from gigapixel.run_folder.interrupts import stop_requests
from gigapixel.run_folder.lock import claimed
from student.run.checkpoints import BEST, LAST, SUFFIX, EpochCheckpoint, VerifiedCheckpointIO
from student.run.logger import CONFIG, MetricsCsv, RunMetadata, TensorBoardEvents

CHANGEABLE = (
    *("run", "resume", "seeds", "output", "checkpoint_every", "config", "ckpt_path", "weights_only"),
    *(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", "default_root_dir")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "log_every_n_steps", "profiler")),
    *(f"trainer.{name}" for name in ("enable_progress_bar", "enable_model_summary", "enable_checkpointing")),
)
"""Settings that a resumed run may change: where and how long it runs and what it shows."""


class RunCLI(LightningCLI):
    """A LightningCLI whose `fit` claims its run folder from the first second until it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as self.claims:
            self.stop = self.claims.enter_context(stop_requests("this epoch"))
            super().__init__(*args, **kwargs)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the arguments of `main`, without Lightning's warning that they do not come from a shell."""
        self.config = parse_config_arguments(parser, args)

    @property
    def chosen(self) -> Any:
        """Settings of the sub-command."""
        return self.config[self.subcommand]

    def before_instantiate_classes(self) -> None:
        """Raise ValueError for settings that cannot work, before anything is built or written."""
        if self.chosen.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every={self.chosen.checkpoint_every} must be at least 1")

    def run_trainer(
        self, folder: Path, settings: Mapping[str, Any], callbacks: Sequence[Callback]
    ) -> lightning.Trainer:
        """A trainer that writes metadata, metrics, events and verified checkpoints into a run folder."""
        ours = {
            "default_root_dir": str(folder),
            "logger": [MetricsCsv(str(folder)), TensorBoardEvents(str(folder))],
            "plugins": [*(settings.get("plugins") or []), VerifiedCheckpointIO()],
        }
        last = EpochCheckpoint(folder / CHECKPOINTS, LAST, self.chosen.checkpoint_every, self.stop)
        return self._instantiate_trainer({**settings, **ours}, [RunMetadata(), *callbacks, last])

    def claim(self, folder: Path, seeds: list[Path]) -> None:
        """Take a run folder for this process; `seeds` are the folders in it (or itself) that hold checkpoints.

        Raises ValueError where another process has it, where it holds a run and `--resume` is not given, and where
        `--resume` comes with other settings than the run's; FileNotFoundError where there is nothing to resume. No
        file is changed then.
        """
        check = partial(self._check_runs, folder, seeds)
        if rank_zero_only.rank in (None, 0):
            self.claims.enter_context(claimed(folder, check))
            remove_temporaries(folder)
        else:
            check()

    def _check_runs(self, folder: Path, seeds: list[Path]) -> None:
        if not self.chosen.resume:
            for seed in seeds:
                if holds_checkpoint(seed):
                    raise ValueError(f"{seed} already holds a run; give --resume, or another --run folder")
            return
        begun = [seed / CONFIG for seed in seeds if (seed / CONFIG).is_file()]
        if not begun:
            raise FileNotFoundError(f"{folder}: no run was started here, so there is nothing to resume")
        wanted = self._settings(self.chosen)
        for path in begun:
            stored = _filled(read_mapping(path), self._settings(self._parser(self.subcommand).get_defaults()))
            refuse_changed(stored, wanted, CHANGEABLE, path, "--run")

    def _settings(self, settings: Any) -> dict[str, Any]:
        """Settings as config.yaml holds them."""
        return yaml.safe_load(self._parser(self.subcommand).dump(settings, skip_none=False))


def link_settings(parser: LightningArgumentParser) -> None:
    """Settings that a student and its data share are given once: the image size in data.world, target points in
    model.policy."""
    parser.link_arguments("data.world.height_px", "model.policy.height_px")
    parser.link_arguments("data.world.width_px", "model.policy.width_px")
    parser.link_arguments("model.policy.target_points", "data.world.target_points")


def holds_checkpoint(folder: Path) -> bool:
    """Whether a run has saved anything in its folder."""
    return any(newest_first(folder / CHECKPOINTS / f"{name}{SUFFIX}") for name in (LAST, BEST))


def _filled(stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings, with defaults for those that did not exist when they were stored."""
    filled = dict(stored)
    for name, default in defaults.items():
        if name not in filled:
            filled[name] = default
        elif isinstance(default, Mapping) and isinstance(filled[name], Mapping):
            filled[name] = _filled(filled[name], default)
    return filled
