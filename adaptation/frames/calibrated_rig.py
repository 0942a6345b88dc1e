"""Rigs out of real calibrations: names, intrinsics and poses of a moment's cameras as the data set gives them.

A rig draws all its cameras at one size. Each camera is scaled to it by its own factors along x and y, as
`CameraRig.from_cameras` does: it keeps its whole field of view, nothing is cropped or turned, and the real picture
resized to the same size covers its rendering pixel by pixel. A camera of another aspect than the size is stretched,
the same on both sides. Rotations are rounded in the files and made exact here; nothing else is changed.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from adaptation.frames.camera_frame import CameraFrame, Moment
from adaptation.frames.camera_log import ROTATION_TOLERANCE
from renderer.camera import CameraRig


def moment_rig(moment: Moment, size: tuple[int, int] | None = None) -> CameraRig:
    """Every camera of a moment, in its order and under its name, in the frame of the rear axle.

    Args:
        moment: What was photographed.
        size: (height, width) of the rig's pictures in pixels; default: that of the real ones.

    Raises:
        ValueError: The real pictures have several sizes and none was chosen, or a calibration is not that of a
            pinhole camera.
    """
    sizes = dict.fromkeys((frame.height, frame.width) for frame in moment.cameras)
    if size is None and len(sizes) > 1:
        listed = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise ValueError(f"{moment.name}: its pictures are {listed} px, and a rig draws one size; choose one")
    height, width = size or next(iter(sizes))
    rigs = [_one_camera(frame, height, width) for frame in moment.cameras]
    rig = CameraRig(
        names=tuple(frame.camera for frame in moment.cameras),
        intrinsics=torch.cat([one.intrinsics for one in rigs]),
        rig_from_camera=torch.cat([one.rig_from_camera for one in rigs]),
        height=height,
        width=width,
    )
    rig.validate()
    return rig


def own_rig(frame: CameraFrame, width_px: int) -> CameraRig:
    """The picture's own camera, as a rig of one, drawn at another width."""
    return _one_camera(frame, max(1, round(frame.height * width_px / frame.width)), width_px)


def turned_rig(frame: CameraFrame, rig: CameraRig, index: int) -> CameraRig:
    """Camera `index` of the student's rig moved to the optical centre of the picture's camera."""
    pose = rig.rig_from_camera[index].double().numpy().copy()
    pose[:3, 3] = frame.rig_from_camera()[:3, 3]
    return CameraRig(
        names=(frame.camera,),
        intrinsics=rig.intrinsics[index][None],
        rig_from_camera=torch.tensor(pose, dtype=torch.float32)[None],
        height=rig.height,
        width=rig.width,
    )


def _one_camera(frame: CameraFrame, height: int, width: int) -> CameraRig:
    scale = np.diag([width / frame.width, height / frame.height, 1.0])
    rig = CameraRig(
        names=(frame.camera,),
        intrinsics=torch.tensor(scale @ frame.intrinsics, dtype=torch.float32)[None],
        rig_from_camera=torch.tensor(_exact_pose(frame), dtype=torch.float32)[None],
        height=height,
        width=width,
    )
    try:
        rig.validate()
    except ValueError as error:
        raise ValueError(f"{frame.where}: {error}") from error
    return rig


def _exact_pose(frame: CameraFrame) -> Float[np.ndarray, "4 4"]:
    """rig_from_camera with the rotation nearest to the rounded one of the file."""
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
