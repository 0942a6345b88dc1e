"""Time stamps of the index become seconds, in the unit that is plausible for their scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptation.frames.camera_log import CameraLog
from adaptation.frames.ego_motion import speed_mps

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]


def drive(line: Line, stamps: list[Any], spacing_m: float = 5.0, **changes: Any) -> list[dict[str, Any]]:
    """Lines of one scene whose car moves `spacing_m` from image to image."""
    lines = []
    for frame, stamp in enumerate(stamps):
        pose = np.eye(4)
        pose[0, 3] = spacing_m * frame
        image = f"{changes.get('seq', 'a')}{frame}.png"
        lines.append(line(frame=frame, image=image, timestamp=stamp, ego_to_world=pose.tolist(), **changes))
    return lines


@pytest.mark.parametrize(
    ("stamps", "unit"),
    [
        ([315969904359876000, 315969904859876000, 315969905359876000], "ns"),
        ([1533151603512404, 1533151604012404, 1533151604512404], "us"),
        ([1533151603512, 1533151604012, 1533151604512], "ms"),
        ([1533151603512.0, 1533151604012.0, 1533151604512.0], "ms"),
        ([1533151603.5, 1533151604, 1533151604.5], "s"),
        ([0, 0.5, 1], "s"),
        ([0, 500, 1000], "ms"),
        ([0.0, 5e8, 1e9], "ns"),
    ],
)
def test_the_unit_is_decided_by_plausibility_and_said(
    line: Line, write_log: WriteLog, caplog: pytest.LogCaptureFixture, stamps: list[Any], unit: str
) -> None:
    """Half a second and 5 m between two images: 10 m/s."""
    with caplog.at_level("INFO"):
        samples = CameraLog.load(write_log(*drive(line, stamps))).samples
    assert [speed_mps(sample, samples) for sample in samples] == pytest.approx([10.0] * 3, rel=1e-3)
    assert f"timestamp of made_up is in {unit} (steps of 0.5 s, 10 m/s), 1 scene" in caplog.text


def test_each_scene_has_its_own_unit(line: Line, write_log: WriteLog) -> None:
    lines = drive(line, [0, 500_000], seq="b") + drive(line, [0.0, 0.5], seq="c")
    lines += drive(line, ["1970-01-01T00:00:03Z", "1970-01-01T01:00:03.5+01:00"], seq="d")
    lines += drive(line, ["2018-08-01", "2018-08-01T00:00:00.500"], seq="e") + drive(
        line, [None, None], seq="f"
    )
    camera_log = CameraLog.load(write_log(*lines))
    times = {
        scene[-1]: [sample.timestamp_s for sample in camera_log.samples_of_scenes([scene])]
        for scene in camera_log.scenes
    }
    assert times.pop("f") == [None, None]
    assert times["d"] == [3.0, 3.5]
    assert all(second - first == 0.5 for first, second in times.values())


def test_a_unit_that_is_named_is_used(line: Line, write_log: WriteLog) -> None:
    stamps = [1533151603, 1533151663]  # a minute apart, standing: neither s nor ms is more plausible
    with pytest.raises(
        ValueError, match=r"line 1: timestamp=1533151603 of made_up/a may be in s .* timestamp_unit"
    ):
        CameraLog.load(write_log(*drive(line, stamps, spacing_m=0.0)))
    named = drive(line, stamps, spacing_m=0.0, timestamp_unit="s")
    assert [sample.timestamp_s for sample in CameraLog.load(write_log(*named)).samples] == stamps


def test_contradictions_are_refused(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(ValueError, match=r"timestamp of made_up/a is a number, and elsewhere a date"):
        CameraLog.load(write_log(*drive(line, ["2018-08-01T12:00:00", 3.0])))
    two = drive(line, [0, 1], timestamp_unit="s")[:1] + drive(line, [0, 1], timestamp_unit="ms")[1:]
    with pytest.raises(ValueError, match="timestamp_unit of made_up/a is s and ms; name one unit"):
        CameraLog.load(write_log(*two))
    with pytest.raises(
        ValueError, match=r"line 1: timestamp=0\.0 of made_up/a fits no unit: .*at most 70 m/s"
    ):
        CameraLog.load(write_log(*drive(line, [0.0, 0.5], spacing_m=2500.0)))
