"""Resample images of a data set's cameras (sources) to the student's cameras (targets).

A rotated virtual camera has the optical centre of one source camera and the rotation and intrinsics of the target.
Rotating a pinhole camera about its centre is exact for any scene, without parallax. What remains of the difference
between the rigs is the distance between the two optical centres (decimetres up to about a metre); it is the same on
both sides of a pair, because the rendering is made through the same virtual camera.

Real images are averaged over the footprint of each target pixel. Target pixels that the source does not cover repeat
the nearest covered pixel, on both sides of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

SUBSAMPLES = 6
"""Sample points per target pixel and axis over which a footprint is averaged."""


@dataclass(frozen=True)
class VirtualView:
    """The mapping from the pixels of a virtual camera to those of its source camera."""

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
        """Source coordinates (u, v), px, of the target's (sub)pixel centres, and whether they lie in the source.

        Rows and columns are `subsamples` times those of the target.
        """
        v, u = np.meshgrid(
            (np.arange(self.height * subsamples) + 0.5) / subsamples,
            (np.arange(self.width * subsamples) + 0.5) / subsamples,
            indexing="ij",
        )
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(self.target_intrinsics).T
        in_source = rays @ (self.source_intrinsics @ self.source_from_target).T
        ahead = in_source[..., 2] > 1e-6
        pixels = in_source[..., :2] / np.where(ahead, in_source[..., 2], 1.0)[..., None]
        inside = ahead & (pixels >= 0).all(-1) & (pixels < (self.source_width, self.source_height)).all(-1)
        return pixels, inside

    def covered(self) -> Bool[np.ndarray, "height width"]:
        """Target pixels whose centre lies in the source image."""
        return self.source_pixels()[1]

    def coverage(self) -> float:
        """Share of the target's pixels that the source covers."""
        return float(self.covered().mean())

    def resample(
        self, image: UInt8[np.ndarray, "source_height source_width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The source image as seen by the target camera; pixels that are not covered are filled, see
        `fill_uncovered`."""
        pixels, inside = self.source_pixels(SUBSAMPLES)
        column = np.clip(pixels[..., 0], 0, self.source_width - 1).astype(np.int64)
        row = np.clip(pixels[..., 1], 0, self.source_height - 1).astype(np.int64)
        weight = inside.reshape(self.height, SUBSAMPLES, self.width, SUBSAMPLES, 1).astype(np.float64)
        colour = image[row, column].reshape(self.height, SUBSAMPLES, self.width, SUBSAMPLES, 3)
        total = np.maximum(weight.sum((1, 3)), 1e-9)
        averaged = (colour * weight).sum((1, 3)) / total
        return fill_uncovered(np.rint(averaged).astype(np.uint8), self.covered())


def fill_uncovered(
    image: UInt8[np.ndarray, "height width 3"], covered: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The image with every pixel that is not covered replaced by the nearest covered one; unchanged if none is."""
    if covered.all() or not covered.any():
        return image
    from scipy.ndimage import distance_transform_edt

    row, column = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return image[row, column]
