"""Reading real frames: what is accepted, and one summary_line with file, line and field for what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptation.frames.camera_log import CameraLog, data_folder
from simulator.conventions import CAR, STATIC, TRUCK

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
        ({"K": [[960.0, 0, 800.0], [0, 960.0, 450.0], [0, 0, 1]]}, r"K=.*\(800, 450\).*about 1600 x 900 px"),
        (
            {"K": [[60.0, 0, 80.0], [0, 60.0, 45.0], [0, 0, 1]]},
            r"K=.*\(80, 45\), .*320 x 180 px; .*160 x 90 px",
        ),
        ({"K": [[0.8, 0, 0.5], [0, 1.4, 0.5], [0, 0, 1]]}, r"K=.*\(0\.5, 0\.5\), .*about 1 x 1 px"),
        ({"K": [[250.0, 0, -9.0], [0, 250.0, 90.0], [0, 0, 1]]}, r"K=.*\(-9, 90\), .*320 x 180 px; expected"),
        ({"K": [[1e30, 0, 160.0], [0, 250.0, 90.0], [0, 0, 1]]}, "K=.*at most 1e"),
        ({"ego_to_world": np.diag([1.0, -1.0, -1.0, 1.0]).tolist()}, "ego_to_world=.*upright"),
        ({"timestamp": "yesterday"}, "timestamp='yesterday'"),
        ({"timestamp": "20180801120000123"}, "timestamp='20180801120000123'"),
        ({"timestamp": float("nan")}, "timestamp=nan"),
        ({"timestamp": 10**400}, "timestamp=1000"),
        ({"timestamp_unit": "minutes"}, "timestamp_unit='minutes'; expected one of s, ms, us, ns"),
        ({"ego_frame": ["moon"]}, r"ego_frame=\['moon'\]"),
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


def test_boxes_of_impossible_size_or_without_a_class_name_are_rejected(
    line: Line, write_log: WriteLog
) -> None:
    for change, words in (
        ({"cls": None}, "cls=None; expected the name of a class"),
        ({"cls": 3}, "cls=3"),
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


def test_unknown_classes_are_drawn_as_static_and_named_once_with_their_count(
    line: Line, write_log: WriteLog, caplog: pytest.LogCaptureFixture
) -> None:
    (box,) = line()["boxes"]
    boxes = [box | {"cls": name} for name in ("Bus/RV/Caravan", "spaceship", "Sign", "ufo", "spaceship")]
    root = write_log(line(boxes=boxes), line(frame=1, image="b.png", boxes=boxes[1:2]))
    with caplog.at_level("INFO"):
        sample = CameraLog.load(root).samples[0]
    assert sample.cameras[0].boxes.kind.tolist() == [TRUCK, STATIC, STATIC, STATIC, STATIC]
    said = [record.getMessage() for record in caplog.records if "unknown classes," in record.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("boxes of unknown classes, drawn as static: 3 'spaceship', 1 'ufo'")


def test_areas_to_ignore_are_left_out_and_counted(
    line: Line, write_log: WriteLog, caplog: pytest.LogCaptureFixture
) -> None:
    """KITTI gives them a size of -1 and a position of -1000 m."""
    (box,) = line()["boxes"]
    ignored = {"cls": "DontCare", "lwh": [-1, -1, -1], "corners_cam": [[-1000.0] * 3] * 8}
    with caplog.at_level("INFO"):
        camera_log = CameraLog.load(write_log(line(boxes=[ignored, box, ignored])))
    assert camera_log.samples[0].cameras[0].boxes.kind.tolist() == [CAR]
    assert "left out: 2 'DontCare'" in caplog.text


@pytest.mark.parametrize(
    ("width", "height", "centre"),
    [(1920, 886, (960, 246)), (1408, 376, (682, 238)), (704, 256, (363, 67)), (1242, 375, (609, 173))],
    ids=["Waymo, side", "KITTI-360", "nuScenes, without the sky", "KITTI"],
)
def test_principal_points_of_cropped_images_are_accepted(
    line: Line, write_log: WriteLog, width: int, height: int, centre: tuple[int, int]
) -> None:
    matrix = [[900.0, 0, centre[0]], [0, 900.0, centre[1]], [0, 0, 1]]
    root = write_log(line(width=width, height=height, K=matrix))
    Image.new("RGB", (width, height)).save(root / "camera" / "front.png")
    assert CameraLog.load(root).samples[0].cameras[0].intrinsics.tolist() == matrix


def test_lines_that_are_not_json_objects_are_rejected(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(ValueError, match="line 2: is not JSON"):
        CameraLog.load(write_log(line(), '{"dataset": '))
    with pytest.raises(ValueError, match="line 1: is a JSON list"):
        CameraLog.load(write_log("[1, 2]"))
    for text in ("[" * 100_000, '{"frame": ' + "1" * 5000 + "}"):
        with pytest.raises(ValueError, match="line 1: is not JSON that can be read"):
            CameraLog.load(write_log(text))


def test_separators_inside_text_and_a_byte_order_mark_do_not_break_lines(
    line: Line, write_log: WriteLog
) -> None:
    root = write_log("\ufeff" + json.dumps(line(seq="a\u2028b\x85"), ensure_ascii=False))
    Image.new("RGB", (320, 180)).save(root / "camera" / "front.png")
    assert CameraLog.load(root).scenes == ["made_up/a\u2028b\x85"]


def test_missing_and_broken_images_are_rejected(line: Line, write_log: WriteLog) -> None:
    with pytest.raises(FileNotFoundError, match=r"line 1: image: there is no file .*nowhere\.png"):
        CameraLog.load(write_log(line(image="nowhere.png"), images=False))
    with pytest.raises(ValueError, match=r"line 1: image: .*cannot be decoded \(embedded null byte\)"):
        CameraLog.load(write_log(line(image="no\0name"), images=False))
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


def test_a_image_cut_short_is_rejected_when_it_is_decoded(line: Line, write_log: WriteLog) -> None:
    root = write_log(line())
    path = root / "camera" / "front.png"
    Image.effect_noise((320, 180), 50).convert("RGB").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    frame = CameraLog.load(root).samples[0].cameras[0]
    with pytest.raises(ValueError, match=r"line 1: image: .*front\.png cannot be decoded"):
        frame.load_image()
