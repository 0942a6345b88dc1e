"""From the cameras a data set has to the cameras the student has.

A target camera is given the optical centre of one source camera and the target's own rotation and intrinsics.
Turning a pinhole camera about its centre is exact for any scene, so this invents no parallax; what remains of the
difference between the rigs is the distance between the two optical centres (decimetres up to about a metre), which
is the same on both sides of a pair, because the rendering is drawn from that same turned camera.

Real pictures are averaged over the footprint of each target pixel. Pixels of the target that the source does not
see repeat the nearest pixel that it does see, on both sides of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

SUBSAMPLES = 6
"""Points per pixel and axis that a footprint is averaged over."""


@dataclass(frozen=True)
class View:
    """One target camera looked at through one source camera."""

    height: int  # px, of the target
    width: int  # px
    target_intrinsics: Float[np.ndarray, "3 3"]
    source_from_target: Float[np.ndarray, "3 3"]  # rotation between the two optical frames
    source_intrinsics: Float[np.ndarray, "3 3"]
    source_height: int  # px
    source_width: int  # px

    def source_pixels(
        self, subsamples: int = 1
    ) -> tuple[Float[np.ndarray, "rows columns 2"], Bool[np.ndarray, "rows columns"]]:
        """Where the target's (sub)pixel centres fall in the source, px, and whether they fall inside it."""
        v, u = np.meshgrid(
            (np.arange(self.height * subsamples) + 0.5) / subsamples,
            (np.arange(self.width * subsamples) + 0.5) / subsamples,
            indexing="ij",
        )
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(self.target_intrinsics).T
        seen = rays @ (self.source_intrinsics @ self.source_from_target).T
        ahead = seen[..., 2] > 1e-6
        pixels = seen[..., :2] / np.where(ahead, seen[..., 2], 1.0)[..., None]
        inside = ahead & (pixels >= 0).all(-1) & (pixels < (self.source_width, self.source_height)).all(-1)
        return pixels, inside

    def covered(self) -> Bool[np.ndarray, "height width"]:
        """Target pixels whose centre the source sees."""
        return self.source_pixels()[1]

    def coverage(self) -> float:
        """Share of the target's pixels that the source sees."""
        return float(self.covered().mean())

    def resample(
        self, picture: UInt8[np.ndarray, "source_height source_width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The source picture as the target camera would have taken it; pixels not covered are repeated ones."""
        pixels, inside = self.source_pixels(SUBSAMPLES)
        column = np.clip(pixels[..., 0], 0, self.source_width - 1).astype(np.int64)
        row = np.clip(pixels[..., 1], 0, self.source_height - 1).astype(np.int64)
        weight = inside.reshape(self.height, SUBSAMPLES, self.width, SUBSAMPLES, 1).astype(np.float64)
        colour = picture[row, column].reshape(self.height, SUBSAMPLES, self.width, SUBSAMPLES, 3)
        total = np.maximum(weight.sum((1, 3)), 1e-9)
        averaged = (colour * weight).sum((1, 3)) / total
        return fill(np.rint(averaged).astype(np.uint8), self.covered())


def fill(
    picture: UInt8[np.ndarray, "height width 3"], covered: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture with every pixel that is not covered replaced by the nearest one that is."""
    if covered.all() or not covered.any():
        return picture
    row, column = nearest_covered(covered)
    return picture[row, column]


def nearest_covered(
    covered: Bool[np.ndarray, "height width"],
) -> tuple[Int[np.ndarray, "height width"], Int[np.ndarray, "height width"]]:
    """Row and column of the covered pixel nearest to each pixel."""
    from scipy.ndimage import distance_transform_edt

    row, column = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return row.astype(np.int64), column.astype(np.int64)
