"""Every rig in configs/cameras: cameras point where their names say, and agree with real calibrations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest
import torch
from scipy.spatial.transform import Rotation

from renderer import CameraRig
from renderer.camera import OPTICAL_AXES

FILES = sorted((Path(__file__).resolve().parents[2] / "configs" / "cameras").glob("*.yaml"))
AZIMUTH_DEG = {  # least and most that a camera of this name may look to the left
    "front": (-5, 5),
    "front_left": (40, 60),
    "front_right": (-60, -40),
    "side_left": (85, 105),
    "side_right": (-105, -85),
    "back_left": (105, 160),
    "back_right": (-160, -105),
    "back": (175, 185),
}
NUM_CAMERAS = {"argoverse2": 7, "front": 1, "kitti": 1, "nuplan": 4, "nuscenes": 6, "waymo": 5}


def rig_named(name: str) -> CameraRig:
    return CameraRig.from_yaml(next(file for file in FILES if file.stem == name))


def test_every_rig_is_listed() -> None:
    assert {file.stem: rig_named(file.stem).num_cameras for file in FILES} == NUM_CAMERAS


@pytest.mark.parametrize("name", NUM_CAMERAS)
def test_cameras_are_on_a_car_and_see_something(name: str) -> None:
    rig = rig_named(name)
    x, y, z = rig.rig_from_camera[:, :3, 3].unbind(-1)
    assert ((x > -1) & (x < 2.5)).all()
    assert (y.abs() < 0.7).all()
    assert ((z > 0.5) & (z < 3)).all()
    for side, size, least, most in ((0, rig.width, 40, 100), (1, rig.height, 20, 65)):
        centre, focal = rig.intrinsics[:, side, 2], rig.intrinsics[:, side, side]
        field_deg = torch.rad2deg(torch.atan(centre / focal) + torch.atan((size - centre) / focal))
        assert ((field_deg > least) & (field_deg < most)).all(), field_deg
    assert 4000 < rig.height * rig.width < 6000, "as many pixels as 96 x 54, or nearly"


@pytest.mark.parametrize("name", NUM_CAMERAS)
def test_cameras_look_where_their_names_say(name: str) -> None:
    """A point at the height of the camera, 20 m along its azimuth, is near the middle of the image."""
    rig = rig_named(name)
    for camera, view in enumerate(rig.names):
        least, most = AZIMUTH_DEG[view]
        ahead = rig.rig_from_camera[camera, :3, 2]
        azimuth = math.degrees(math.atan2(float(ahead[1]), float(ahead[0])))
        assert least < azimuth < most or least < azimuth + 360 < most, view
        middle = math.radians(azimuth)
        along = torch.tensor([math.cos(middle), math.sin(middle), 0.0])
        point = rig.rig_from_camera[camera, :3, 3] + 20 * along
        pixels, depth = rig.project(point[None])
        across, down = (pixels[camera, 0] / torch.tensor([rig.width, rig.height])).tolist()
        assert depth[camera, 0] > 15
        assert 0.4 < across < 0.6, view
        assert 0.2 < down < 0.6, view
        above, _ = rig.project((point + torch.tensor([0.0, 0.0, 1.0]))[None])
        left, _ = rig.project((point + torch.tensor([-math.sin(middle), math.cos(middle), 0.0]))[None])
        assert above[camera, 0, 1] < pixels[camera, 0, 1], f"{view} is upside down"
        assert left[camera, 0, 0] < pixels[camera, 0, 0], f"{view} is mirrored"


@pytest.mark.parametrize("name", ["argoverse2", "nuscenes", "waymo"])
def test_rigs_are_symmetric(name: str) -> None:
    """For each camera on the left there is a mirrored one on the right, within 5 cm and 3 degrees."""
    rig = rig_named(name)
    mirror = torch.tensor([1.0, -1.0, 1.0])
    for camera, view in enumerate(rig.names):
        if not view.endswith("left"):
            continue
        other = rig.names.index(view.replace("left", "right"))
        here, there = rig.rig_from_camera[camera, :3], rig.rig_from_camera[other, :3]
        torch.testing.assert_close(here[:, 3], mirror * there[:, 3], atol=0.05, rtol=0)
        assert float(here[:, 2] @ (mirror * there[:, 2])) > math.cos(math.radians(3))


def check_against(
    rig: CameraRig, view: str, place: np.ndarray, rotation: np.ndarray, focal_px: float, native_width: int
) -> None:
    """A real camera (metres, camera to rig) agrees to 6 cm, 1.2 degrees and 2.5 % of the focal length."""
    camera = rig.names.index(view)
    pose = rig.rig_from_camera[camera].double().numpy()
    assert np.abs(pose[:3, 3] - place).max() < 0.06, view
    turn = (rotation @ OPTICAL_AXES.T) @ (pose[:3, :3] @ OPTICAL_AXES.T).T
    assert np.degrees(np.abs(Rotation.from_matrix(turn).as_rotvec()).max()) < 1.2, view
    assert abs(float(rig.intrinsics[camera, 0, 0]) * native_width / rig.width / focal_px - 1) < 0.025, view


def test_nuscenes_is_as_in_its_tables(real_data: Path) -> None:
    tables = real_data / "camera" / "nuscenes_mini" / "v1.0-mini"
    if not tables.is_dir():
        pytest.skip("GIGAPIXEL_DATA has no nuScenes tables in camera/nuscenes_mini/v1.0-mini")
    channels = {row["token"]: row["channel"] for row in json.loads((tables / "sensor.json").read_text())}
    rig, seen = rig_named("nuscenes"), set()
    for row in json.loads((tables / "calibrated_sensor.json").read_text()):
        view = channels[row["sensor_token"]].removeprefix("CAM_").lower()
        if row["camera_intrinsic"]:
            rotation = Rotation.from_quat(row["rotation"], scalar_first=True).as_matrix()
            place, focal_px = np.array(row["translation"]), row["camera_intrinsic"][0][0]
            check_against(rig, view, place, rotation, focal_px, 1600)
            seen.add(view)
    assert seen == set(rig.names)


def test_kitti_is_as_calibrated(real_data: Path) -> None:
    """Its calibration starts from the lidar, 0.76 m ahead of the rear axle and 1.73 m above the road (published)."""
    frames = [json.loads(line) for line in (real_data / "camera" / "frames.jsonl").read_text().splitlines()]
    frames = [frame for frame in frames if frame["dataset"].startswith("kitti")]
    if not frames:
        pytest.skip("GIGAPIXEL_DATA has no KITTI frames in camera/frames.jsonl")
    rig = rig_named("kitti")
    for frame in frames:
        pose = np.array(frame["cam_to_ego"])
        place = pose[:3, 3] + (0.76, 0.0, 1.73)
        check_against(rig, "front", place, pose[:3, :3], frame["K"][0][0], frame["width"])


def test_argoverse_is_as_calibrated(real_data: Path) -> None:
    """Its calibration starts from the middle of the rear axle, which is 0.31 m above the road."""
    folders = sorted((real_data / "logs" / "av2_sensor_logs").glob("*/calibration"))
    if not folders:
        pytest.skip("GIGAPIXEL_DATA has no calibration in logs/av2_sensor_logs")
    rig, seen = rig_named("argoverse2"), set()
    for folder in folders:
        lenses = pyarrow.feather.read_table(folder / "intrinsics.feather").to_pylist()
        sizes = {row["sensor_name"]: (row["fx_px"], row["width_px"]) for row in lenses}
        for row in pyarrow.feather.read_table(folder / "egovehicle_SE3_sensor.feather").to_pylist():
            if not row["sensor_name"].startswith("ring_"):
                continue
            view = row["sensor_name"][5:].replace("rear", "back").replace("front_center", "front")
            rotation = Rotation.from_quat([row[part] for part in ("qx", "qy", "qz", "qw")]).as_matrix()
            place = np.array([row["tx_m"], row["ty_m"], row["tz_m"] + 0.31])
            check_against(rig, view, place, rotation, *sizes[row["sensor_name"]])
            seen.add(view)
    assert seen == set(rig.names)
