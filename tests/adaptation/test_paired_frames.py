"""A real sample and its rendering correspond pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptation.frames.calibrated_rig import rig_of_frame, virtual_camera_rig
from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.lanes import LaneMap
from adaptation.pairs.pair import collate
from adaptation.pairs.pair_grid import calibration_grid, pair_grid
from adaptation.pairs.paired_frames import PairedFrames, choose_source, render_frame, virtual_view
from adaptation.pairs.reconstruction import ground_normal_rig, local_ground, scene_of_frame
from renderer.camera import CameraRig
from renderer.palette import ClassId
from renderer.render import render

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
LEVEL = np.array([0.0, 0.0, 1.0])


@pytest.fixture
def frame(line: Line, write_log: WriteLog) -> CameraFrame:
    """The synthetic image with a car 15 m ahead."""
    return CameraLog.load(write_log(line())).samples[0].cameras[0]


def projected(frame: CameraFrame, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel bounds (low, high) of the only box's corners, at another image size."""
    pixels = frame.boxes.corners_camera[0] @ frame.intrinsics.T
    pixels = scale * pixels[:, :2] / pixels[:, 2:]
    return pixels.min(0), pixels.max(0)


def test_a_drawn_box_fills_the_projection_of_its_corners(frame: CameraFrame) -> None:
    rig = rig_of_frame(frame, frame.width)
    seen = (
        render(scene_of_frame(frame, LEVEL), rig, backend="reference").class_id[0, 0].numpy() == ClassId.CAR
    )
    rows, columns = np.nonzero(seen)
    low, high = projected(frame, 1.0)
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=1.5)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high, atol=1.5)


def test_rendering_through_the_virtual_camera_equals_resampling_the_rendering(frame: CameraFrame) -> None:
    """So both sides of a pair are the same resampling of the same view."""
    rig = CameraRig.nuplan(27, 48)
    view = virtual_view(frame, rig, 0)
    large = render_frame(frame, rig_of_frame(frame, frame.width), LEVEL, backend="reference")
    warped = view.resample(large).astype(int)
    drawn = render_frame(frame, virtual_camera_rig(frame, rig, 0), LEVEL, backend="reference").astype(int)
    covered = view.covered()
    close = np.abs(warped - drawn).max(-1) <= 12
    assert covered.mean() > 0.5
    assert close[covered].mean() > 0.93  # the rest are pixels that an edge runs through


def test_the_image_that_covers_most_is_chosen_and_uncovered_cameras_are_masked(
    line: Line, write_log: WriteLog
) -> None:
    narrow = line(cam="narrow", image="n.png", K=[[600.0, 0.0, 160.0], [0.0, 600.0, 90.0], [0.0, 0.0, 1.0]])
    sample = CameraLog.load(write_log(narrow, line())).samples[0]
    rig = CameraRig.nuplan(18, 32)
    source = choose_source(sample, rig, rig.names.index("front"))
    assert source is not None
    assert source.frame.camera == "front"
    assert choose_source(sample, rig, rig.names.index("back")) is None


def test_pairs_are_on_the_students_cameras(line: Line, write_log: WriteLog) -> None:
    pose = np.eye(4)
    pose[0, 3] = 3.0
    root = write_log(line(), line(frame=1, image="b.png", timestamp=0.5, ego_to_world=pose.tolist()))
    pairs = PairedFrames(CameraLog.load(root), CameraRig.nuplan(18, 32), backend="reference")
    assert [pair.name for pair in pairs] == ["made_up/a/0", "made_up/a/1"]
    assert pairs[0].camera_mask.tolist() == [True, False, False, False]
    assert int(pairs[0].real[1:].max()) == int(pairs[0].rendering[1:].max()) == 0
    assert pairs[0].real[0].float().std(0).max() == 0.0  # a image of one colour stays one
    batch = collate(list(pairs))
    batch.real.validate()
    assert batch.real.ego.equal(batch.rendering.ego)
    assert float(batch.real.ego[0, 0]) == pytest.approx(0.6)  # 6 m/s: 3 m in half a second


def test_the_ground_follows_the_bottoms_of_boxes(line: Line, write_log: WriteLog) -> None:
    slope = 0.01
    items = []
    for distance in (10.0, 20.0, 30.0, 40.0):
        item = line()["boxes"][0]
        corners = np.array(item["corners_cam"]) + np.array([0.0, -slope * distance, distance - 15.0])
        items.append(item | {"corners_cam": corners.tolist()})
    sample = CameraLog.load(write_log(line(boxes=items))).samples[0]
    normal = ground_normal_rig(sample)
    assert -normal[0] / normal[2] == pytest.approx(slope, abs=0.002)
    empty = CameraLog.load(write_log(line(boxes=[]))).samples[0]
    np.testing.assert_allclose(ground_normal_rig(empty), LEVEL)


def test_what_stands_far_aside_does_not_tilt_the_road(line: Line, write_log: WriteLog) -> None:
    """Six people on a quay a metre below the road, 40 m to the left."""
    person = line()["boxes"][0]
    aside = np.array(person["corners_cam"]) + np.array([-40.0, 1.0, 0.0])
    quay = [person | {"cls": "Pedestrian", "corners_cam": aside.tolist()}] * 6
    sample = CameraLog.load(write_log(line(boxes=[person, *quay]))).samples[0]
    np.testing.assert_allclose(ground_normal_rig(sample), LEVEL, atol=1e-6)


def test_a_car_says_more_about_the_road_than_a_person_on_the_pavement(
    line: Line, write_log: WriteLog
) -> None:
    """Side by side 15 m ahead, the person 0.3 m higher: the road passes close under the car."""
    car = line()["boxes"][0]
    raised = np.array(car["corners_cam"]) + np.array([0.0, -0.3, 0.0])
    person = car | {"cls": "Pedestrian", "corners_cam": raised.tolist()}
    normal = ground_normal_rig(CameraLog.load(write_log(line(boxes=[car, person]))).samples[0])
    height_m = -(normal[0] * 15.0 + normal[1] * 1.0) / normal[2]
    assert 0.0 < height_m < 0.04


def test_a_given_ground_plane_is_used(line: Line, write_log: WriteLog) -> None:
    plane = [math.sin(0.02), 0.0, math.cos(0.02), 1.7]
    sample: CameraSample = CameraLog.load(
        write_log(line(ground_plane_ego=plane, ego_frame="velodyne"))
    ).samples[0]
    np.testing.assert_allclose(ground_normal_rig(sample), plane[:3])
    assert sample.cameras[0].rig_from_ego()[2, 3] == pytest.approx(1.7 / plane[2])


def test_lanes_of_the_world_are_drawn_around_the_viewer(line: Line, write_log: WriteLog) -> None:
    """A vehicle at (100, 50) heading north sees a road that runs north."""
    import shapely

    pose = np.array(
        [[0.0, -1.0, 0.0, 100.0], [1.0, 0.0, 0.0, 50.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    frame = CameraLog.load(write_log(line(ego_to_world=pose.tolist(), boxes=[]))).samples[0].cameras[0]
    road = LaneMap(shapely.box(96.0, 0.0, 104.0, 200.0), (), ())
    mesh = local_ground(frame, LEVEL, road)
    x, y = mesh.quads[..., 0], mesh.quads[..., 1]
    assert float(y.abs().max()) == pytest.approx(4.0, abs=1e-4)
    assert float(x.min()) == pytest.approx(-50.0, abs=0.1)
    assert float(x.max()) > 95.0


def test_unknown_scenes_and_impossible_coverage_are_rejected(line: Line, write_log: WriteLog) -> None:
    camera_log = CameraLog.load(write_log(line()))
    with pytest.raises(ValueError, match="there is no scene 'made_up/z'"):
        PairedFrames(camera_log, CameraRig.nuplan(18, 32), ["made_up/z"])
    with pytest.raises(ValueError, match=r"min_coverage=0.0 must lie in \(0, 1\]"):
        PairedFrames(camera_log, CameraRig.nuplan(18, 32), min_coverage=0.0)


def test_grids_show_the_real_image_the_rendering_and_their_mean(line: Line, write_log: WriteLog) -> None:
    camera_log = CameraLog.load(write_log(line()))
    rig = CameraRig.nuplan(18, 32)
    (pair,) = PairedFrames(camera_log, rig, backend="reference")
    grid = np.asarray(pair_grid([pair], rig.names, scale=4)).astype(int)
    height, width = 4 * 18, 4 * 32
    left = 4 + (width + 4) * np.arange(3)
    cells = [grid[-4 - height : -4, x : x + width] for x in left]  # one row: the only unmasked camera
    for cell, image in zip(cells, (pair.real[0], pair.rendering[0])):
        np.testing.assert_array_equal(cell, image.numpy().repeat(4, axis=0).repeat(4, axis=1))
    assert np.abs(cells[2] - (cells[0] + cells[1]) / 2).max() <= 0.5
    assert np.abs(cells[0] - cells[1]).max() > 20

    (frame,) = camera_log.samples[0].cameras
    grid = np.asarray(calibration_grid(camera_log, [frame], 160, backend="reference"))
    rendering = render_frame(frame, rig_of_frame(frame, 160), LEVEL, backend="reference")
    assert grid.shape[1] == 3 * (160 + 4) + 4
    np.testing.assert_array_equal(grid[-4 - 90 : -4, 4 + 164 : 4 + 164 + 160], rendering)
    with pytest.raises(ValueError, match="no pair with an unmasked camera"):
        pair_grid([], rig.names)
