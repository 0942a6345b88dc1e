"""A pair: one sample as real (or surrogate) images and as renderings, with the same other inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from student.observation import Observation


@dataclass(frozen=True)
class Pair:
    """One sample on the student's rig."""

    name: str  # dataset/seq/frame
    scene: str  # dataset/seq; whole scenes are held out
    real: UInt8[Tensor, "cameras height width 3"]
    rendering: UInt8[Tensor, "cameras height width 3"]
    camera_mask: Bool[Tensor, " cameras"]  # False: no source camera covers enough of this view
    ego: Float[Tensor, " ego"]
    command: Float[Tensor, " commands"]
    conditioning: Float[Tensor, " conditioning"]
    pseudo_labels: bool = False  # the rendered boxes are not ground truth


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs; the two observations differ in their images only."""

    names: tuple[str, ...]
    scenes: tuple[str, ...]
    real: Observation
    rendering: Observation

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """The same batch on another device."""
        real, rendering = self.real.to(device, non_blocking), self.rendering.to(device, non_blocking)
        return PairBatch(self.names, self.scenes, real, rendering)


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """Stack pairs into a batch."""
    shared = {
        name: torch.stack([getattr(pair, name) for pair in pairs])
        for name in ("camera_mask", "ego", "command", "conditioning")
    }
    return PairBatch(
        tuple(pair.name for pair in pairs),
        tuple(pair.scene for pair in pairs),
        Observation(images=torch.stack([pair.real for pair in pairs]), **shared),
        Observation(images=torch.stack([pair.rendering for pair in pairs]), **shared),
    )
