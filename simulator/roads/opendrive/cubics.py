"""Functions of one coordinate that are cubic between records: elevation, superelevation, lane offset, lane width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Cubics:
    """Piecewise cubic: from each start on, a + b d + c d^2 + d d^3 with the distance d from that start."""

    starts: np.ndarray  # [records] in increasing order
    coefficients: np.ndarray  # [records, 4] a, b, c, d

    @classmethod
    def of(cls, records: Sequence[tuple[float, tuple[float, ...]]]) -> Cubics:
        """From (start, (a, b, c, d)) in any order. Of two records with one start the later in the file holds."""
        ordered = dict(sorted(records, key=lambda record: record[0]))
        return cls(
            np.array(list(ordered), np.float64), np.array(list(ordered.values()), np.float64).reshape(-1, 4)
        )

    def __bool__(self) -> bool:
        return len(self.starts) > 0

    def at(self, s: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Values at `s`: 0 without records; before the first start, the value at it."""
        if not self:
            return np.zeros(len(s))
        record = np.maximum(np.searchsorted(self.starts, s, side="right") - 1, 0)
        d = np.maximum(s - self.starts[record], 0.0)
        a, b, c, cubic = self.coefficients[record].T
        return a + d * (b + d * (c + d * cubic))
