"""The footprint of a track's box, with sides that can be moved; float64."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from simulator.logs.raw_tracks import RawTracks


class MovableBox:
    """A rectangle with movable sides: centre `xy` [2] m, `size` [2] m (length, width), unit vectors `axes` [2, 2]."""

    def __init__(self, xy: Float[np.ndarray, " 2"], yaw: float, size: Float[np.ndarray, " 2"]) -> None:
        self.xy, self.size = xy.copy(), size.copy()
        self.axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])  # ahead, left

    @classmethod
    def of(cls, tracks: RawTracks, row: int | np.integer, step: int | np.integer) -> MovableBox:
        """The box of one track at one step."""
        return cls(tracks.position[row, step, :2], float(tracks.yaw[row, step]), tracks.size[row, :2])

    def depth(self, other: MovableBox) -> Float[np.ndarray, " 2"]:
        """Penetration depth of the other box along each axis of this one [2], m; the boxes are apart where one is <
        0."""
        reach = 0.5 * (np.abs(self.axes @ other.axes.T) @ other.size)
        return 0.5 * self.size + reach - np.abs(self.axes @ (other.xy - self.xy))

    def trim(self, axis: int, towards: np.ndarray, by_m: float) -> None:
        """Move the side across an axis (0 length, 1 width) that faces the position `towards` [2] inwards by `by_m`,
        in place."""
        side = 1.0 if self.axes[axis] @ (towards - self.xy) >= 0 else -1.0
        self.xy -= 0.5 * by_m * side * self.axes[axis]
        self.size[axis] -= by_m
