"""What was corrected in the data of a source or left out of it, counted by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Repairs:
    """How often each correction was made, by name.

    Counts are stored with the log. Remarks are only reported by the import: what the reader took for granted (such as
    the unit of time stamps), and kinds of features that a `RoadMap` has no place for.
    """

    counts: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int | np.integer = 1) -> None:
        """Add `count` to the count of `name`; a count of 0 leaves no entry."""
        if count > 0:
            self.counts[name] = self.counts.get(name, 0) + int(count)

    def remark(self, name: str, count: int | np.integer = 1) -> None:
        """Add `count` to the remark `name`; a count of 0 leaves no entry."""
        if count > 0:
            self.remarks[name] = self.remarks.get(name, 0) + int(count)

    def lines(self) -> np.ndarray:
        """`TrafficLog.repairs` [n] str."""
        return np.array([f"{name}: {count}" for name, count in self.counts.items()], dtype=np.str_)
