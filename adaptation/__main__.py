"""`gigapixel adapt fit|validate|test|predict`: a LightningCLI over `AdaptationModule` and `AdaptationData`.

gigapixel adapt fit     --config configs/adaptation/cpu.yaml            one adapted student per seed, in RUN/seed-N
gigapixel adapt fit     --config configs/adaptation/cpu.yaml --resume   go on where the run stopped
gigapixel adapt test    --config configs/adaptation/cpu.yaml --output a.json
gigapixel adapt predict --config configs/adaptation/cpu.yaml --output FOLDER
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from adaptation.data import AdaptationData
from adaptation.module import AdaptationModule
from adaptation.pairs.contact_sheet import pair_sheet
from adaptation.report import MomentErrors, sentence, summarise
from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.exit_codes import run_command
from gigapixel.run_folder.figure import write_image
from student.checkpoint import load_weights, save_policy
from student.run_logger import EpochCheckpoint, MetricsCsv, RunMetadata

MONITOR = "adaptation/validate/error_m"
BEST, LAST = "best", "last"
ADAPTED = "adapted.pt"


class AdaptationCLI(LightningCLI):
    """Adds a run folder with one sub-folder per seed, early stopping, resume, and an output for every sub-command."""

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
        parser.add_argument("--resume", action="store_true", help="fit: go on where the run stopped")
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
            help="validate, test: metrics as JSON; predict: folder for plans and pictures (default RUN)",
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Checkpoints are found through the run folder and the seeds."""
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what `main` was given; Lightning would warn that a program and not a shell calls."""
        self.config = parser.parse_args(args)

    @property
    def chosen(self) -> Any:
        """Settings of the sub-command."""
        return self.config[self.subcommand]

    def folder(self, seed: int) -> Path:
        """Where one seed's run lives."""
        return Path(self.chosen.run) / f"seed-{seed}"

    def before_instantiate_classes(self) -> None:
        """Refuse settings that cannot work, before anything is read or written."""
        seeds = self.chosen.seeds
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds={seeds} must be at least one whole number from 0, none twice")
        if self.chosen.patience < 1:
            raise ValueError(f"patience={self.chosen.patience} must be at least 1 epoch")
        if self.chosen.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every={self.chosen.checkpoint_every} must be at least 1")
        for seed in seeds:
            folder = self.folder(seed)
            if self.subcommand != "fit" and not (folder / ADAPTED).is_file():
                raise FileNotFoundError(
                    f"{folder / ADAPTED}: no such adapted student; run `gigapixel adapt fit` first"
                )
            if self.subcommand == "fit" and not self.chosen.resume and (folder / "checkpoints").exists():
                raise ValueError(f"{folder} already holds a run; give --resume, or another --run folder")

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer that leaves no files; `trainer_for` makes the ones that do."""
        settings = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        self.save_config_callback = None  # the trainers of `trainer_for` save it, each into its seed's folder
        return self._instantiate_trainer(settings | {"logger": False, "enable_checkpointing": False}, [])

    def trainer_for(self, seed: int, validated: bool) -> lightning.Trainer:
        """A trainer that logs and saves into the folder of one seed."""
        folder = self.folder(seed)
        settings = {**self._get(self.config_init, "trainer", default={}), "default_root_dir": str(folder)}
        settings["logger"] = [
            MetricsCsv(str(folder)),
            TensorBoardLogger(str(folder), name="", version="tensorboard"),
        ]
        callbacks: list[Any] = [RunMetadata()]
        callbacks.append(
            ModelCheckpoint(
                folder / "checkpoints",
                filename=BEST,
                monitor=MONITOR if validated else None,
                enable_version_counter=False,
            )
        )
        callbacks.append(EpochCheckpoint(folder / "checkpoints", LAST, self.chosen.checkpoint_every))
        if validated:
            callbacks.append(EarlyStopping(MONITOR, patience=self.chosen.patience))
        self.save_config_callback = SaveConfigCallback
        return self._instantiate_trainer(settings, callbacks)

    def fit(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Adapt one copy of the student per seed; the pairs are made once."""
        datamodule.setup("fit")
        for seed in self.chosen.seeds:
            folder = self.folder(seed)
            if (folder / ADAPTED).is_file():
                continue  # finished before the run was interrupted
            lightning.seed_everything(seed, workers=True, verbose=False)
            adapting = copy.deepcopy(model)
            trainer = self.trainer_for(seed, validated=bool(datamodule.validation))
            last = folder / "checkpoints" / f"{LAST}.ckpt"
            trainer.fit(adapting, datamodule=datamodule, ckpt_path=str(last) if last.is_file() else None)
            if trainer.interrupted:
                raise KeyboardInterrupt
            best = torch.load(folder / "checkpoints" / f"{BEST}.ckpt", map_location="cpu", weights_only=True)
            adapting.load_state_dict(best["state_dict"])
            save_policy(adapting.adapted, folder / ADAPTED)

    def _each_seed(self, model: AdaptationModule) -> Any:
        """The module with each seed's adapted weights, in turn."""
        for seed in self.chosen.seeds:
            load_weights(model.adapted, self.folder(seed) / ADAPTED)
            yield seed

    def validate(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Errors on the last moments of the training scenes (what early stopping looked at)."""
        report: dict[str, float] = {}
        for seed in self._each_seed(model):
            for metrics in self.trainer.validate(model, datamodule=datamodule, verbose=False):
                report |= {
                    name.replace("adaptation/validate", f"seed_{seed}"): v for name, v in metrics.items()
                }
        self._report(report)

    def test(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Errors on the held-out scenes, over all seeds."""
        datamodule.setup("fit")
        model.set_constant(list(datamodule.training_in_order()))
        seeds: dict[int, list[MomentErrors]] = {}
        for seed in self._each_seed(model):
            self.trainer.test(model, datamodule=datamodule, verbose=False)
            seeds[seed] = model.test_errors
        report = summarise(seeds) | {"source": datamodule.source.replace("_", "-")}
        self._report(report)
        print(sentence(report))

    def predict(self, model: AdaptationModule, datamodule: AdaptationData, **_: Any) -> None:
        """Plans on the held-out scenes as JSON, and the pairs as a picture."""
        plans: dict[str, Any] = {}
        for seed in self._each_seed(model):
            for batch in self.trainer.predict(model, datamodule=datamodule) or []:
                for row, name in enumerate(batch["names"]):
                    poses = {key: value[row].tolist() for key, value in batch.items() if key != "names"}
                    plans.setdefault(name, {})[f"seed_{seed}"] = poses
        folder = Path(self.chosen.output or self.chosen.run)
        write_json(folder / "predictions.json", plans)
        title = "real" if datamodule.source == "real" else "stand-in"
        sheet = pair_sheet(datamodule.held_out or [], datamodule.rig.names, real_title=title)
        write_image(folder / "pairs.png", sheet)

    def _report(self, metrics: dict[str, Any]) -> None:
        print(json.dumps(metrics, indent=2))
        if self.chosen.output is not None:
            write_json(self.chosen.output, metrics)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code."""
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # what is frozen
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of a torch function
    AdaptationCLI(
        AdaptationModule,
        AdaptationData,
        args=list(sys.argv[1:] if argv is None else argv),
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
        parser_kwargs={"prog": "gigapixel adapt"},
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "gigapixel adapt"))
