"""`gigapixel adapt fit|validate|test|predict`: a LightningCLI over `AdaptationModule` and `AdaptationData`.

gigapixel adapt fit     --config configs/adaptation/cpu.yaml            one adapted student per seed, in RUN/seed-N
gigapixel adapt fit     --config configs/adaptation/cpu.yaml --resume   continue the run
gigapixel adapt test    --config configs/adaptation/cpu.yaml --output a.json
gigapixel adapt predict --config configs/adaptation/cpu.yaml --output FOLDER
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser

from adaptation.data import AdaptationData
from adaptation.module import AdaptationModule
from adaptation.pairs.pair_grid import pair_grid
from adaptation.report import SampleErrors, summarise_errors, summary_line
from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.checkpoint_files import CHECKPOINTS
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.interrupts import run_process
from gigapixel.run_folder.outputs import JSON_SUFFIXES, check_output_file, check_output_folder
from student.checkpoint import load_policy, load_weights, save_policy
from student.run.checkpoints import BEST, checkpoint_to_resume, newest_checkpoint
from student.run.command_line import RunCLI
from student.run.logger import RunConfig

log = logging.getLogger(__name__)

MONITOR = "adaptation/validate/error_m"
ADAPTED = "adapted.pt"


class AdaptationCLI(RunCLI):
    """A LightningCLI with a run folder of one sub-folder per seed, early stopping, resume, and outputs."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`--run`, `--seeds`, `--patience`, `--resume`, `--checkpoint_every`, `--output`."""
        parser.add_argument("--run", type=str, default="runs/adaptation/unnamed", help="run folder")
        parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="one adapted student per seed")
        parser.add_argument(
            "--patience",
            type=int,
            default=20,
            help="fit: epochs without a better validation error before a seed ends",
        )
        parser.add_argument("--resume", action="store_true", help="fit: continue where the run stopped")
        parser.add_argument(
            "--checkpoint_every",
            type=int,
            default=1,
            help="fit: epochs between two checkpoints of a seed; its last epoch has one too, and its best always",
        )
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="validate, test: metrics as JSON; predict: folder for plans and images (default RUN)",
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The sub-commands, and the Lightning arguments that each leaves out; checkpoints follow from run and seeds."""
        skipped = {
            "model",
            "datamodule",
            "dataloaders",
            "ckpt_path",
            "weights_only",
            "verbose",
            "return_predictions",
        }
        fit = {"model", "datamodule", "train_dataloaders", "val_dataloaders", "ckpt_path", "weights_only"}
        return {"fit": fit, "validate": skipped, "test": skipped, "predict": skipped}

    def folder(self, seed: int) -> Path:
        """The run folder of one seed."""
        return Path(self.chosen.run) / f"seed-{seed}"

    def before_instantiate_classes(self) -> None:
        """Raise ValueError or OSError for settings that cannot work, before anything is read or written."""
        seeds = self.chosen.seeds
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds={seeds} must be at least one integer from 0, none twice")
        if self.chosen.patience < 1:
            raise ValueError(f"patience={self.chosen.patience} must be at least 1 epoch")
        super().before_instantiate_classes()
        for seed in seeds:
            folder = self.folder(seed)
            if self.subcommand != "fit" and not (folder / ADAPTED).is_file():
                raise FileNotFoundError(
                    f"{folder / ADAPTED}: no such adapted student; run `gigapixel adapt fit` first"
                )
        self._check_outputs()
        if self.subcommand == "fit":
            self.claim(Path(self.chosen.run), [self.folder(seed) for seed in seeds])

    def _check_outputs(self) -> None:
        """Raise ValueError or OSError where the outputs of the sub-command cannot be written."""
        if self.subcommand == "fit":
            check_output_folder("--run", self.chosen.run)
        elif self.subcommand == "predict":
            check_output_folder("--output", self.chosen.output or self.chosen.run)
        else:
            check_output_file("--output", self.chosen.output, JSON_SUFFIXES)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer that writes no files, for `validate`, `test` and `predict`; `trainer_for` makes those of `fit`."""
        arguments = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        return self._instantiate_trainer(arguments | {"logger": False, "enable_checkpointing": False}, [])

    def trainer_for(self, seed: int, validated: bool) -> lightning.Trainer:
        """A trainer that writes metrics and checkpoints into the folder of one seed."""
        folder = self.folder(seed)
        best = ModelCheckpoint(
            folder / CHECKPOINTS,
            filename=BEST,
            monitor=MONITOR if validated else None,
            enable_version_counter=False,
        )
        early = [EarlyStopping(MONITOR, patience=self.chosen.patience)] if validated else []
        settings = {**self._get(self.config_init, "trainer", default={})}
        return self.run_trainer(folder, settings, [best, *early])

    def fit(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Adapt one copy of the student per seed; all seeds share the pairs."""
        datamodule.setup("fit")
        for seed in self.chosen.seeds:
            folder = self.folder(seed)
            if _is_finished(folder):
                continue
            lightning.seed_everything(seed, workers=True, verbose=False)
            adapting = copy.deepcopy(model)
            trainer = self.trainer_for(seed, validated=bool(datamodule.validation))
            last = checkpoint_to_resume(folder / CHECKPOINTS)
            trainer.fit(adapting, datamodule=datamodule, ckpt_path=last)
            if trainer.interrupted:
                raise KeyboardInterrupt
            best = newest_checkpoint(folder / CHECKPOINTS, BEST)
            assert best is not None, "saved after the first epoch"
            adapting.load_state_dict(best[1]["state_dict"])
            save_policy(adapting.adapted, folder / ADAPTED)

    def _each_seed(self, model: AdaptationModule) -> Iterator[int]:
        """Load the adapted weights of each seed in turn; yields the seed."""
        for seed in self.chosen.seeds:
            load_weights(model.adapted, self.folder(seed) / ADAPTED)
            yield seed

    def validate(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Errors on the last samples of the training scenes, which early stopping used."""
        report: dict[str, float] = {}
        for seed in self._each_seed(model):
            for metrics in self.trainer.validate(model, datamodule=datamodule, verbose=False):
                report |= {
                    name.replace("adaptation/validate", f"seed_{seed}"): v for name, v in metrics.items()
                }
        self._report(report)

    def test(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Errors on the held-out scenes over all seeds, as printed JSON and one line of text."""
        if datamodule.setup_training_where_present():
            model.set_constant(list(datamodule.training_in_order()))
        else:
            log.info(
                "the data have no training scenes, so constant_error_m, their mean features' error, is null"
            )
        seeds: dict[int, list[SampleErrors]] = {}
        for seed in self._each_seed(model):
            self.trainer.test(model, datamodule=datamodule, verbose=False)
            seeds[seed] = model.test_errors
        report = summarise_errors(seeds) | {"source": datamodule.source.replace("_", "-")}
        self._report(report)
        print(summary_line(report))

    def predict(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Plans on the held-out scenes as JSON, and the pairs as an image grid."""
        plans: dict[str, Any] = {}
        for seed in self._each_seed(model):
            for batch in self.trainer.predict(model, datamodule=datamodule) or []:
                for row, name in enumerate(batch["names"]):
                    poses = {key: value[row].tolist() for key, value in batch.items() if key != "names"}
                    plans.setdefault(name, {})[f"seed_{seed}"] = poses
        folder = Path(self.chosen.output or self.chosen.run)
        write_json(folder / "predictions.json", plans)
        title = "real" if datamodule.source == "real" else "stand-in"
        grid = pair_grid(datamodule.held_out or [], datamodule.rig.names, real_title=title)
        write_image(folder / "pairs.png", grid)

    def _report(self, metrics: dict[str, Any]) -> None:
        print(json.dumps(metrics, indent=2))
        if self.chosen.output is not None:
            write_json(self.chosen.output, metrics)


def _is_finished(folder: Path) -> bool:
    """Whether a seed was adapted before the run was interrupted. A damaged file is made again from its checkpoint."""
    try:
        load_policy(folder / ADAPTED)
    except FileNotFoundError:
        return False
    except ValueError as error:
        log.warning("%s; it is made again", error)
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code."""
    warnings.filterwarnings(
        "ignore", message=".*in eval mode at the start of training.*"
    )  # the frozen student
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of a torch function
    AdaptationCLI(
        AdaptationModule,
        AdaptationData,
        args=list(sys.argv[1:] if argv is None else argv),
        seed_everything_default=0,
        save_config_callback=RunConfig,
        auto_configure_optimizers=False,
        parser_kwargs={"prog": "gigapixel adapt", "exit_on_error": False},
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_process(main, "gigapixel adapt"))
