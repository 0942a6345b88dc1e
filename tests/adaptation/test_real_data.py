"""On the real frames, where a machine has them: calibration, pairs and split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from adaptation.frames.calibrated_rig import rig_of_frame
from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.camera_log import CameraLog
from adaptation.frames.class_names import kind_of_class_name
from adaptation.pairs.lanes import lane_map_of
from adaptation.pairs.paired_frames import PairedFrames
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of_frame
from renderer.camera import CameraRig
from renderer.palette import ClassId
from renderer.render import render
from renderer.scene import Scene
from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK

NUSCENES = "nuscenes_mini/scene-0103"


@pytest.fixture(scope="module")
def camera_log(real_data: Path) -> CameraLog:
    return CameraLog.load(real_data)


def test_every_sample_of_the_data_is_read(camera_log: CameraLog) -> None:
    assert len(camera_log.samples) == 100
    assert sum(len(sample.cameras) for sample in camera_log.samples) == 125
    assert max(len(sample.cameras) for sample in camera_log.samples) == 6
    assert {
        scene
        for scene in camera_log.scenes
        if any(m.pseudo_labels for m in camera_log.samples_of_scenes([scene]))
    } == {"kitti_sfnd78/2011_09_26_drive_unknown"}


def nearest_box(frame: CameraFrame) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Index and projected bounds (px) of the nearest box that lies completely in the image."""
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
    """The nearest complete box of one image per scene: rendered and projected bounds differ by a pixel or two."""
    checked = 0
    for scene in camera_log.scenes:
        sample = camera_log.samples_of_scenes([scene])[0]
        found = nearest_box(sample.cameras[0])
        if found is None:
            continue
        frame, (index, low, high) = sample.cameras[0], found
        alone = scene_of_frame(frame, ground_normal_rig(sample))
        alone.box_class[0, [i for i in range(len(frame.boxes)) if i != index]] = -1
        rig = rig_of_frame(frame, frame.width // 2)
        seen = render(alone, rig, backend="reference").class_id[0, 0].numpy() >= 10
        rows, columns = np.nonzero(seen)
        np.testing.assert_allclose([columns.min(), rows.min()], low / 2, atol=2.5)
        np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high / 2, atol=2.5)
        checked += 1
    assert checked >= 4


LEAST_SIDE_PX = 12
DRAWN_M = 90.0
"""Boxes further away are faded by fog; smaller ones give no accurate bounds."""


def data_bounds(frame: CameraFrame, box: int, rig: CameraRig) -> np.ndarray | None:
    """Left, top, right, bottom (px) of the data set's corners in the rig's image; None for boxes not to check."""
    corners = frame.boxes.corners_camera[box]
    if corners[:, 2].min() < 0.5 or corners[:, 2].max() > DRAWN_M:
        return None
    pixels = corners @ rig.intrinsics[0].double().numpy().T
    pixels = np.clip(pixels[:, :2] / pixels[:, 2:], 0, (rig.width, rig.height))
    bounds = np.concatenate([pixels.min(0), pixels.max(0)])
    return bounds if (bounds[2:] - bounds[:2]).min() >= LEAST_SIDE_PX else None


def drawn_bounds(scene: Scene, box: int, rig: CameraRig) -> np.ndarray:
    """Left, top, right, bottom (px) of the pixels that the box covers when it is rendered alone."""
    others = scene.box_class.clone()
    others[:, :box], others[:, box + 1 :] = -1, -1
    seen = render(replace(scene, box_class=others), rig, channels=("instance_id",)).instance_id[0, 0].numpy()
    rows, columns = np.nonzero(seen == box)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two rectangles."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    both = np.maximum(sides, 0).prod()
    return both / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - both)


def test_drawn_boxes_lie_where_the_data_set_has_them(camera_log: CameraLog) -> None:
    """Two samples per scene, every camera, with ground and lanes; no side of the boxes is biased.

    nuScenes' boxes are 0.4 px wider than in the files, where they are tilted with their camera; ours are upright.
    """
    for scene in camera_log.scenes:
        overlaps, sides = [], []
        for sample in camera_log.samples_of_scenes([scene])[:2]:
            lanes = lane_map_of(camera_log.root, sample.dataset, sample.seq)
            for frame in sample.cameras:
                rig = rig_of_frame(frame, frame.width // 2)
                drawn = scene_of_frame(frame, ground_normal_rig(sample), lanes)
                for box in range(len(frame.boxes)):
                    expected = data_bounds(frame, box, rig)
                    if expected is not None:
                        found = drawn_bounds(drawn, box, rig)
                        overlaps.append(overlap(found, expected))
                        sides.append(found - expected)
        assert np.median(overlaps) > 0.93, scene
        assert np.min(overlaps) > 0.7, scene
        assert np.abs(np.mean(sides, axis=0)).max() < 0.6, scene


def road_cars(sample: CameraSample) -> np.ndarray:
    """[cars, 3] m: points under cars and trucks on the road within 45 m, rig frame."""
    found = []
    for frame in sample.cameras:
        pose = frame.rig_from_camera()
        bottoms = frame.boxes.corners_camera[:, :4].mean(axis=1) @ pose[:3, :3].T + pose[:3, 3]
        on_road = np.isin(frame.boxes.kind, (CAR, TRUCK)) & (np.abs(bottoms[:, 1]) < 10)
        found.append(bottoms[on_road & (np.linalg.norm(bottoms[:, :2], axis=1) < 45)])
    return np.concatenate(found)


def test_real_cars_stand_on_the_rendered_ground(camera_log: CameraLog) -> None:
    for scene in camera_log.scenes:
        heights = [
            road_cars(sample) @ ground_normal_rig(sample) for sample in camera_log.samples_of_scenes([scene])
        ]
        assert np.median(np.abs(np.concatenate(heights))) < 0.08, scene


def paint_offsets_m(sample: CameraSample, frame: CameraFrame, root: Path) -> np.ndarray:
    """[rows, 2] m: distance of an image row, and how far the rendered yellow line is right of the real one in it."""
    rig = rig_of_frame(frame, frame.width // 2)
    lanes = lane_map_of(root, sample.dataset, sample.seq)
    drawn = render(
        scene_of_frame(frame, ground_normal_rig(sample), lanes), rig, channels=("class_id", "depth")
    )
    image = Image.fromarray(frame.load_image()).resize((rig.width, rig.height), Image.Resampling.BOX)
    hue, saturation, value = np.moveaxis(np.asarray(image.convert("HSV")).astype(int), -1, 0)
    real = (hue > 18) & (hue < 38) & (saturation > 60) & (value > 110)
    offsets = []
    for row in range(rig.height):
        ours = np.flatnonzero(drawn.class_id[0, 0, row] == ClassId.MARKING_YELLOW)
        theirs = np.flatnonzero(real[row])
        if len(ours) and len(theirs) > 2:
            depth = float(drawn.depth[0, 0, row, ours].mean())
            pixels = float(np.median(ours) - np.median(theirs))
            offsets.append((depth, pixels * depth / float(rig.intrinsics[0, 0, 0])))
    return np.array(offsets)


def test_drawn_lanes_lie_by_the_real_paint(camera_log: CameraLog) -> None:
    """The yellow line of nuScenes' map is 0.4 to 0.5 m right of the paint, ahead and behind alike: an error of the map
    or the poses. The error of a wrong pitch, roll or height of the ground would grow with distance."""
    for sample in camera_log.samples_of_scenes([NUSCENES]):
        for frame in sample.cameras:
            if frame.camera not in ("CAM_FRONT", "CAM_BACK"):
                continue
            depth, right = paint_offsets_m(sample, frame, camera_log.root).T
            right = right if frame.camera == "CAM_FRONT" else -right
            near, far = right[depth < 7], right[depth > 9]
            assert min(len(near), len(far)) > 20
            assert 0.3 < np.median(near) < 0.6
            assert abs(np.median(far) - np.median(near)) < 0.18


def test_nuscenes_has_lanes_under_its_wheels(camera_log: CameraLog, real_data: Path) -> None:
    import shapely

    lane_map = lane_map_of(real_data, *NUSCENES.split("/"))
    assert lane_map is not None
    assert lane_map.markings
    for sample in camera_log.samples_of_scenes([NUSCENES]):
        assert sample.world_from_ego is not None
        assert lane_map.drivable.contains(shapely.Point(sample.world_from_ego[:2, 3]))


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
            assert not any(sample.pseudo_labels for sample in camera_log.samples_of_scenes([scene]))
        assert len(camera_log.samples_of_scenes(held)) >= 5


def test_every_box_of_the_file_is_read_as_the_kind_of_its_class_name(camera_log: CameraLog) -> None:
    lines = (camera_log.root / "camera" / "frames.jsonl").read_text().splitlines()
    names = [box["cls"].lower() for line in lines for box in json.loads(line)["boxes"]]
    read = [
        int(kind) for sample in camera_log.samples for frame in sample.cameras for kind in frame.boxes.kind
    ]
    assert sorted(read) == sorted(kind_of_class_name(name) for name in names)
    for name, kind in (("car", CAR), ("truck", TRUCK), ("cyclist", CYCLIST), ("pedestrian", PEDESTRIAN)):
        assert name in names
        assert kind_of_class_name(name) == kind
