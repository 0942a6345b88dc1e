"""Projection by hand, and validation of camera files."""

import dataclasses
import math

import pytest
import torch
import yaml

from renderer import Camera, CameraRig


def rig_of(height=100, width=200, focal=100.0, **mount):
    settings = {"x_m": 0.0, "y_m": 0.0, "z_m": 1.5, **mount}
    camera = Camera("only", width=width, height=height, focal_px=focal, **settings)
    return CameraRig.from_cameras([camera], height, width)


@pytest.mark.parametrize(
    "mount, point, pixel, depth",
    [
        ({}, (10, 0, 1.5), (100, 50), 10),  # straight ahead at the height of the camera: the centre
        ({}, (10, 1, 1.5), (90, 50), 10),  # a metre left at 10 m: f / 10 = 10 px left
        ({}, (10, 0, 0), (100, 65), 10),  # on the ground: 1.5 * f / 10 = 15 px down
        ({"x_m": 2.0, "y_m": -0.5}, (12, -0.5, 1.5), (100, 50), 10),  # the camera is not the rear axle
        ({"yaw_deg": 90.0}, (0, 10, 1.5), (100, 50), 10),  # yaw is to the left
        ({"yaw_deg": 90.0}, (1, 10, 1.5), (110, 50), 10),  # ... where the front is on the right
        ({"yaw_deg": 180.0}, (-10, 1, 1.5), (110, 50), 10),
        ({"pitch_deg": 45.0}, (10, 0, 11.5), (100, 50), 10 * math.sqrt(2)),  # pitch is upwards
        ({"roll_deg": 90.0}, (10, 0, 0), (115, 50), 10),  # rolled clockwise, the ground is on the right
        ({"roll_deg": 90.0}, (10, 1, 1.5), (100, 60), 10),  # ... and the left is below
    ],
)
def test_projection_by_hand(mount, point, pixel, depth):
    pixels, depths = rig_of(**mount).project(torch.tensor([point], dtype=torch.float32))
    torch.testing.assert_close(pixels[0, 0], torch.tensor(pixel, dtype=torch.float32), rtol=0, atol=1e-3)
    torch.testing.assert_close(depths[0, 0], torch.tensor(float(depth)), rtol=1e-5, atol=0)


def test_rays_come_back_to_their_pixel_centres():
    rig = CameraRig.nuplan()
    points = 7.5 * rig.rays  # camera frame, 7.5 m deep
    for camera in range(rig.num_cameras):
        pose = rig.rig_from_camera[camera]
        pixels, depth = rig.project(points[camera].reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3])
        x, y = pixels[camera].reshape(54, 96, 2).unbind(-1)
        torch.testing.assert_close(x, (torch.arange(96) + 0.5).expand(54, 96), rtol=0, atol=1e-3)
        torch.testing.assert_close(y, (torch.arange(54) + 0.5)[:, None].expand(54, 96), rtol=0, atol=1e-3)
        torch.testing.assert_close(depth[camera], torch.full((54 * 96,), 7.5))


def test_nuplan_field_of_view():
    rig = CameraRig.nuplan()
    for size, focal, degrees in ((96, rig.intrinsics[:, 0, 0], 63.7), (54, rig.intrinsics[:, 1, 1], 38.5)):
        field = torch.rad2deg(2 * torch.atan(size / 2 / focal))
        torch.testing.assert_close(field, torch.full((4,), degrees), rtol=0, atol=0.05)


def test_resizing_keeps_where_things_are():
    rig = CameraRig.nuplan(108, 192)
    points = torch.tensor([[20.0, 3.0, 0.5], [15.0, 20.0, 2.0], [-9.0, 1.0, 1.0]])
    small, large = rig.resized(27, 96).project(points)[0], rig.project(points)[0]
    torch.testing.assert_close(small * torch.tensor([2.0, 4.0]), large)
    back = rig.resized(27, 96).resized(108, 192)
    torch.testing.assert_close(back.intrinsics, rig.intrinsics)


def test_cameras_of_different_sizes_share_a_picture_size():
    wide = Camera("wide", 0.0, 0.0, 1.0, width=200, height=100, focal_px=(50.0, 60.0), centre_px=(80.0, 40.0))
    tall = Camera("tall", 0.0, 0.0, 1.0, width=50, height=400, focal_px=100.0)
    rig = CameraRig.from_cameras([wide, tall], height=100, width=100)
    assert rig.intrinsics[0].tolist() == [[25, 0, 40], [0, 60, 40], [0, 0, 1]]
    assert rig.intrinsics[1].tolist() == [[200, 0, 50], [0, 25, 50], [0, 0, 1]]


def test_shipped_files_load(repository):
    files = sorted((repository / "configs" / "cameras").glob("*.yaml"))
    assert {file.stem for file in files} >= {"nuplan", "front"}
    for file in files:
        CameraRig.from_yaml(file).validate()


def test_nuplan_file_is_the_default_rig(repository):
    rig, default = CameraRig.from_yaml(repository / "configs" / "cameras" / "nuplan.yaml"), CameraRig.nuplan()
    assert (rig.names, rig.height, rig.width) == (default.names, default.height, default.width)
    assert torch.equal(rig.intrinsics, default.intrinsics)
    assert torch.equal(rig.rig_from_camera, default.rig_from_camera)


def test_select_reorders():
    rig = CameraRig.nuplan()
    back_first = rig.select(["back", "front"])
    assert back_first.names == ("back", "front")
    assert torch.equal(back_first.rig_from_camera[1], rig.rig_from_camera[0])
    with pytest.raises(ValueError, match="camera 'roof' is not on this rig, which has front"):
        rig.select(["roof"])


GOOD = {"x_m": 1.0, "y_m": 0.0, "z_m": 1.5, "focal_px": 100.0, "width": 96, "height": 54}


def write(folder, **changes):
    entry = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    path = folder / "rig.yaml"
    path.write_text(yaml.safe_dump({"height": 54, "width": 96, "cameras": {"front": entry}}))
    return path


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"z_m": None}, "camera 'front' lacks z_m"),
        ({"zoom": 2}, "camera 'front' has unknown field 'zoom'; known are x_m"),
        ({"x_m": "far"}, "camera 'front' has x_m='far'; a finite number is needed"),
        ({"x_m": math.nan}, "has x_m=nan; a finite number is needed"),
        ({"width": 0}, "has width=0; a whole number of pixels above 0 is needed"),
        ({"focal_px": 0.0}, "singular or mirrored: fx=0"),
        ({"focal_px": [1.0, 2.0, 3.0]}, "a finite number is needed"),
    ],
)
def test_camera_file_with_a_wrong_field_is_rejected(tmp_path, changes, sentence):
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=sentence) as caught:
        CameraRig.from_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("[1, 2", "is not YAML"),
        ("- 1", "holds list; a camera file needs exactly height, width and cameras"),
        ("{height: 54, width: 96, camera: {}}", "holds height, width, camera; a camera file needs exactly"),
        ("{height: 54, width: 96, cameras: {}}", "cameras must map at least one name"),
        ("{height: 54, width: 96, cameras: {front: 3}}", "camera 'front' is 3; it must map"),
        ("{height: 0, width: 96, cameras: {}}", "height=0 must be a whole number from 1"),
        ("{height: 54, width: 9.5, cameras: {}}", "width=9.5 must be a whole number"),
    ],
)
def test_broken_camera_file_is_rejected(tmp_path, text, sentence):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        CameraRig.from_yaml(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: no such camera file"):
        CameraRig.from_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"height": 0}, "height=0 must be a whole number from 1"),
        ({"names": ()}, "at least one name"),
        ({"intrinsics": torch.zeros(1, 3, 3)}, "must be"),
        (
            {"intrinsics": torch.eye(4)[None]},
            r"shape \(1, 4, 4\); it must be torch.float32 of shape \(1, 3, 3\)",
        ),
        ({"intrinsics": torch.eye(3, dtype=torch.float64)[None]}, "torch.float64"),
        (
            {"intrinsics": torch.diag(torch.tensor([1.0, 0.0, 1.0]))[None]},
            "singular or mirrored: fx=1 and fy=0",
        ),
        ({"intrinsics": torch.full((1, 3, 3), math.nan)}, "camera 'only' hold a value that is not finite"),
        (
            {"rig_from_camera": torch.full((1, 4, 4), math.inf)},
            "camera 'only' holds a value that is not finite",
        ),
        ({"rig_from_camera": 2 * torch.eye(4)[None]}, "must be a rotation and a translation"),
    ],
)
def test_invalid_rig_is_rejected(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(rig_of(), **changes).validate()
