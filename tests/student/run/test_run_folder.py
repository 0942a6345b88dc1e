"""The run folder of a Lightning trainer: when checkpoints are written, and a metrics.csv that survives resuming."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from gigapixel.run_folder.interrupts import stop_requests
from student.run.checkpoints import EpochCheckpoint, VerifiedCheckpointIO, checkpoint_to_resume
from student.run.logger import MetricsCsv, RunMetadata

BATCHES = 3


class Line(lightning.LightningModule):
    """Fits a line; one weight and a momentum."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        """Squared error of slope 2."""
        return ((self.slope - 2.0) * batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """With a state, so that a resume has something to lose."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


class SavedEpochs(lightning.Callback):
    """Records the epochs after which a checkpoint was written; ends training after the epoch `stop_after`."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs: list[int] = []
        self.stop_after = stop_after

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops as `EarlyStopping` does."""
        trainer.should_stop = trainer.should_stop or trainer.current_epoch + 1 == self.stop_after

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Counts from 1."""
        self.epochs.append(trainer.current_epoch + 1)


def train(
    folder: Path,
    checkpoint_every: int,
    epochs: int,
    stop_after: int | None = None,
    resume: bool = False,
    callback: lightning.Callback | None = None,
) -> tuple[Line, list[int]]:
    """The trained module and the epochs that were saved."""
    saved = SavedEpochs(stop_after)
    with stop_requests("this epoch") as stop:
        checkpoints = EpochCheckpoint(folder / "checkpoints", "last", checkpoint_every, stop)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=MetricsCsv(str(folder)),
            callbacks=[checkpoints, RunMetadata(), saved, *([callback] if callback else [])],
            plugins=[VerifiedCheckpointIO()],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        line = Line()
        data = DataLoader(torch.arange(1.0, BATCHES + 1))
        trainer.fit(line, data, ckpt_path=folder / "checkpoints" / "last.ckpt" if resume else None)
    kept = {path.name for path in (folder / "checkpoints").iterdir()}
    assert kept == {"last.ckpt", *(["last-previous.ckpt"] if len(saved.epochs) > 1 or resume else [])}
    return line, saved.epochs


def test_a_checkpoint_cut_at_any_byte_costs_one_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = train(tmp_path / "whole", checkpoint_every=1, epochs=3)
    train(tmp_path / "cut", checkpoint_every=1, epochs=2)
    folder = tmp_path / "cut" / "checkpoints"
    last, before = folder / "last.ckpt", folder / "last-previous.ckpt"
    good = last.read_bytes()
    for length in (0, 1, 100, len(good) // 2, len(good) - 1):
        last.write_bytes(good[:length])
        assert checkpoint_to_resume(folder) == before
        assert f"resuming from the checkpoint before it, {before}" in caplog.text
        assert (folder / "last.ckpt.damaged").stat().st_size == length
        (folder / "last.ckpt.damaged").unlink()
    before.rename(last)  # as a resumed run would leave it
    again, saved = train(tmp_path / "cut", checkpoint_every=1, epochs=3, resume=True)
    assert saved == [2, 3]
    assert torch.equal(whole.slope, again.slope)
    for path in (last, before):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"last\.ckpt: .*last-previous\.ckpt: .*no other checkpoint"):
        checkpoint_to_resume(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["last-previous.ckpt", "last.ckpt"]


def test_a_full_disk_keeps_what_was_saved(tmp_path: Path) -> None:
    train(tmp_path, checkpoint_every=1, epochs=2)
    folder = tmp_path / "checkpoints"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            OSError, match="the checkpoint is not written, the checkpoints before it are kept"
        ):
            train(tmp_path, checkpoint_every=1, epochs=4, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_that_is_asked_to_stop_saves_the_epoch(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", checkpoint_every=9, epochs=4)

    class Press(lightning.Callback):
        """Ctrl-C in the third epoch, of which none is saved yet."""

        def on_train_epoch_start(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
        ) -> None:
            if trainer.current_epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(
        SystemExit
    ):  # Lightning's answer to a KeyboardInterrupt, where no command ends the process
        train(tmp_path / "parts", checkpoint_every=9, epochs=4, callback=Press())
    parts, saved = train(tmp_path / "parts", checkpoint_every=9, epochs=4, resume=True)
    assert saved == [4]
    assert torch.equal(whole.slope, parts.slope)


@pytest.mark.parametrize(
    ("checkpoint_every", "saved"),
    [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (5, [5]), (9, [5])],
)
def test_a_checkpoint_follows_every_nth_epoch_and_the_last(
    tmp_path: Path, checkpoint_every: int, saved: list[int]
) -> None:
    assert train(tmp_path, checkpoint_every, epochs=5)[1] == saved


def test_a_run_that_is_stopped_early_leaves_a_checkpoint(tmp_path: Path) -> None:
    assert train(tmp_path, checkpoint_every=4, epochs=9, stop_after=6)[1] == [4, 6]


def test_resuming_between_two_regular_checkpoints_changes_nothing(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", checkpoint_every=2, epochs=6)
    train(tmp_path / "parts", checkpoint_every=2, epochs=3)
    parts, saved = train(tmp_path / "parts", checkpoint_every=2, epochs=6, resume=True)
    assert saved == [4, 6]
    assert torch.equal(whole.slope, parts.slope)
    assert float(whole.slope.detach()) > 0.5


def test_metadata_names_device_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    train(tmp_path, checkpoint_every=1, epochs=1)
    content = json.loads((tmp_path / "metadata.json").read_text())
    assert set(content) == {"commit", "python", "versions", "device", "seed"}
    assert content["device"].startswith("cpu ")
    assert content["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert content["seed"] == 11


def test_a_resumed_session_replaces_the_rows_of_repeated_steps(tmp_path: Path) -> None:
    first = MetricsCsv(str(tmp_path / "run"))
    for step in range(4):
        first.log_metrics({"loss": step / 4}, step)
    first.log_metrics({"score": 0.5}, 3)
    resumed = MetricsCsv(str(tmp_path / "run"))
    resumed.log_metrics({"loss": 9.0}, 2)
    resumed.log_metrics({"loss": float("nan")}, 3)
    expected = "step,loss,score\r\n0,0.0,\r\n1,0.25,\r\n2,9.0,\r\n3,nan,\r\n"
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == expected.encode()
