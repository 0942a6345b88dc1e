"""First-in first-out replay buffer of labelled observations, in tensors that are allocated once."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from simulator.conventions import NUM_POSES, NUM_TRAITS
from student.observation import EGO_FEATURES, Command, Observation
from student.targets import Batch, Targets
from student.trajectory import Trajectory

BLOCK = 256
"""Samples per compressed block of a checkpoint."""


class ReplayBuffer:
    """Holds the newest `capacity` samples. Pictures stay uint8; nothing is copied until a batch is drawn."""

    def __init__(
        self,
        capacity: int,
        num_cameras: int,
        height: int,
        width: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < 1:
            raise ValueError(f"buffer capacity={capacity} must be at least 1 sample")
        self.capacity = capacity
        self.size = 0  # samples held
        self.added = 0  # samples ever added
        floats: dict[str, Any] = {"dtype": torch.float32, "device": device}
        self._store = {
            "images": torch.zeros(capacity, num_cameras, height, width, 3, dtype=torch.uint8, device=device),
            "camera_mask": torch.zeros(capacity, num_cameras, dtype=torch.bool, device=device),
            "ego": torch.zeros(capacity, EGO_FEATURES, **floats),
            "command": torch.zeros(capacity, len(Command), **floats),
            "conditioning": torch.zeros(capacity, NUM_TRAITS, **floats),
            "poses": torch.zeros(capacity, NUM_POSES, 3, **floats),
            "action": torch.zeros(capacity, dtype=torch.int64, device=device),
            "weight": torch.zeros(capacity, **floats),
        }

    def __len__(self) -> int:
        return self.size

    def add(self, observation: Observation, targets: Targets) -> None:
        """Append a batch; where the buffer is full the oldest samples make room."""
        rows = {
            "images": observation.images,
            "camera_mask": observation.camera_mask,
            "ego": observation.ego,
            "command": observation.command,
            "conditioning": observation.conditioning,
            "poses": targets.trajectory.poses,
            "action": targets.action,
            "weight": targets.weight,
        }
        count = len(observation)
        kept = min(count, self.capacity)
        start = (self.added + count - kept) % self.capacity
        head = min(kept, self.capacity - start)  # rows before the end of the ring; the rest wraps
        for name, values in rows.items():
            store = self._store[name]
            newest = values[count - kept :].to(store.device, store.dtype)
            store[start : start + head] = newest[:head]
            store[: kept - head] = newest[head:]
        self.added += count
        self.size = min(self.capacity, self.size + count)

    def get(self, index: Int[Tensor, " batch"]) -> Batch:
        """Copy out rows by position in the ring, 0 <= index < len(self)."""
        rows = {name: store[index] for name, store in self._store.items()}
        targets = Targets(Trajectory(rows.pop("poses")), rows.pop("action"), rows.pop("weight"))
        return Batch(Observation(**rows), targets)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """A batch drawn with replacement, every held sample equally likely."""
        if not self.size:
            raise ValueError(
                "the replay buffer is empty: no agent has had a valid label yet; check the teacher and the maps"
            )
        return self.get(torch.randint(self.size, (batch_size,), generator=generator))

    def state_dict(self) -> dict[str, Any]:
        """Everything held, pictures compressed (flat-coloured drawings shrink some thirty times)."""
        held = {name: store[: self.size].cpu() for name, store in self._store.items()}
        images = held.pop("images")
        packed = [_pack(block) for block in images.split(BLOCK)] if self.size else []
        rows = {name: tensor.clone() for name, tensor in held.items()}
        return {
            "size": self.size,
            "added": self.added,
            "capacity": self.capacity,
            "rows": rows,
            "images": packed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; the capacity must be the same."""
        if state["capacity"] != self.capacity:
            raise ValueError(
                f"the checkpoint's replay buffer holds {state['capacity']} samples, the config asks for "
                f"{self.capacity}; resume with data.buffer_capacity={state['capacity']}"
            )
        self.size, self.added = state["size"], state["added"]
        for name, tensor in state["rows"].items():
            self._store[name][: self.size] = tensor
        shape = self._store["images"].shape[1:]
        for block, packed in enumerate(state["images"]):
            pixels = np.frombuffer(zlib.decompress(packed.numpy().tobytes()), dtype=np.uint8).copy()
            pictures = torch.from_numpy(pixels).view(-1, *shape)
            self._store["images"][block * BLOCK : block * BLOCK + len(pictures)] = pictures


def _pack(images: Tensor) -> Tensor:
    """Pictures as one compressed string of bytes, [bytes] uint8."""
    compressed = zlib.compress(images.numpy().tobytes(), level=1)
    return torch.from_numpy(np.frombuffer(compressed, dtype=np.uint8).copy())
