"""Reading real frames: what is accepted, and one summary_line with file, line and field for what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptation.frames.camera_log import CameraLog, data_folder
from simulator.conventions import CAR

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]


def test_images_of_one_instant_become_one_sample(line: Line, write_log: WriteLog) -> None:
    root = write_log(
        line(),
        line(cam="back", image="back.png"),
        line(frame=1, image="front1.png"),
        line(seq="b", image="b.png"),
    )
    camera_log = CameraLog.load(root)
    assert [sample.name for sample in camera_log.samples] == ["made_up/a/0", "made_up/a/1", "made_up/b/0"]
    assert [camera.camera for camera in camera_log.samples[0].cameras] == ["front", "back"]
    assert camera_log.scenes == ["made_up/a", "made_up/b"]
    assert camera_log.samples[0].cameras[0].load_image().shape == (180, 320, 3)
    assert camera_log.samples[0].cameras[0].boxes.kind.tolist() == [CAR]


def test_a_box_comes_back_from_its_corners(line: Line, write_log: WriteLog) -> None:
    frame = CameraLog.load(write_log(line())).samples[0].cameras[0]
    position, yaw = frame.level_boxes()
    np.testing.assert_allclose(position, [[15.0, 1.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(yaw, [0.3], atol=1e-9)


def test_a_box_does_not_depend_on_which_front_corner_comes_first(line: Line, write_log: WriteLog) -> None:
    swapped = line()
    corners = swapped["boxes"][0]["corners_cam"]
    swapped["boxes"][0]["corners_cam"] = [corners[i] for i in (1, 0, 3, 2, 5, 4, 7, 6)]
    position, yaw = CameraLog.load(write_log(swapped)).samples[0].cameras[0].level_boxes()
    np.testing.assert_allclose(position, [[15.0, 1.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(yaw, [0.3], atol=1e-9)


def test_a_leaning_box_is_set_upright_about_its_centre(line: Line, write_log: WriteLog) -> None:
    """The car of the synthetic log, 1.5 m high, leaning to its left by 0.1 m at the top and to its right below."""
    leaning = line()
    corners = np.array(leaning["boxes"][0]["corners_cam"])
    corners[:, 0] += np.repeat([0.1, -0.1], 4)
    leaning["boxes"][0]["corners_cam"] = corners.tolist()
    position, yaw = CameraLog.load(write_log(leaning)).samples[0].cameras[0].level_boxes()
    np.testing.assert_allclose(position, [[15.0, 1.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(yaw, [0.3], atol=1e-9)


def test_a_pitched_vehicle_sees_an_upright_world(line: Line, write_log: WriteLog) -> None:
    pitch = 0.05
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]]
    frame = CameraLog.load(write_log(line(ego_to_world=pose.tolist()))).samples[0].cameras[0]
    np.testing.assert_allclose(frame.level_from_rig()[:3, :3], pose[:3, :3], atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"K": [[250.0, 0.0], [0.0, 250.0]]}, "K=.*3 x 3"),
        ({"K": [[0.0, 0.0, 5.0], [0.0, 250.0, 5.0], [0.0, 0.0, 1.0]]}, "K=.*positive focal"),
        ({"ego_to_world": [[float("nan")] * 4] * 4}, "ego_to_world=.*finite"),
        ({"cam_to_ego": np.zeros((4, 4)).tolist()}, "cam_to_ego=.*rigid"),
        ({"cam_to_ego": "north"}, "cam_to_ego='north'.*4 x 4"),
        ({"width": 321}, r"image: .*320 x 180 px, but width and height say 321 x 180"),
        ({"frame": -1}, "frame=-1; expected a whole number"),
        ({"timestamp": "yesterday"}, "timestamp='yesterday'"),
        ({"boxes": {}}, "boxes={}; expected a list"),
        ({"boxes": [{"cls": "Car", "lwh": [1, 1, 1]}]}, r"boxes\[0\]\.corners_cam' is missing"),
        ({"ego_frame": "moon"}, "ego_frame='moon'; expected one of"),
        ({"ground_plane_ego": [1.0, 0.0, 0.0, 1.0]}, "ground_plane_ego=.*points up"),
    ],
)
def test_a_bad_field_is_rejected_by_line_and_name(
    line: Line, write_log: WriteLog, changes: dict[str, Any], words: str
) -> None:
    root = write_log(line(), line(frame=1, image="second.png") | changes)
    with pytest.raises(ValueError, match=rf"frames\.jsonl line 2: .*{words}"):
        CameraLog.load(root)


@pytest.mark.parametrize(
    "field", ["dataset", "cam", "K", "cam_to_ego", "ego_to_world", "boxes", "timestamp", "width"]
)
def test_a_missing_field_is_rejected_by_name(line: Line, write_log: WriteLog, field: str) -> None:
    broken = line()
    del broken[field]
    with pytest.raises(ValueError, match=f"line 1: the field '{field}' is missing"):
        CameraLog.load(write_log(broken))


def test_boxes_of_unknown_class_or_impossible_size_are_rejected(line: Line, write_log: WriteLog) -> None:
    for change, words in (
        ({"cls": "spaceship"}, "cls='spaceship'"),
        ({"lwh": [4.0, -2.0, 1.5]}, "lwh=.*positive"),
    ):
        broken = line()
        broken["boxes"][0] |= change
        with pytest.raises(ValueError, match=rf"boxes\[0\]\.{words}"):
            CameraLog.load(write_log(broken))
    broken = line()
    broken["boxes"][0]["corners_cam"] = (
        broken["boxes"][0]["corners_cam"][1:] + broken["boxes"][0]["corners_cam"][:1]
    )
    with pytest.raises(ValueError, match="front, front, rear, rear"):
        CameraLog.load(write_log(broken))


def test_lines_that_are_not_json_objects_are_rejected(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(ValueError, match="line 2: is not JSON"):
        CameraLog.load(write_log(line(), '{"dataset": '))
    with pytest.raises(ValueError, match="line 1: is a JSON list"):
        CameraLog.load(write_log("[1, 2]"))


def test_missing_and_broken_images_are_rejected(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(FileNotFoundError, match=r"line 1: image: there is no file .*nowhere\.png"):
        CameraLog.load(write_log(line(image="nowhere.png"), images=False))
    root = write_log(line())
    (root / "camera" / "front.png").write_bytes(b"not a image")
    with pytest.raises(ValueError, match=r"line 1: image: .*cannot be decoded"):
        CameraLog.load(root)


def test_a_image_that_changes_size_after_loading_is_rejected(line: Line, write_log: WriteLog) -> None:
    root = write_log(line())
    camera_log = CameraLog.load(root)
    Image.new("RGB", (10, 10)).save(root / "camera" / "front.png")
    with pytest.raises(ValueError, match="10 x 10 px"):
        camera_log.samples[0].cameras[0].load_image()


def test_a_camera_listed_twice_is_rejected(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(ValueError, match="lists a camera twice"):
        CameraLog.load(write_log(line(), line()))


def test_no_data_is_rejected_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GIGAPIXEL_DATA", raising=False)
    with pytest.raises(ValueError, match=r"GIGAPIXEL_DATA, which is not set.*stand_in"):
        data_folder()
    monkeypatch.setenv("GIGAPIXEL_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"has no camera/frames\.jsonl"):
        data_folder()


def test_times_of_every_kind_become_seconds(line: Line, write_log: WriteLog) -> None:
    root = write_log(
        line(timestamp=1_500_000),
        line(frame=1, image="b.png", timestamp=2.25),
        line(frame=2, image="c.png", timestamp="1970-01-01T00:00:03Z"),
        line(frame=3, image="d.png", timestamp=None),
    )
    assert [sample.timestamp_s for sample in CameraLog.load(root).samples] == [1.5, 2.25, 3.0, None]
