"""A box of a recorded track, seen from above, whose sides can be moved. float64, on the host."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from simulator.logs.raw_tracks import RawTracks


class MovableBox:
    """A rectangle whose sides can move: centre `xy` [2] m, `size` [2] m (length, width), unit vectors `axes` [2, 2]."""

    def __init__(self, xy: Float[np.ndarray, " 2"], yaw: float, size: Float[np.ndarray, " 2"]) -> None:
        self.xy, self.size = xy.copy(), size.copy()
        self.axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])  # ahead, left

    @classmethod
    def of(cls, tracks: RawTracks, row: int | np.integer, step: int | np.integer) -> MovableBox:
        """The box of one track at one step."""
        return cls(tracks.position[row, step, :2], float(tracks.yaw[row, step]), tracks.size[row, :2])

    def depth(self, other: MovableBox) -> Float[np.ndarray, " 2"]:
        """How far the other reaches past this box's sides, along each of its axes [2], m; apart where one is < 0."""
        reach = 0.5 * (np.abs(self.axes @ other.axes.T) @ other.size)
        return 0.5 * self.size + reach - np.abs(self.axes @ (other.xy - self.xy))

    def trim(self, axis: int, towards: np.ndarray, by_m: float) -> None:
        """Move the side across an axis (0 length, 1 width) that faces the place `towards` [2] inwards, in place."""
        side = 1.0 if self.axes[axis] @ (towards - self.xy) >= 0 else -1.0
        self.xy -= 0.5 * by_m * side * self.axes[axis]
        self.size[axis] -= by_m
