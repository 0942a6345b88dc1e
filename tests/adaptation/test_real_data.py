"""On the real frames, where a machine has them: calibration, pairing and the split hold up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from adaptation.camera_log import CameraLog
from adaptation.frame import BOX_CLASSES, CameraFrame
from adaptation.lanes import lane_map_of
from adaptation.pairs import PairedFrames, own_rig
from adaptation.reconstruction import ground_normal_rig, scene_of
from renderer.camera import CameraRig
from renderer.render import render

NUSCENES = "nuscenes_mini/scene-0103"


@pytest.fixture(scope="module")
def camera_log(real_data: Path) -> CameraLog:
    return CameraLog.load(real_data)


def test_every_moment_is_there(camera_log: CameraLog) -> None:
    assert len(camera_log.moments) == 100
    assert sum(len(moment.cameras) for moment in camera_log.moments) == 125
    assert max(len(moment.cameras) for moment in camera_log.moments) == 6
    assert {
        scene for scene in camera_log.scenes if any(m.pseudo_labels for m in camera_log.of_scenes([scene]))
    } == {"kitti_sfnd78/2011_09_26_drive_unknown"}


def nearest_box(frame: CameraFrame) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Index and projected bounds (px) of the nearest box that is wholly in front of the camera and in the picture."""
    found = None
    for i in np.argsort(frame.boxes.corners_camera[..., 2].mean(1)):
        corners = frame.boxes.corners_camera[i]
        pixels = corners @ frame.intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        low, high = pixels.min(0), pixels.max(0)
        if corners[:, 2].min() > 1 and (low > 0).all() and (high < (frame.width, frame.height)).all():
            found = (int(i), low, high)
            break
    return found


def test_boxes_are_drawn_where_the_calibration_puts_them(camera_log: CameraLog) -> None:
    """The nearest whole box of one picture per scene: drawn and projected outlines differ by a pixel or two."""
    checked = 0
    for scene in camera_log.scenes:
        moment = camera_log.of_scenes([scene])[0]
        found = nearest_box(moment.cameras[0])
        if found is None:
            continue
        frame, (index, low, high) = moment.cameras[0], found
        alone = scene_of(frame, ground_normal_rig(moment))
        alone.box_class[0, [i for i in range(len(frame.boxes)) if i != index]] = -1
        rig = own_rig(frame, frame.width // 2)
        seen = render(alone, rig, backend="reference").class_id[0, 0].numpy() >= 10
        rows, columns = np.nonzero(seen)
        np.testing.assert_allclose([columns.min(), rows.min()], low / 2, atol=2.5)
        np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high / 2, atol=2.5)
        checked += 1
    assert checked >= 4


def test_nuscenes_has_lanes_under_its_wheels(camera_log: CameraLog, real_data: Path) -> None:
    import shapely

    lane_map = lane_map_of(real_data, *NUSCENES.split("/"))
    assert lane_map is not None
    assert lane_map.markings
    for moment in camera_log.of_scenes([NUSCENES]):
        assert moment.world_from_ego is not None
        assert lane_map.drivable.contains(shapely.Point(moment.world_from_ego[:2, 3]))


def test_four_cameras_where_there_are_six_and_one_where_there_is_one(camera_log: CameraLog) -> None:
    rig = CameraRig.nuplan(27, 48)
    pairs = list(PairedFrames(camera_log, rig, [NUSCENES, "kitti_tracking8/0001"], backend="reference"))
    assert [pair.camera_mask.tolist() for pair in pairs] == [[True] * 4] * 2 + [
        [True, False, False, False]
    ] * 5


def test_the_shipped_split_holds_out_whole_scenes_with_true_boxes(
    camera_log: CameraLog, repository: Path
) -> None:
    for name in ("cpu", "base"):
        held = yaml.safe_load((repository / "configs" / "adaptation" / f"{name}.yaml").read_text())["data"][
            "held_out"
        ]
        assert held
        for scene in held:
            assert not any(moment.pseudo_labels for moment in camera_log.of_scenes([scene]))
        assert len(camera_log.of_scenes(held)) >= 5


def test_every_class_name_of_the_data_is_known(camera_log: CameraLog) -> None:
    used = {int(i) for moment in camera_log.moments for frame in moment.cameras for i in frame.boxes.class_id}
    assert used <= set(BOX_CLASSES.values())
