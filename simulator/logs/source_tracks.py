"""Tracks as a source has them, before anything is mended, and the list of what was mended."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Repairs:
    """What was mended, by name."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int | np.integer = 1) -> None:
        """Count `count` more of `name`; nothing is nothing."""
        if count > 0:
            self.counts[name] = self.counts.get(name, 0) + int(count)

    def lines(self) -> np.ndarray:
        """`TrafficLog.repairs` [n] str."""
        return np.array([f"{name}: {count}" for name, count in self.counts.items()], dtype=np.str_)


@dataclass
class SourceTracks:
    """Tracks in the source's own frame, float64, before anything is mended."""

    ids: list[str]
    kind: np.ndarray  # [tracks] int
    size: np.ndarray  # [tracks, 3] m: length, width, height; NaN where the source has none
    position: (
        np.ndarray
    )  # [tracks, steps, 3] m: centre of the box, at ground height; z NaN where there is none
    yaw: np.ndarray  # [tracks, steps] rad, or degrees until `mend_headings`
    velocity: np.ndarray | None  # [tracks, steps, 2] m/s, None where the source has none
    valid: np.ndarray  # [tracks, steps] bool

    def keep(self, rows: np.ndarray) -> SourceTracks:
        """These tracks only (indices or a mask)."""
        chosen = np.arange(len(self.ids))[rows]
        arrays: dict[str, Any] = {
            part: None if getattr(self, part) is None else getattr(self, part)[chosen] for part in _ARRAYS
        }
        return SourceTracks(ids=[self.ids[row] for row in chosen], **arrays)


_ARRAYS = tuple(part.name for part in dataclasses.fields(SourceTracks) if part.name != "ids")
