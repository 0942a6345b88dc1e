"""The types of real camera data: `CameraFrame`, one calibrated image with boxes, and `CameraSample`, the images of one
instant.

Coordinate frames used here, all right-handed:
    camera  optical frame of the image: x right, y down, z forward
    ego     the vehicle frame in which the data set gives its calibration (x forward, y left, z up)
    rig     rear axle at ground level, axes of ego; the student's cameras are mounted in it
    level   rig without roll and pitch: z is opposite to gravity, x the horizontal part of forward; boxes are upright
            in it
    world   the data set's own map frame, where it gives poses
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

RIG_FROM_EGO_M = {
    "rear_axle": (0.0, 0.0, 0.0),
    # KITTI calibrates in the lidar's frame: 1.73 m above the road (published), and about 0.76 m ahead of the rear
    # axle (0.27 m behind the colour camera, which configs/cameras/kitti.yaml puts 1.03 m ahead). The 0.76 m is accurate
    # to about 0.2 m; an error shifts the rig and everything in it alike, so no image changes.
    "velodyne": (0.76, 0.0, 1.73),
}
"""Origin of each known ego frame in the rig frame, metres. Files without `ego_frame` mean `rear_axle`."""
DECODING_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's decoders raise for files that are damaged."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """3D boxes seen by one camera, as the data set gives them."""

    corners_camera: Float[np.ndarray, "boxes 8 3"]
    """m, camera frame; bottom: two front, two rear corners; then the four of the top in the same order"""
    size: Float[np.ndarray, "boxes 3"]  # length, width, height in metres
    kind: Int[np.ndarray, " boxes"]  # CAR ... STATIC of simulator.conventions

    def __len__(self) -> int:
        return len(self.size)


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One real image with its calibration, pose and boxes."""

    dataset: str
    seq: str
    frame: int
    camera: str
    image: Path
    width: int  # px
    height: int  # px
    timestamp_s: float | None  # seconds from any origin; None where the data set gives none
    intrinsics: Float[np.ndarray, "3 3"]  # px, at (height, width)
    ego_from_camera: Float[np.ndarray, "4 4"]
    world_from_ego: Float[np.ndarray, "4 4"] | None  # None where the data set gives no pose
    boxes: Boxes
    ego_frame: str  # key of RIG_FROM_EGO_M
    ground_plane_ego: Float[np.ndarray, " 4"] | None  # (n, d): n . p + d = 0, n up; None: z = 0 of the rig
    pseudo_labels: bool  # boxes are not ground truth: never evaluate against them
    where: str  # file and line, for error messages

    @property
    def scene(self) -> str:
        """`dataset/seq`: name of the scene that the image belongs to. Whole scenes are held out."""
        return f"{self.dataset}/{self.seq}"

    def check_header(self) -> None:
        """Raise FileNotFoundError for a missing image file, and ValueError for one that is no image or whose header
        states another size than the index; decodes no pixels."""
        with self._opened() as image:
            size = image.size
        self._check_size(size)

    def load_image(self) -> UInt8[np.ndarray, "height width 3"]:
        """The RGB image from its file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It cannot be decoded, or has another size than the index says.
        """
        with self._opened() as image:
            pixels = np.asarray(image.convert("RGB"))
        self._check_size((pixels.shape[1], pixels.shape[0]))
        return pixels

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        """The image file, opened by Pillow; its errors become ours, which name file and line."""
        try:
            with Image.open(self.image) as image:
                yield image
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.where}: image: there is no file {self.image}") from error
        except DECODING_ERRORS as error:
            raise ValueError(f"{self.where}: image: {self.image} cannot be decoded ({error})") from error

    def _check_size(self, size: tuple[int, int]) -> None:
        if size != (self.width, self.height):
            raise ValueError(
                f"{self.where}: image: {self.image} is {size[0]} x {size[1]} px, "
                f"but width and height say {self.width} x {self.height}"
            )

    def rig_from_ego(self) -> Float[np.ndarray, "4 4"]:
        """Ego frame to rig frame: a translation, in z down to the ground plane where one is given."""
        transform = np.eye(4)
        transform[:3, 3] = RIG_FROM_EGO_M[self.ego_frame]
        if self.ground_plane_ego is not None:
            transform[2, 3] = self.ground_plane_ego[3] / self.ground_plane_ego[2]
        return transform

    def rig_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """Camera frame to rig frame."""
        return self.rig_from_ego() @ self.ego_from_camera

    def level_from_rig(self) -> Float[np.ndarray, "4 4"]:
        """Rig frame to level frame: removes the roll and pitch of the pose; without a pose, the identity.

        World z is assumed to be opposite to gravity. Yaw is kept: level x is the horizontal part of forward.
        """
        transform = np.eye(4)
        if self.world_from_ego is not None:
            up = self.world_from_ego[2, :3]  # the world's z axis in the ego frame
            forward = np.array([1.0, 0.0, 0.0]) - up[0] * up
            forward /= np.linalg.norm(forward)
            transform[:3, :3] = np.stack([forward, np.cross(up, forward), up])
        return transform

    def level_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """Camera frame to level frame."""
        return self.level_from_rig() @ self.rig_from_camera()

    def level_boxes(self) -> tuple[Float[np.ndarray, "boxes 3"], Float[np.ndarray, " boxes"]]:
        """Position (m), below each box centre at the bottom of the box, and yaw (rad), in the level frame.

        Data sets disagree on which of the two front corners comes first, so only the centres of front and rear are
        used. A box that is tilted in the file (nuScenes aligns boxes with the y axis of their camera) is rotated
        upright about its centre.
        """
        level_from_camera = self.level_from_camera()
        corners = self.boxes.corners_camera @ level_from_camera[:3, :3].T + level_from_camera[:3, 3]
        front, rear = corners[:, [0, 1, 4, 5]].mean(axis=1), corners[:, [2, 3, 6, 7]].mean(axis=1)
        position = corners.mean(axis=1)
        position[:, 2] -= self.boxes.size[:, 2] / 2
        ahead = front - rear
        return position, np.arctan2(ahead[:, 1], ahead[:, 0])


@dataclass(frozen=True, eq=False)
class CameraSample:
    """The images of one instant: one to six cameras."""

    dataset: str
    seq: str
    frame: int
    cameras: tuple[CameraFrame, ...]

    @property
    def scene(self) -> str:
        """`dataset/seq`."""
        return f"{self.dataset}/{self.seq}"

    @property
    def name(self) -> str:
        """`dataset/seq/frame`, unique."""
        return f"{self.scene}/{self.frame}"

    @property
    def pseudo_labels(self) -> bool:
        """Whether boxes of any of its cameras are not ground truth."""
        return any(camera.pseudo_labels for camera in self.cameras)

    @property
    def timestamp_s(self) -> float | None:
        """Time of the first camera, or None where the data set gives none."""
        return self.cameras[0].timestamp_s

    @property
    def world_from_ego(self) -> Float[np.ndarray, "4 4"] | None:
        """Pose at the time of the first camera, or None where the data set gives none."""
        return self.cameras[0].world_from_ego
