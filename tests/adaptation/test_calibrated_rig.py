"""The rig of a real sample is its calibration, whatever size it is drawn at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adaptation.frames.calibrated_rig import rig_of_frame, sample_rig
from adaptation.frames.camera_frame import CameraSample
from adaptation.frames.camera_log import CameraLog

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
SKEWED = [[250.0, 1.5, 150.0], [0.0, 240.0, 95.0], [0.0, 0.0, 1.0]]
BACKWARD = [[0.0, 0.0, -1.0, -0.5], [1.0, 0.0, 0.0, 0.1], [0.0, -1.0, 0.0, 1.4], [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture
def sample(line: Line, write_log: WriteLog) -> CameraSample:
    """Two cameras of one size that agree in nothing else."""
    back = line(cam="back", image="back.png", K=SKEWED, cam_to_ego=BACKWARD)
    return CameraLog.load(write_log(line(), back)).samples[0]


def test_a_rig_is_the_calibration_as_it_stands(sample: CameraSample) -> None:
    rig = sample_rig(sample)
    assert rig.names == ("front", "back")
    assert (rig.height, rig.width) == (180, 320)
    np.testing.assert_allclose(rig.intrinsics[1], SKEWED, rtol=1e-6)
    np.testing.assert_allclose(rig.rig_from_camera[1], BACKWARD, atol=1e-6)


def test_a_car_keeps_its_place_in_the_image_at_any_size(sample: CameraSample) -> None:
    """Corners through the data set's own matrix, and through the rig at a third of the width and half the height."""
    front = sample.cameras[0]
    corners = front.boxes.corners_camera[0]
    pixels = corners @ front.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    pose = front.rig_from_camera()
    in_rig = torch.tensor(corners @ pose[:3, :3].T + pose[:3, 3], dtype=torch.float32)
    drawn, depth = sample_rig(sample, (90, 107)).project(in_rig)
    np.testing.assert_allclose(drawn[0], pixels * (107 / 320, 90 / 180), atol=1e-3)
    np.testing.assert_allclose(depth[0], corners[:, 2], atol=1e-4)


def test_images_of_several_sizes_need_one_to_be_chosen(line: Line, write_log: WriteLog) -> None:
    matrix = [[250.0, 0.0, 50.0], [0.0, 250.0, 100.0], [0.0, 0.0, 1.0]]
    root = write_log(line(), line(cam="tall", image="tall.png", width=100, height=200, K=matrix))
    Image.new("RGB", (100, 200)).save(root / "camera" / "tall.png")
    sample = CameraLog.load(root).samples[0]
    with pytest.raises(ValueError, match=r"made_up/a/0: its images are 320 x 180 and 100 x 200 px.*one"):
        sample_rig(sample)
    rig = sample_rig(sample, (100, 100))
    assert rig.intrinsics[1, [0, 1], [0, 1]].tolist() == pytest.approx([250.0, 125.0])
    assert rig_of_frame(sample.cameras[1], 50).height == 100


def test_a_rounded_rotation_is_made_exact_and_another_matrix_rejected(sample: CameraSample) -> None:
    rounded = np.array(BACKWARD)
    rounded[:3, :3] += 2e-3
    frame = replace(sample.cameras[1], ego_from_camera=rounded)
    rotation = sample_rig(replace(sample, cameras=(frame,))).rig_from_camera[0, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    squeezed = np.diag([1.0, 1.0, 0.5, 1.0])
    broken = replace(frame, ego_from_camera=squeezed)
    with pytest.raises(
        ValueError, match=r"jsonl line 2: cam_to_ego of camera 'back' holds .*expected a rotation"
    ):
        sample_rig(replace(sample, cameras=(sample.cameras[0], broken)))


@pytest.mark.parametrize("focal", [0.0, -250.0, float("nan")])
def test_singular_intrinsics_are_rejected_by_line_and_camera(sample: CameraSample, focal: float) -> None:
    intrinsics = np.array(SKEWED)
    intrinsics[0, 0] = focal
    broken = replace(sample.cameras[1], intrinsics=intrinsics)
    with pytest.raises(ValueError, match=r"jsonl line 2: CameraRig\.intrinsics of camera 'back'"):
        sample_rig(replace(sample, cameras=(sample.cameras[0], broken)))
