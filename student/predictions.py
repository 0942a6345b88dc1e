"""The student's plans and the teacher's labels of a prediction run, as one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from gigapixel.run_folder.hdf5_file import write_hdf5


def write_predictions(path: str | os.PathLike[str], predictions: Sequence[dict[str, Tensor]] | None) -> None:
    """Write one dataset per name, batches concatenated, to an HDF5 file, atomically."""
    if not predictions:
        raise ValueError(
            f"{path}: there is nothing to write, the episode visited no state with an active agent"
        )
    with write_hdf5(path) as file:
        for name in predictions[0]:
            file.create_dataset(name, data=torch.cat([batch[name] for batch in predictions]).numpy())
