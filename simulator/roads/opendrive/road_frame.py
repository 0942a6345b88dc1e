"""World positions of a road's own coordinates s and t: elevation, superelevation, crossfall and lateral shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simulator.roads.opendrive.document import Road


@dataclass(frozen=True)
class RoadFrame:
    """The surface of one road (ASAM OpenDRIVE 1.8, sections 8 and 10). x and y are relative to `origin`."""

    road: Road
    origin: tuple[float, float]  # m, float64; subtracted before anything is stored in float32

    def xyz(
        self, s: Float[np.ndarray, " n"], t: Float[np.ndarray, " n"], level: bool = False
    ) -> Float[np.ndarray, "n 3"]:
        """World positions (m) of points of the road's surface. `level`: without superelevation and crossfall."""
        line = self.road.plan.at(s)
        x, y = line[:, 0] - self.origin[0], line[:, 1] - self.origin[1]
        roll = np.zeros(len(s)) if level else self.road.superelevation.at(s)
        sideways, height = t * np.cos(roll), t * np.sin(roll)
        if not level:
            height = height + self._crossfall(s, t)
        height = height + self._shape(s, t)
        return np.stack(
            [
                x - np.sin(line[:, 2]) * sideways,
                y + np.cos(line[:, 2]) * sideways,
                self.road.elevation.at(s) + height,
            ],
            axis=1,
        )

    def heading(self, s: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Heading of the reference line, rad."""
        return self.road.plan.at(s)[:, 2]

    def _crossfall(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        if not self.road.crossfall_left and not self.road.crossfall_right:
            return np.zeros(len(s))
        slope = np.where(t > 0, self.road.crossfall_left.at(s), self.road.crossfall_right.at(s))
        return -np.abs(t) * np.tan(np.clip(slope, -1.0, 1.0))

    def _shape(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Height of the lateral profiles: linear in s between two of them."""
        if not self.road.shapes:
            return np.zeros(len(s))
        starts = np.array([start for start, _ in self.road.shapes])
        heights = np.stack([profile.at(t) for _, profile in self.road.shapes])  # [profiles, n]
        after = (
            np.clip(np.searchsorted(starts, s, side="right"), 1, len(starts) - 1) if len(starts) > 1 else 0
        )
        if len(starts) == 1:
            return heights[0]
        before = after - 1
        share = np.clip((s - starts[before]) / (starts[after] - starts[before]), 0.0, 1.0)
        rows = np.arange(len(s))
        return heights[before, rows] * (1 - share) + heights[after, rows] * share
