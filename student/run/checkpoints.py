"""Checkpoints of a Lightning trainer: two are kept, the newest is verified before it replaces the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from gigapixel.run_folder.checkpoint_files import newest_first, newest_readable, set_aside, write_checkpoint
from gigapixel.run_folder.interrupts import StopRequest
from student.torch_file import read_torch_file, to_bytes

LAST, BEST = "last", "best"
SUFFIX = ".ckpt"
EXPECTED = "an intact checkpoint of this run"


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, compares it, and keeps the one that had its name as `NAME-previous.ckpt`.

    Lightning's own way goes through the temporary folder, from which a file is copied under its final name where run
    folder and temporary folder lie on different file systems: a kill or a full disk then destroys the only checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called by Lightning. Raises OSError where it cannot be written; those before it are kept then."""
        write_checkpoint(Path(path), to_bytes(checkpoint), keep_previous=True)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Called by Lightning. Raises ValueError for a damaged file."""
        return read_torch_file(Path(path), EXPECTED)


class EpochCheckpoint(ModelCheckpoint):
    """Saves the training state after every `checkpoint_every` epochs, after the last one, and when asked to stop.

    Args:
        folder: folder of the checkpoint.
        filename: its name without .ckpt; each checkpoint replaces the one before the last.
        checkpoint_every: epochs between two checkpoints, at least 1.
        stop: the request of a signal to stop; None where nobody asks.
    """

    def __init__(
        self, folder: Path, filename: str, checkpoint_every: int = 1, stop: StopRequest | None = None
    ) -> None:
        super().__init__(
            folder, filename=filename, enable_version_counter=False, save_on_train_epoch_end=True
        )
        self._checkpoint_every = checkpoint_every
        self._stop = StopRequest("this epoch") if stop is None else stop

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called by Lightning after the validation of an epoch, and after the other callbacks."""
        epochs = trainer.current_epoch + 1
        ends = trainer.should_stop or epochs == trainer.max_epochs or trainer.global_step == trainer.max_steps
        self._stop.unsaved = True  # from here on a signal waits until this epoch, and those before, are saved
        if ends or self._stop or epochs % self._checkpoint_every == 0:
            super().on_train_epoch_end(trainer, pl_module)
            self._stop.unsaved = False
        self._stop.end()


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The newest checkpoint of a run that can be read, see `newest_checkpoint`."""
    found = newest_checkpoint(folder, LAST)
    return None if found is None else found[0]


def newest_checkpoint(folder: Path, name: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a name that can be read, and its contents; None where there is none. Damaged ones are
    renamed, which the log says.

    Raises ValueError where all are damaged; none is renamed then.
    """
    candidates = newest_first(folder / f"{name}{SUFFIX}")
    if not candidates:
        return None
    path, contents, damaged = newest_readable(candidates, lambda file: read_torch_file(file, EXPECTED))
    set_aside(damaged)
    return path, contents
