"""The window (`Viewport`) and the colours (`Palette`) of top-down images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simulator.roads.road_map import RoadMap

VIEW_MARGIN_M = 8.0  # around a complete map
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colours (sRGB, 0-255) of one style."""

    ground: Colour
    walkway: Colour
    road: Colour
    kerb: Colour
    white: Colour
    yellow: Colour
    crosswalk: Colour
    text: Colour
    shadow: Colour
    lights: tuple[Colour, Colour, Colour, Colour]  # stop line: no light, green, yellow, red
    cars: tuple[Colour, ...]  # taken in turn
    kinds: tuple[Colour, Colour, Colour]  # truck, cyclist, pedestrian


SLATE = Palette(
    ground=(19, 25, 33), walkway=(31, 39, 49), road=(50, 59, 71), kerb=(101, 114, 131), white=(190, 199, 210),
    yellow=(206, 166, 72), crosswalk=(142, 152, 165), text=(203, 213, 225), shadow=(24, 30, 38),
    lights=((214, 221, 230), (52, 211, 153), (251, 191, 36), (248, 84, 84)),
    cars=((96, 165, 250), (129, 140, 248), (45, 212, 191), (192, 132, 252), (56, 189, 248), (148, 170, 200)),
    kinds=((251, 146, 60), (163, 230, 53), (244, 114, 182)),
)  # fmt: skip
PAPER = Palette(
    ground=(243, 241, 236), walkway=(231, 228, 221), road=(208, 210, 213), kerb=(150, 155, 162),
    white=(255, 255, 255), yellow=(222, 171, 52), crosswalk=(250, 250, 250), text=(71, 80, 92),
    shadow=(176, 179, 184), lights=((255, 255, 255), (16, 160, 106), (234, 160, 16), (220, 50, 50)),
    cars=((37, 99, 205), (79, 70, 200), (13, 130, 120), (134, 60, 200), (8, 125, 185), (80, 98, 125)),
    kinds=((214, 98, 22), (90, 140, 16), (206, 40, 120)),
)  # fmt: skip


@dataclass(frozen=True)
class Viewport:
    """A window of the world: pixel = (x - left, top - y) * scale."""

    left_m: float
    top_m: float
    scale: float  # pixels per metre
    width: int  # pixels
    height: int

    @classmethod
    def of(
        cls,
        road_map: RoadMap,
        centre: Float[np.ndarray, " 2"] | Sequence[float | int] | None,
        extent_m: float | int | None,
        size_px: int | tuple[int, int],
    ) -> Viewport:
        """The window of `extent_m` metres width around `centre`; without these the window that contains the complete
        map. Raises ValueError for sizes that are not positive."""
        width, height = (size_px, size_px) if isinstance(size_px, int) else size_px
        if width < 1 or height < 1:
            raise ValueError(f"size_px={size_px} must be at least 1 pixel in width and height")
        low, high = _bounds(road_map)
        middle = (low + high) / 2 if centre is None else np.asarray(centre, np.float64)[:2]
        if extent_m is None:
            spans = high - low + 2 * VIEW_MARGIN_M
            extent_m = float(max(spans[0], spans[1] * width / height))
        if not (extent_m > 0 and np.isfinite(middle).all()):
            raise ValueError(f"extent_m={extent_m} and centre={middle} must be positive and finite")
        scale = width / extent_m
        return cls(middle[0] - extent_m / 2, middle[1] + height / scale / 2, scale, width, height)

    def enlarged(self, factor: int) -> Viewport:
        """The same window with `factor` times as many pixels in each direction."""
        return Viewport(
            self.left_m, self.top_m, self.scale * factor, self.width * factor, self.height * factor
        )

    def pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        """World points [n, 2 or 3] m as (column, row) in pixels."""
        columns = (points[:, 0] - self.left_m) * self.scale
        rows = (self.top_m - points[:, 1]) * self.scale
        return list(zip(columns.tolist(), rows.tolist(), strict=True))

    def sees(self, points: np.ndarray) -> bool:
        """Whether the bounding box of the points touches the window."""
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        right, bottom = self.left_m + self.width / self.scale, self.top_m - self.height / self.scale
        return bool(high[0] >= self.left_m and low[0] <= right and high[1] >= bottom and low[1] <= self.top_m)


def _bounds(road_map: RoadMap) -> Float[np.ndarray, "2 2"]:
    """Smallest and largest (x, y) of everything that is drawn, m: `RoadMap.bounds`, walkways and crosswalks."""
    besides = [
        piece[:, :2].astype(np.float64) for piece in (road_map.walkway_points, road_map.crosswalk_points)
    ]
    xy = np.concatenate([road_map.bounds(), *besides])
    return np.stack([xy.min(0), xy.max(0)])
