"""Outlines lie one pixel inside of the rendered boxes, and the rest of the image is only dimmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptation.frames.calibrated_rig import rig_of_frame
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.outline_overlay import (
    BOX_RGB,
    BRIGHTNESS,
    OVERLAY_SUPERSAMPLING,
    box_edges,
    overlay_outlines,
)
from adaptation.pairs.reconstruction import scene_of_frame
from renderer.palette import ClassId

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
LEVEL = np.array([0.0, 0.0, 1.0])


def test_a_silhouette_lies_inside_its_box_and_not_along_the_border_of_the_image() -> None:
    box = np.full((20, 30), -1, np.int32)
    box[5:, 4:20] = 0  # goes on below the image
    box[8:, 12:26] = 1  # in front of it
    flat = np.zeros((20, 30, 3), np.uint8)
    silhouette, faces = box_edges(flat, box)
    inner = np.zeros((20, 30), bool)
    inner[5 + OVERLAY_SUPERSAMPLING :, 4 + OVERLAY_SUPERSAMPLING : 12 - OVERLAY_SUPERSAMPLING] = True
    inner[8 + OVERLAY_SUPERSAMPLING :, 12 + OVERLAY_SUPERSAMPLING : 26 - OVERLAY_SUPERSAMPLING] = True
    inner[
        5 + OVERLAY_SUPERSAMPLING : 8 - OVERLAY_SUPERSAMPLING,
        4 + OVERLAY_SUPERSAMPLING : 20 - OVERLAY_SUPERSAMPLING,
    ] = True
    assert ((box >= 0) & ~silhouette == inner).all()
    assert not faces.any()


def test_faces_of_one_box_are_told_apart_and_fog_is_not_a_face() -> None:
    box = np.zeros((8, 40), np.int32)
    rgb = np.zeros((8, 40, 3), np.uint8)
    rgb[:] = np.linspace(0, 20, 40, dtype=np.uint8)[:, None]
    rgb[:, 25:] += 60
    silhouette, faces = box_edges(rgb, box)
    assert not silhouette.any()
    assert sorted(set(np.nonzero(faces)[1])) == list(range(25 - OVERLAY_SUPERSAMPLING, 25))


def test_a_car_is_outlined_in_its_colour_and_the_rest_is_only_dimmed(line: Line, write_log: WriteLog) -> None:
    frame = CameraLog.load(write_log(line())).samples[0].cameras[0]
    rig = rig_of_frame(frame, 160)
    grey = np.full((90, 160, 3), 100, np.uint8)
    image = overlay_outlines(grey, scene_of_frame(frame, LEVEL), rig, backend="reference")
    changed = (image != round(BRIGHTNESS * 100)).any(-1)
    pixels = frame.boxes.corners_camera[0] @ frame.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:] / 2
    rows, columns = np.nonzero(changed)
    np.testing.assert_allclose([columns.min(), rows.min()], pixels.min(0), atol=1.0)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], pixels.max(0), atol=1.0)
    strongest = image[changed][np.abs(image[changed].astype(int) - 75).sum(-1).argmax()]
    assert tuple(strongest) == BOX_RGB[ClassId.CAR]


def test_a_image_of_another_size_is_rejected(line: Line, write_log: WriteLog) -> None:
    frame = CameraLog.load(write_log(line())).samples[0].cameras[0]
    with pytest.raises(ValueError, match="the real image is 20 x 10 px and the rig's 160 x 90"):
        overlay_outlines(
            np.zeros((10, 20, 3), np.uint8), scene_of_frame(frame, LEVEL), rig_of_frame(frame, 160)
        )
