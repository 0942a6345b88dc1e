"""The overview shows every camera from left to right, and the same seed gives the same bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from gigapixel.__main__ import main
from gigapixel.pictures.layout import (
    ACCENTS,
    CAMERA_WIDTH_PX,
    CAPTION_PX,
    GAP_PX,
    HEADER_PX,
    compose_overview,
    overview_size,
    shade_areas,
)
from gigapixel.pictures.render_command import left_to_right, parse_size
from gigapixel.run_folder.image_grid import GridCell
from renderer import CameraRig


def test_cameras_are_laid_out_left_to_right_and_those_behind_last():
    rig = CameraRig.nuplan()
    names = [rig.names[camera] for camera in left_to_right(rig)]
    assert names == ["front_left", "front", "front_right", "back"]


@pytest.mark.parametrize("num_cameras", [1, 3, 4, 6])
def test_every_camera_and_the_view_from_above_keep_their_pixels(num_cameras):
    """Three cameras in the first row, the others below the first of them."""
    height = 60
    images = [np.full((height, CAMERA_WIDTH_PX, 3), 20 + 30 * i, np.uint8) for i in range(num_cameras)]
    cells = [GridCell(image, f"camera {i}", ACCENTS[i]) for i, image in enumerate(images)]
    (width, tall), box = overview_size(num_cameras, height)
    top_down = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), (1, 2, 3))
    overview = np.asarray(compose_overview(cells, top_down, "title", "subtitle"))
    assert overview.shape == (tall, width, 3)
    for index, image in enumerate(images):
        column, row = (index, 0) if index < 3 else (0, index - 2)
        x = GAP_PX + column * (CAMERA_WIDTH_PX + GAP_PX)
        y = HEADER_PX + row * (CAPTION_PX + height + GAP_PX) + CAPTION_PX
        assert (overview[y : y + height, x : x + CAMERA_WIDTH_PX] == image).all()
        assert (overview[y - CAPTION_PX : y, x : x + 20] == ACCENTS[index]).all(-1).any(), "its mark"
    assert (overview[box[1] : box[3], box[0] : box[2]] == (1, 2, 3)).all()


def test_shading_tints_inside_the_fan_only():
    image = Image.new("RGB", (20, 20), (100, 100, 100))
    shaded = np.asarray(shade_areas(image, [[(0, 0), (10, 0), (10, 20), (0, 20)]], [(255, 0, 0)]))
    assert (shaded[:, :9, 0] > 100).all()
    assert (shaded[:, 12:] == 100).all()


def test_fields_of_view_point_where_the_cameras_look():
    from gigapixel.pictures.world_snapshot import FIELD_OF_VIEW_M, fields_of_view

    rig = CameraRig.nuplan().select(["front", "back"])
    front, back = fields_of_view(rig, np.array([10.0, 20.0, math.pi / 2]))  # facing north
    assert front[0] == pytest.approx([10.01, 21.66], abs=1e-5)
    reach = np.linalg.norm(front[1:] - front[0], axis=1)
    assert reach == pytest.approx(np.full(9, FIELD_OF_VIEW_M), rel=1e-5)
    assert (front[1:, 1] > 20 + 0.8 * FIELD_OF_VIEW_M).all()
    assert front[1, 0] < 10 < front[-1, 0]  # left of the picture is west
    assert (back[1:, 1] < 20 - 0.8 * FIELD_OF_VIEW_M).all()


@pytest.mark.parametrize("text", ["480", "0x10", "480x270x3", "wide", "9999x10"])
def test_impossible_sizes_are_refused(text):
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        parse_size(text)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, seed in zip(paths, ("3", "3", "4"), strict=True):
        arguments = [
            "--map",
            "Town01",
            "--seed",
            seed,
            "--agents",
            "6",
            "--seconds",
            "0.2",
            "--size",
            "96x54",
        ]
        assert main(["render", *arguments, "--output", str(path)]) == 0
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other
