"""Camera rigs from real calibrations: names, intrinsics and poses of a sample's cameras as the data set gives them.

A rig renders all its cameras at one size. Each camera is scaled to it along x and y independently, as
`CameraRig.from_cameras` does: it keeps its full field of view, nothing is cropped or rotated, and the real image,
resized to the same size, corresponds to the rendering pixel by pixel. Where the aspect differs, both are stretched.
Rotations are rounded in the files and made orthonormal here; nothing else is changed.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.index_line import ROTATION_TOLERANCE
from renderer.camera import CameraRig


def sample_rig(sample: CameraSample, size: tuple[int, int] | None = None) -> CameraRig:
    """The cameras of a sample, in its order and with its names, in the rig frame.

    Args:
        sample: The images with their calibration.
        size: (height, width) of the rig's images in pixels; default: that of the real ones.

    Raises:
        ValueError: The real images have several sizes and `size` is None, or a calibration is not that of a pinhole
            camera.
    """
    sizes = dict.fromkeys((frame.height, frame.width) for frame in sample.cameras)
    if size is None and len(sizes) > 1:
        listed = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise ValueError(f"{sample.name}: its images are {listed} px, and a rig has one size; choose one")
    height, width = size or next(iter(sizes))
    rigs = [_scaled_rig(frame, height, width) for frame in sample.cameras]
    rig = CameraRig(
        names=tuple(frame.camera for frame in sample.cameras),
        intrinsics=torch.cat([one.intrinsics for one in rigs]),
        rig_from_camera=torch.cat([one.rig_from_camera for one in rigs]),
        height=height,
        width=width,
    )
    rig.validate()
    return rig


def rig_of_frame(frame: CameraFrame, width_px: int) -> CameraRig:
    """The camera of a real image as a rig of one, `width_px` wide with the image's aspect."""
    return _scaled_rig(frame, max(1, round(frame.height * width_px / frame.width)), width_px)


def virtual_camera_rig(frame: CameraFrame, rig: CameraRig, index: int) -> CameraRig:
    """Camera `index` of the student's rig, moved to the optical centre of the real camera: a rig of one."""
    pose = rig.rig_from_camera[index].double().numpy().copy()
    pose[:3, 3] = frame.rig_from_camera()[:3, 3]
    return CameraRig(
        names=(frame.camera,),
        intrinsics=rig.intrinsics[index][None],
        rig_from_camera=torch.tensor(pose, dtype=torch.float32)[None],
        height=rig.height,
        width=rig.width,
    )


def _scaled_rig(frame: CameraFrame, height: int, width: int) -> CameraRig:
    scale = np.diag([width / frame.width, height / frame.height, 1.0])
    rig = CameraRig(
        names=(frame.camera,),
        intrinsics=torch.tensor(scale @ frame.intrinsics, dtype=torch.float32)[None],
        rig_from_camera=torch.tensor(_orthonormal_pose(frame), dtype=torch.float32)[None],
        height=height,
        width=width,
    )
    try:
        rig.validate()
    except ValueError as error:
        raise ValueError(f"{frame.where}: {error}") from error
    return rig


def _orthonormal_pose(frame: CameraFrame) -> Float[np.ndarray, "4 4"]:
    """rig_from_camera with the rotation that is nearest to the rounded one of the file."""
    pose = frame.rig_from_camera().copy()
    left, _, right = np.linalg.svd(np.nan_to_num(pose[:3, :3]))
    rotation = left @ right
    if not np.abs(rotation - pose[:3, :3]).max() <= ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise ValueError(
            f"{frame.where}: cam_to_ego of camera {frame.camera!r} holds {pose[:3, :3].round(4).tolist()}; "
            "expected a rotation"
        )
    pose[:3, :3] = rotation
    return pose
