"""Plans of a whole prediction run, beside what the teacher would do, as one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import torch
from torch import Tensor


def write_predictions(path: str | os.PathLike[str], predictions: Sequence[dict[str, Tensor]] | None) -> None:
    """One data set per name, batches joined; the file appears whole or not at all."""
    if not predictions:
        raise ValueError(
            f"{path}: there is nothing to write, the episode visited no state with an active agent"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with h5py.File(temporary, "w") as file:
        for name in predictions[0]:
            file.create_dataset(name, data=torch.cat([batch[name] for batch in predictions]).numpy())
    os.replace(temporary, path)
