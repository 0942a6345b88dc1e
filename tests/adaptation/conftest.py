"""A synthetic camera log: a forward camera, one car ahead, images of one colour."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy

WIDTH, HEIGHT = 320, 180
CAMERA_HEIGHT_M = 1.5
FORWARD = [
    [0.0, 0.0, 1.0, 1.6],
    [-1.0, 0.0, 0.0, 0.0],
    [0.0, -1.0, 0.0, CAMERA_HEIGHT_M],
    [0.0, 0.0, 0.0, 1.0],
]


def box_corners_camera(
    centre_ego: tuple[float, float], size: tuple[float, float, float], yaw: float, ego_from_camera: Any
) -> list[list[float]]:
    """Corners in the file's order of a box on the ground, in the camera frame."""
    length, width, height = size
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) / 2
    flat = signs * (length, width)
    turned = flat @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]) + centre_ego
    corners = np.array([(*point, z) for z in (0.0, height) for point in turned])
    camera_from_ego = np.linalg.inv(np.array(ego_from_camera))
    return (corners @ camera_from_ego[:3, :3].T + camera_from_ego[:3, 3]).tolist()


def synthetic_line(**changes: Any) -> dict[str, Any]:
    """One valid line of frames.jsonl."""
    size = (4.0, 2.0, 1.5)
    corners = box_corners_camera((15.0, 1.0), size, 0.3, FORWARD)
    fields: dict[str, Any] = {
        "dataset": "made_up",
        "seq": "a",
        "frame": 0,
        "cam": "front",
        "image": "front.png",
        "width": WIDTH,
        "height": HEIGHT,
        "timestamp": 0.0,
        "K": [[250.0, 0.0, WIDTH / 2], [0.0, 250.0, HEIGHT / 2], [0.0, 0.0, 1.0]],
        "cam_to_ego": FORWARD,
        "ego_to_world": np.eye(4).tolist(),
        "boxes": [{"cls": "Car", "id": 1, "lwh": list(size), "corners_cam": corners}],
    }
    return fields | changes


@pytest.fixture
def line() -> Callable[..., dict[str, Any]]:
    """Makes a valid line, with the given fields changed; images are 320 x 180."""
    return synthetic_line


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    """Write lines (dicts, or raw text) and their images; returns the data folder."""

    def write(*lines: dict[str, Any] | str, images: bool = True) -> Path:
        folder = tmp_path / "camera"
        folder.mkdir(exist_ok=True)
        text = [item if isinstance(item, str) else json.dumps(item) for item in lines]
        (folder / "frames.jsonl").write_text("\n".join(text) + "\n")
        for item in lines:
            if images and isinstance(item, dict) and isinstance(item.get("image"), str):
                colour = (90 + 7 * int(item.get("frame") or 0) % 100, 110, 130)
                Image.new("RGB", (WIDTH, HEIGHT), colour).save(folder / item["image"])
        return tmp_path

    return write


def untrained_student(seed: int) -> StudentPolicy:
    """A student of a few thousand weights, for four 32 x 18 cameras, whose plans depend on the images."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    encoder = EncoderConfig(features=16, channels=(8, 8))
    policy = StudentPolicy(
        PolicyConfig(encoder, PlannerConfig(hidden=32, layers=1), 4, height_px=18, width_px=32)
    )
    torch.nn.init.normal_(policy.planner.trajectory_head.project.weight, std=0.3)
    torch.set_rng_state(state)
    return policy.eval()


@pytest.fixture
def make_student() -> Callable[[int], StudentPolicy]:
    """Untrained students by seed."""
    return untrained_student


@pytest.fixture
def small_student() -> StudentPolicy:
    """One untrained student."""
    return untrained_student(3)
