"""The outlines of a rendering over the real image, to see whether boxes and lanes are aligned with the real ones.

Silhouettes of boxes are drawn, and, fainter, the edges between their faces, which show the heading; road markings and
road edges are filled. The rendering is supersampled and averaged, so that distant lines stay visible.
"""

from __future__ import annotations

import colorsys

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from gigapixel.run_folder.image_grid import RGB
from renderer.camera import CameraRig
from renderer.palette import BOX_CLASSES, BOX_HUE_SATURATION, ClassId
from renderer.render import render
from renderer.scene import Scene

OVERLAY_SUPERSAMPLING = 3
"""Rendered pixels per image pixel and axis; a silhouette is as many of them wide, so one image pixel."""
FACE_STEP = 24
"""Two faces of a box differ by more than this (sum over channels, of 255 each), fog within a face by less."""
BRIGHTNESS, SATURATION = 0.75, 0.35
"""Factors on brightness and saturation of the real image under the outlines."""

PAINT_RGB: dict[ClassId, RGB] = {
    ClassId.MARKING_WHITE: (0, 240, 255),
    ClassId.MARKING_YELLOW: (255, 235, 0),
    ClassId.ROAD_EDGE: (110, 255, 60),
    ClassId.CROSSWALK: (0, 240, 255),
    ClassId.STOP_LINE: (255, 120, 110),
}
"""Colours of ground classes, unlike those of real paint, so that the two can be told apart."""
PAINT_OPACITY, SILHOUETTE_OPACITY, FACE_OPACITY = 0.7, 1.0, 0.55


def _bright_rgb(hue_deg: float, saturation: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue_deg / 360, 0.8 * saturation, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


BOX_RGB = {
    kind: _bright_rgb(*hue_saturation)
    for kind, hue_saturation in zip(BOX_CLASSES, BOX_HUE_SATURATION, strict=True)
}
"""Each kind of box in its hue of the renderer, at full brightness."""


def overlay_outlines(
    real: UInt8[np.ndarray, "height width 3"], scene: Scene, rig: CameraRig, backend: str = "auto"
) -> UInt8[np.ndarray, "height width 3"]:
    """The real image, dimmed, under the outlines of `scene` as seen by the only camera of `rig`.

    Raises:
        ValueError: The real image has another size than the rig.
    """
    if real.shape[:2] != (rig.height, rig.width):
        raise ValueError(
            f"the real image is {real.shape[1]} x {real.shape[0]} px and the rig's {rig.width} x {rig.height}; "
            "resize it to the rig's"
        )
    fine = render(
        scene,
        rig,
        size=(OVERLAY_SUPERSAMPLING * rig.height, OVERLAY_SUPERSAMPLING * rig.width),
        channels=("rgb", "class_id", "instance_id"),
        backend=backend,
    )
    rgb, class_id, box = (fine[name][0, 0].cpu().numpy() for name in ("rgb", "class_id", "instance_id"))
    colour, opacity = _line_colours(rgb, class_id, box)
    blocks = (rig.height, OVERLAY_SUPERSAMPLING, rig.width, OVERLAY_SUPERSAMPLING)
    lines = (colour * opacity[..., None]).reshape(*blocks, 3).mean((1, 3))
    cover = opacity.reshape(blocks).mean((1, 3))[..., None]
    return np.rint(lines + (1 - cover) * _dimmed(real)).astype(np.uint8)


def _line_colours(
    rgb: UInt8[np.ndarray, "tall wide 3"],
    class_id: UInt8[np.ndarray, "tall wide"],
    box: Int[np.ndarray, "tall wide"],
) -> tuple[Float[np.ndarray, "tall wide 3"], Float[np.ndarray, "tall wide"]]:
    """RGB colour and opacity of the outlines, per pixel of the supersampled rendering."""
    colour, opacity = np.zeros(rgb.shape, np.float32), np.zeros(box.shape, np.float32)
    for paint, rgb_of_paint in PAINT_RGB.items():
        colour[class_id == paint] = rgb_of_paint
        opacity[class_id == paint] = PAINT_OPACITY
    silhouette, faces = box_edges(rgb, box)
    for kind, rgb_of_kind in BOX_RGB.items():
        colour[class_id == kind] = rgb_of_kind
    opacity[faces] = FACE_OPACITY
    opacity[silhouette] = SILHOUETTE_OPACITY
    return colour, opacity


def box_edges(
    rgb: UInt8[np.ndarray, "tall wide 3"], box: Int[np.ndarray, "tall wide"]
) -> tuple[Bool[np.ndarray, "tall wide"], Bool[np.ndarray, "tall wide"]]:
    """Masks of (silhouettes, edges between faces), both on the inner side and OVERLAY_SUPERSAMPLING pixels wide.

    A silhouette pixel is near a pixel of another instance or of none; the border of the image is not a silhouette.
    """
    inside = box >= 0
    silhouette, faces = np.zeros_like(inside), np.zeros_like(inside)
    for axis in (0, 1):
        for step in range(1, OVERLAY_SUPERSAMPLING + 1):
            for other in (_shifted(box, step, axis), _shifted(box, -step, axis)):
                silhouette |= inside & (other != box)
            change = np.abs(_shifted(rgb, step, axis).astype(np.int64) - rgb).sum(-1)
            faces |= inside & (change > FACE_STEP)
    return silhouette, faces & ~silhouette


def _shifted(pixels: np.ndarray, step: int, axis: int) -> np.ndarray:
    """Each pixel's neighbour `step` pixels along an axis; the border pixel is repeated beyond the border."""
    index = np.clip(np.arange(pixels.shape[axis]) + step, 0, pixels.shape[axis] - 1)
    return pixels.take(index, axis)


def _dimmed(real: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """A darker, less saturated image, on which the outlines stand out."""
    grey = real.mean(-1, keepdims=True)
    return BRIGHTNESS * (grey + SATURATION * (real - grey))
