"""Speed and command of real samples, by hand arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptation.frames.camera_log import CameraLog
from adaptation.frames.ego_motion import (
    DEFAULT_SPEED_MPS,
    ego_inputs_of_sample,
    heading_change_rad,
    speed_mps,
)
from student.observation import EGO_SCALES, Command

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]


def pose(x: float, y: float) -> list[list[float]]:
    matrix = np.eye(4)
    matrix[:2, 3] = x, y
    return matrix.tolist()


def test_speed_is_distance_over_time_between_neighbours(line: Line, write_log: WriteLog) -> None:
    path = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.5), (3.0, 0.0, 1.0)]
    lines = [
        line(frame=i, image=f"{i}.png", ego_to_world=pose(x, y), timestamp=t)
        for i, (x, y, t) in enumerate(path)
    ]
    samples = CameraLog.load(write_log(*lines)).samples
    assert [speed_mps(sample, samples) for sample in samples] == pytest.approx([2.0, 3.0, 4.0])


def test_without_poses_or_times_or_neighbours_the_default_is_used(line: Line, write_log: WriteLog) -> None:
    lines = [
        line(seq="no pose", image="a.png", ego_to_world=None),
        line(seq="no time", image="b.png", timestamp=None),
        line(seq="alone", image="c.png"),
        line(seq="far", image="d.png"),
        line(seq="far", image="e.png", frame=1, timestamp=2.0),
    ]
    camera_log = CameraLog.load(write_log(*lines))
    for scene in camera_log.scenes:
        samples = camera_log.samples_of_scenes([scene])
        assert speed_mps(samples[0], samples) is None
        motion = ego_inputs_of_sample(samples[0], samples)
        assert float(motion.ego[0]) == pytest.approx(DEFAULT_SPEED_MPS / EGO_SCALES["speed_mps"])
        assert motion.command.argmax() == Command.UNKNOWN
        assert motion.conditioning.abs().max() == 0


def test_the_driven_path_gives_the_command(line: Line, write_log: WriteLog) -> None:
    angles = np.linspace(0, math.pi / 2, 30)
    for side, command in ((1, Command.LEFT), (-1, Command.RIGHT)):
        lines = [
            line(
                frame=i,
                image=f"{i}.png",
                timestamp=0.1 * i,
                ego_to_world=pose(20 * math.sin(a), side * 20 * (1 - math.cos(a))),
            )
            for i, a in enumerate(angles)
        ]
        samples = CameraLog.load(write_log(*lines)).samples
        change = heading_change_rad(samples[0], samples)
        assert change is not None
        assert change == pytest.approx(side * 28.0 / 20.0, abs=0.1)
        assert ego_inputs_of_sample(samples[0], samples).command.argmax() == command
        assert heading_change_rad(samples[-1], samples) is None
