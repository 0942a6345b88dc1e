"""The outlines of a rendering over the real picture: do boxes and lanes lie where the real ones are?

Boxes are traced along their silhouettes and, fainter, along the edges between their faces, so that a heading can be
read; paint on the road and its border are filled. The rendering is drawn finer than the picture and averaged, so that
lines stay lines far away.
"""

from __future__ import annotations

import colorsys

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from renderer.camera import CameraRig
from renderer.palette import BOX_CLASSES, BOX_HUE_SATURATION, ClassId
from renderer.render import render
from renderer.scene import Scene

FINER = 3
"""Rendered pixels per pixel of the picture and axis; a silhouette is as many of them wide, which is one pixel."""
FACE_STEP = 24
"""Faces of a box differ by more than this (sum over channels, of 255 each); haze within a face by less."""
BRIGHTNESS, SATURATION = 0.75, 0.35
"""Of the real picture under the outlines, as shares of its own."""

Ink = tuple[int, int, int]

PAINT_RGB: dict[ClassId, Ink] = {
    ClassId.MARKING_WHITE: (0, 240, 255),
    ClassId.MARKING_YELLOW: (255, 235, 0),
    ClassId.ROAD_EDGE: (110, 255, 60),
    ClassId.CROSSWALK: (0, 240, 255),
    ClassId.STOP_LINE: (255, 120, 110),
}
"""Colours of what lies on the ground: unlike real paint, which is to be seen beside them."""
PAINT_OPACITY, SILHOUETTE_OPACITY, FACE_OPACITY = 0.7, 1.0, 0.55


def _bright(hue_deg: float, saturation: float) -> Ink:
    red, green, blue = colorsys.hsv_to_rgb(hue_deg / 360, 0.8 * saturation, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


BOX_RGB = {kind: _bright(*look) for kind, look in zip(BOX_CLASSES, BOX_HUE_SATURATION, strict=True)}
"""Each kind of box in the hue that the renderer gives it, as bright as can be."""


def traced(
    real: UInt8[np.ndarray, "height width 3"], scene: Scene, rig: CameraRig, backend: str = "auto"
) -> UInt8[np.ndarray, "height width 3"]:
    """The real picture, dimmed, under the outlines of what the only camera of `rig` sees of `scene`.

    Raises:
        ValueError: The real picture has not the size of the rig's.
    """
    if real.shape[:2] != (rig.height, rig.width):
        raise ValueError(
            f"the real picture is {real.shape[1]} x {real.shape[0]} px and the rig's {rig.width} x {rig.height}; "
            "resize it to the rig's"
        )
    fine = render(
        scene,
        rig,
        size=(FINER * rig.height, FINER * rig.width),
        channels=("rgb", "class_id", "instance_id"),
        backend=backend,
    )
    rgb, class_id, box = (fine[name][0, 0].cpu().numpy() for name in ("rgb", "class_id", "instance_id"))
    colour, opacity = _inks(rgb, class_id, box)
    blocks = (rig.height, FINER, rig.width, FINER)
    ink = (colour * opacity[..., None]).reshape(*blocks, 3).mean((1, 3))
    cover = opacity.reshape(blocks).mean((1, 3))[..., None]
    return np.rint(ink + (1 - cover) * _dimmed(real)).astype(np.uint8)


def _inks(
    rgb: UInt8[np.ndarray, "tall wide 3"],
    class_id: UInt8[np.ndarray, "tall wide"],
    box: Int[np.ndarray, "tall wide"],
) -> tuple[Float[np.ndarray, "tall wide 3"], Float[np.ndarray, "tall wide"]]:
    """Colour and opacity of the outlines, per pixel of the fine rendering."""
    colour, opacity = np.zeros(rgb.shape, np.float32), np.zeros(box.shape, np.float32)
    for painted, ink in PAINT_RGB.items():
        colour[class_id == painted] = ink
        opacity[class_id == painted] = PAINT_OPACITY
    silhouette, faces = box_edges(rgb, box)
    for kind, ink in BOX_RGB.items():
        colour[class_id == kind] = ink
    opacity[faces] = FACE_OPACITY
    opacity[silhouette] = SILHOUETTE_OPACITY
    return colour, opacity


def box_edges(
    rgb: UInt8[np.ndarray, "tall wide 3"], box: Int[np.ndarray, "tall wide"]
) -> tuple[Bool[np.ndarray, "tall wide"], Bool[np.ndarray, "tall wide"]]:
    """Pixels of boxes within FINER pixels of what is not their box, and the others as near to another face of theirs.

    The border of the picture is no edge: a box goes on behind it.
    """
    inside = box >= 0
    silhouette, faces = np.zeros_like(inside), np.zeros_like(inside)
    for axis in (0, 1):
        for step in range(1, FINER + 1):
            for other in (_moved(box, step, axis), _moved(box, -step, axis)):
                silhouette |= inside & (other != box)
            change = np.abs(_moved(rgb, step, axis).astype(np.int64) - rgb).sum(-1)
            faces |= inside & (change > FACE_STEP)
    return silhouette, faces & ~silhouette


def _moved(pixels: np.ndarray, step: int, axis: int) -> np.ndarray:
    """Each pixel's neighbour `step` pixels along an axis; beyond the border, the border's own."""
    index = np.clip(np.arange(pixels.shape[axis]) + step, 0, pixels.shape[axis] - 1)
    return pixels.take(index, axis)


def _dimmed(real: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """A darker, greyer picture, on which colours stand out."""
    grey = real.mean(-1, keepdims=True)
    return BRIGHTNESS * (grey + SATURATION * (real - grey))
