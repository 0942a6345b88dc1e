"""`gigapixel student fit|validate|test|predict`: a LightningCLI over `StudentModule` and `OnPolicyData`; and `compare`.

gigapixel student fit --config configs/student/cpu.yaml
gigapixel student fit --config configs/student/cpu.yaml --resume
gigapixel student test --config configs/student/cpu.yaml --model.weights runs/student/cpu/policy.pt --output t.json
gigapixel student compare --config configs/student/compare/methods.yaml --output runs/compare
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.cli import LightningArgumentParser

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.checkpoint_files import CHECKPOINTS
from gigapixel.run_folder.interrupts import run_process
from gigapixel.run_folder.outputs import (
    JSON_SUFFIXES,
    PACK_SUFFIXES,
    check_output_file,
    check_output_folder,
)
from student.checkpoint import save_policy
from student.dagger.data import OnPolicyData
from student.module import StudentModule
from student.predictions import write_predictions
from student.run.checkpoints import checkpoint_to_resume
from student.run.command_line import RunCLI, link_settings
from student.run.logger import RunConfig

logger = logging.getLogger(__name__)


class StudentCLI(RunCLI):
    """Adds a run folder with exact resume, and an output file for every sub-command."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`--run`, `--resume`, `--checkpoint_every`, `--output`; the image size is given once, in data.world."""
        parser.add_argument("--run", type=str, default="runs/student/unnamed", help="run folder")
        parser.add_argument("--resume", action="store_true", help="fit: continue where the run stopped")
        parser.add_argument(
            "--checkpoint_every",
            type=int,
            default=1,
            help="fit: epochs (DAgger rounds) between two checkpoints; the last epoch has one too",
        )
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="fit: policy file (default RUN/policy.pt); validate, test: metrics as JSON; predict: plans as HDF5 "
            "(default RUN/predictions.h5)",
        )
        link_settings(parser)

    @property
    def run_folder(self) -> Path:
        """The run folder."""
        return Path(self.chosen.run)

    def before_instantiate_classes(self) -> None:
        """Claim the run folder and find the checkpoint to resume from. Raises ValueError or OSError for settings that
        cannot work, before anything is built or written."""
        self.chosen.trainer.default_root_dir = str(self.run_folder)
        super().before_instantiate_classes()
        self._check_outputs()
        if self.subcommand == "fit":
            self.claim(self.run_folder, [self.run_folder])
        if self.subcommand == "fit" and self.chosen.resume:
            checkpoint = checkpoint_to_resume(self.run_folder / CHECKPOINTS)
            self.chosen.ckpt_path = None if checkpoint is None else str(checkpoint)
            if checkpoint is None:
                logger.warning("%s holds no checkpoint: the run starts from the beginning", self.run_folder)

    def _check_outputs(self) -> None:
        """Raise ValueError or OSError where the outputs of the sub-command cannot be written."""
        output = self.chosen.output
        if self.subcommand == "fit":
            check_output_folder("--run", self.run_folder)
            check_output_file("--output", output)
        elif self.subcommand == "predict":
            check_output_file("--output", output or self.run_folder / "predictions.h5", PACK_SUFFIXES)
        else:
            check_output_file("--output", output, JSON_SUFFIXES)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer that logs and saves into the run folder; the other sub-commands leave no files there."""
        settings = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        if self.subcommand != "fit":
            return self._instantiate_trainer(settings | {"logger": False, "enable_checkpointing": False}, [])
        return self.run_trainer(self.run_folder, settings, [])

    def after_fit(self) -> None:
        """Write the policy file: weights and architecture, without the training state."""
        save_policy(self.model.policy, self.chosen.output or self.run_folder / "policy.pt")

    def after_validate(self) -> None:
        """Print the validation metrics and write them where asked."""
        values = self.trainer.callback_metrics.items()
        self._report({name.removeprefix("student/validate/"): float(value) for name, value in values})

    def after_test(self) -> None:
        """Print the test metrics and write them where asked."""
        self._report(self.model.test_results)

    def after_predict(self) -> None:
        """Write the student's plans and the teacher's labels."""
        predictions = self.trainer.predict_loop.predictions
        write_predictions(self.chosen.output or self.run_folder / "predictions.h5", predictions)

    def _report(self, metrics: dict[str, float | None]) -> None:
        print(json.dumps(metrics, indent=2))
        if self.chosen.output is not None:
            write_json(self.chosen.output, metrics)


def run_cli(
    arguments: Sequence[str],
    module: type[StudentModule] = StudentModule,
    data: type[lightning.LightningDataModule] = OnPolicyData,
    callbacks: Sequence[lightning.Callback] = (),
) -> None:
    """Run one sub-command of Lightning with this module, this data and, besides our own, these callbacks."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # product tips
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of a torch function
    StudentCLI(
        module,
        data,
        args=list(arguments),
        trainer_defaults={"callbacks": list(callbacks)},
        seed_everything_default=0,
        save_config_callback=RunConfig,
        auto_configure_optimizers=False,
        parser_kwargs={"prog": "gigapixel student", "exit_on_error": False},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["compare"]:
        from student.compare.command import main as compare

        return compare(arguments[1:], run_cli)
    run_cli(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(run_process(main, "gigapixel student"))
