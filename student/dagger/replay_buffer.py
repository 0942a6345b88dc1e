"""First-in first-out replay buffer of labelled observations, in tensors that are allocated once."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from student.batch import Batch
from student.dagger.situations import balanced_rows
from student.tensor_batch import row_numbers

SAMPLES_PER_BLOCK = 256
"""Samples per compressed block of a checkpoint."""
COMPRESSED = "images"
"""The field of `Batch.tensors` that a checkpoint holds compressed (flat-coloured images shrink some thirty times)."""


class ReplayBuffer:
    """Ring buffer of the newest `capacity` samples. Its fields are those of `Batch`, with the shapes and dtypes of the
    first batch; images stay uint8."""

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        if capacity < 1:
            raise ValueError(f"buffer capacity={capacity} must be at least 1 sample")
        self.capacity = capacity
        self.device = torch.device(device)
        self.size = 0  # samples held
        self.added = 0  # samples ever added
        self._store: Batch | None = None  # [capacity]

    def __len__(self) -> int:
        return self.size

    def add(self, batch: Batch, chosen: Bool[Tensor, " batch"] | None = None) -> None:
        """Append a batch, or its `chosen` rows; where the buffer is full it replaces the oldest samples."""
        stores = self._allocated(batch).tensors()
        rows = torch.arange(len(batch)) if chosen is None else row_numbers(chosen)
        count = len(rows)
        kept = min(count, self.capacity)
        start = (self.added + count - kept) % self.capacity
        head = min(kept, self.capacity - start)  # rows before the end of the ring; the rest wraps
        before_end, wrapped = rows[count - kept :].split([head, kept - head])
        for name, values in batch.tensors().items():
            _copy_rows(values, before_end, stores[name][start : start + head])
            _copy_rows(values, wrapped, stores[name][: kept - head])
        self.added += count
        self.size = min(self.capacity, self.size + count)

    def get(self, index: Int[Tensor, " batch"]) -> Batch:
        """Copies of rows by position in the ring, 0 <= index < len(self)."""
        assert self._store is not None, "an empty buffer has no rows"
        return self._store[index]

    def sample(self, batch_size: int, generator: torch.Generator, balanced_share: float = 0.0) -> Batch:
        """A batch drawn with replacement, every held sample equally likely, but for a `balanced_share` of it (on
        average), in which every situation that is held is. Raises ValueError while there is no sample."""
        if not self.size:
            raise ValueError(
                "the replay buffer is empty: no agent has had a valid label yet; check the teacher and the maps"
            )
        if not balanced_share:
            return self.get(torch.randint(self.size, (batch_size,), generator=generator))
        return self.get(balanced_rows(self.situations(), batch_size, balanced_share, generator))

    def situations(self) -> Int[Tensor, " samples"]:
        """Situation of each held sample, on the CPU."""
        assert self._store is not None, "an empty buffer has no rows"
        assert self._store.situation is not None, "samples are put in classes where batches are balanced"
        return self._store.situation[: self.size].cpu()

    def state_dict(self) -> dict[str, Any]:
        """Everything held, as tensors and numbers, images compressed."""
        state: dict[str, Any] = {"size": self.size, "added": self.added, "capacity": self.capacity}
        if self._store is None:
            return state
        rows = {name: store[: self.size].cpu() for name, store in self._store.tensors().items()}
        images = rows.pop(COMPRESSED)
        return state | {
            "rows": {name: tensor.clone() for name, tensor in rows.items()},
            "images": [_compress(block) for block in images.split(SAMPLES_PER_BLOCK)] if self.size else [],
            "image_shape": list(images.shape[1:]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError for another capacity and for other fields."""
        if state["capacity"] != self.capacity:
            raise ValueError(
                f"the checkpoint's replay buffer holds {state['capacity']} samples, the config asks for "
                f"{self.capacity}; resume with data.buffer_capacity={state['capacity']}"
            )
        self.size = self.added = 0
        if state["size"]:
            if "image_shape" not in state:
                raise ValueError(
                    "the checkpoint's replay buffer was written by an older version, without the field image_shape; "
                    "resume it with the version that wrote it"
                )
            blocks = [_decompress(block, state["image_shape"]) for block in state["images"]]
            try:
                self.add(Batch.from_tensors({COMPRESSED: torch.cat(blocks), **state["rows"]}))
            except KeyError as error:
                raise ValueError(
                    f"the checkpoint's replay buffer has no field {error}; resume it with the version that wrote it"
                ) from error
        self.size, self.added = state["size"], state["added"]

    def _allocated(self, like: Batch) -> Batch:
        """The store; the first batch decides its shapes and dtypes. Samples from before proposals were judged, in an
        older checkpoint, have none that is valid."""
        if self._store is None:
            self._store = like.map(self._empty)
        elif like.judged is not None and self._store.judged is None:
            self._store = replace(self._store, judged=like.judged.map(self._empty))
        return self._store

    def _empty(self, rows: Tensor) -> Tensor:
        return torch.zeros(self.capacity, *rows.shape[1:], dtype=rows.dtype, device=self.device)


def _copy_rows(values: Tensor, rows: Int[Tensor, " n"], to: Tensor) -> None:
    """Copy rows of `values` to the tensor `to` [n, ...], on any device."""
    if values.device == to.device:
        torch.index_select(values, 0, rows.to(values.device), out=to)
    else:
        to.copy_(values.index_select(0, rows.to(values.device)))


def _compress(images: Tensor) -> Tensor:
    """Images as one compressed string of bytes, [bytes] uint8."""
    compressed = zlib.compress(images.numpy().tobytes(), level=1)
    return torch.from_numpy(np.frombuffer(compressed, dtype=np.uint8).copy())


def _decompress(block: Tensor, shape: list[int]) -> Tensor:
    """Images [n, *shape] uint8 of a block that `_compress` made."""
    pixels = np.frombuffer(zlib.decompress(block.numpy().tobytes()), dtype=np.uint8).copy()
    return torch.from_numpy(pixels).view(-1, *shape)
