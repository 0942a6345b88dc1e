"""Pinhole cameras on a vehicle: intrinsics, extrinsics, projection and rays.

Frames: *rig* is the rear axle at ground level (x forward, y left, z up); *camera* is OpenCV's (x right, y down,
z forward). Pixel (row 0, column 0) covers 0..1 in both directions; its centre is at (0.5, 0.5).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gigapixel.run_folder.config.yaml_file import read_yaml

# rig_from_camera rotation of a camera with yaw, pitch and roll 0.
OPTICAL_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
MAX_SIDE_PX = 16384  # of an image
LARGEST_NUMBER = 1e9  # of a camera file


@dataclass(frozen=True)
class Camera:
    """Settings of one camera, as in a camera file.

    Attributes:
        name: e.g. "front".
        x_m, y_m, z_m: position in the rig frame (forward, left, up of the rear axle on the ground).
        width, height: image size in pixels that the focal length refers to.
        focal_px: focal length in pixels, or (horizontal, vertical).
        yaw_deg: left positive. pitch_deg: up positive. roll_deg: clockwise positive, seen from behind the camera.
        centre_px: principal point (x, y); the middle of the image if not given.
    """

    name: str
    x_m: float
    y_m: float
    z_m: float
    width: int
    height: int
    focal_px: float | Sequence[float]
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    centre_px: Sequence[float] | None = None

    def intrinsics(self) -> np.ndarray:
        """K [3, 3] f64 in pixels of this camera's own image size."""
        focal_x, focal_y = np.broadcast_to(np.asarray(self.focal_px, float), 2)
        centre_x, centre_y = (
            self.centre_px if self.centre_px is not None else (self.width / 2, self.height / 2)
        )
        return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])

    def rig_from_camera(self) -> np.ndarray:
        """Pose [4, 4] f64, m: roll about the viewing axis, then pitch, then yaw."""
        yaw, pitch, roll = (math.radians(angle) for angle in (self.yaw_deg, -self.pitch_deg, self.roll_deg))
        (cy, sy), (cp, sp), (cr, sr) = ((math.cos(angle), math.sin(angle)) for angle in (yaw, pitch, roll))
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        pose = np.eye(4)
        pose[:3, :3] = about_z @ about_y @ about_x @ OPTICAL_AXES
        pose[:3, 3] = self.x_m, self.y_m, self.z_m
        return pose


NUPLAN_CAMERAS = (  # nuPlan's sensors, metres from the rear axle; 63.7 x 38.5 degrees
    Camera("front", 1.66, -0.01, 1.49, 1920, 1080, 1545.0, yaw_deg=0.0),
    Camera("front_left", 1.63, 0.12, 1.48, 1920, 1080, 1545.0, yaw_deg=55.0),
    Camera("front_right", 1.62, -0.16, 1.49, 1920, 1080, 1545.0, yaw_deg=-55.0),
    Camera("back", -0.47, 0.02, 1.43, 1920, 1080, 1545.0, yaw_deg=180.0),
)


@dataclass(frozen=True)
class CameraRig:
    """All cameras of one vehicle, drawn at one image size.

    Attributes:
        names: one per camera.
        intrinsics: [cameras, 3, 3] f32, pixels at (height, width); last row (0, 0, 1).
        rig_from_camera: [cameras, 4, 4] f32, metres; camera frame to rig frame.
        height, width: pixels.
    """

    names: tuple[str, ...]
    intrinsics: Tensor  # [cameras, 3, 3]
    rig_from_camera: Tensor  # [cameras, 4, 4]
    height: int
    width: int

    @property
    def num_cameras(self) -> int:
        return len(self.names)

    @classmethod
    def from_cameras(cls, cameras: Sequence[Camera], height: int, width: int) -> "CameraRig":
        """A rig of cameras of any image size, each drawn at (height, width) with its whole field of view."""
        scales = [np.diag([width / camera.width, height / camera.height, 1.0]) for camera in cameras]
        matrices = [scale @ camera.intrinsics() for scale, camera in zip(scales, cameras)]
        rig = cls(
            names=tuple(camera.name for camera in cameras),
            intrinsics=torch.tensor(np.array(matrices).reshape(-1, 3, 3), dtype=torch.float32),
            rig_from_camera=torch.tensor(
                np.array([camera.rig_from_camera() for camera in cameras]).reshape(-1, 4, 4),
                dtype=torch.float32,
            ),
            height=height,
            width=width,
        )
        rig.validate()
        return rig

    @classmethod
    def nuplan(cls, height: int = 54, width: int = 96) -> "CameraRig":
        """nuPlan's front, front-left, front-right and back cameras."""
        return cls.from_cameras(NUPLAN_CAMERAS, height, width)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "CameraRig":
        """A rig from a file like `configs/cameras/nuplan.yaml`.

        Raises FileNotFoundError, or ValueError with the file, the field and the value.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such camera file; configs/cameras/ has examples")
        document = read_yaml(path)
        if not isinstance(document, Mapping) or set(document) != {"height", "width", "cameras"}:
            found = (
                ", ".join(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
            )
            raise ValueError(f"{path}: holds {found}; a camera file needs exactly height, width and cameras")
        for field in ("height", "width"):
            _check_side(f"{path}: {field}", document[field])
        if not isinstance(document["cameras"], Mapping) or not document["cameras"]:
            raise ValueError(f"{path}: cameras must map at least one name to its settings")
        cameras = [_read_camera(path, str(name), entry) for name, entry in document["cameras"].items()]
        try:
            return cls.from_cameras(cameras, document["height"], document["width"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def validate(self) -> None:
        """Raise ValueError with one sentence if the rig cannot be drawn. The result is cached."""
        assert self._is_valid

    @cached_property
    def _is_valid(self) -> bool:
        """True; raises ValueError instead of being False."""
        for field, size in (("height", self.height), ("width", self.width)):
            _check_side(f"CameraRig.{field}", size)
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"CameraRig.names={list(self.names)} must hold at least one name and none twice")
        for field, matrices, side in (
            ("intrinsics", self.intrinsics, 3),
            ("rig_from_camera", self.rig_from_camera, 4),
        ):
            expected = (self.num_cameras, side, side)
            if tuple(matrices.shape) != expected or matrices.dtype != torch.float32:
                raise ValueError(
                    f"CameraRig.{field} is {matrices.dtype} of shape {tuple(matrices.shape)}; "
                    f"it must be torch.float32 of shape {expected}"
                )
        for name, matrix, pose in zip(self.names, self.intrinsics.tolist(), self.rig_from_camera.tolist()):
            _check_intrinsics(name, np.array(matrix))
            _check_pose(f"CameraRig.rig_from_camera of camera {name!r}", np.array(pose))
        return True

    def resized(self, height: int, width: int) -> "CameraRig":
        """The same cameras with the same field of view, drawn at another image size in pixels."""
        scale = torch.tensor([width / self.width, height / self.height, 1.0], device=self.intrinsics.device)
        rig = replace(self, intrinsics=scale[:, None] * self.intrinsics, height=height, width=width)
        rig.validate()
        return rig

    def select(self, names: Sequence[str]) -> "CameraRig":
        """A rig of the named cameras only, in the given order; raises ValueError if a name is unknown."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"camera {unknown[0]!r} is not on this rig, which has {', '.join(self.names)}")
        index = [self.names.index(name) for name in names]
        rig = replace(
            self,
            names=tuple(names),
            intrinsics=self.intrinsics[index],
            rig_from_camera=self.rig_from_camera[index],
        )
        rig.validate()
        return rig

    def to(self, device: torch.device | str) -> "CameraRig":
        """A copy on another device."""
        return replace(
            self, intrinsics=self.intrinsics.to(device), rig_from_camera=self.rig_from_camera.to(device)
        )

    @cached_property
    def rays(self) -> Float[Tensor, "cameras height width 3"]:
        """Rays through every pixel centre, camera frame, scaled to z = 1: a point at depth d is `d * ray`. Cached."""
        device = self.intrinsics.device
        y = torch.arange(self.height, device=device, dtype=torch.float64) + 0.5
        x = torch.arange(self.width, device=device, dtype=torch.float64) + 0.5
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        pixels = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], dim=-1)
        camera_from_pixel = torch.linalg.inv(self.intrinsics.double())
        return torch.einsum("cij,hwj->chwi", camera_from_pixel, pixels).float()

    @cached_property
    def ray_lengths(self) -> Float[Tensor, "cameras height width"]:
        """Euclidean norm of each ray of `rays`. Cached."""
        return self.rays.norm(dim=-1)

    def project(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, "cameras points 2"], Float[Tensor, "cameras points"]]:
        """Project points (rig frame, m) to pixels (x, y) and depth, m; pixels are undefined where depth <= 0."""
        rotation, centre = self.rig_from_camera[:, :3, :3], self.rig_from_camera[:, :3, 3]
        # "cji": the transposed rotation, camera_from_rig
        in_camera = torch.einsum("cji,cpj->cpi", rotation, points[None] - centre[:, None])
        pixels = torch.einsum("cij,cpj->cpi", self.intrinsics, in_camera)
        return pixels[..., :2] / pixels[..., 2:], in_camera[..., 2]

    def camera_poses(
        self, world_from_rig: Float[Tensor, "viewers 4 4"]
    ) -> tuple[Float[Tensor, "viewers cameras 3"], Float[Tensor, "viewers cameras 3 3"]]:
        """Camera centres (m, world) and world_from_camera rotations of every camera of every viewer."""
        world_from_camera = world_from_rig[:, None] @ self.rig_from_camera[None]
        return world_from_camera[..., :3, 3], world_from_camera[..., :3, :3]


def _read_camera(path: Path, name: str, entry: Any) -> Camera:
    """One entry of a camera file; raises ValueError that names the file, the camera, the field and the value."""
    known = [field for field in Camera.__dataclass_fields__ if field != "name"]
    required = ("x_m", "y_m", "z_m", "width", "height", "focal_px")
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"{path}: camera {name!r} is {repr(entry)[:60]}; it must map {', '.join(required)} to numbers"
        )
    for key in entry:
        if key not in known:
            raise ValueError(
                f"{path}: camera {name!r} has unknown field {key!r}; known are {', '.join(known)}"
            )
    for key in required:
        if key not in entry:
            raise ValueError(f"{path}: camera {name!r} lacks {key}")
    for key, value in entry.items():
        pair = key in ("focal_px", "centre_px") and isinstance(value, list) and len(value) == 2
        if key == "centre_px" and not pair:
            raise ValueError(
                f"{path}: camera {name!r} has centre_px={repr(value)[:60]}; two numbers (x, y) are needed"
            )
        for number in value if pair else [value]:
            if (
                isinstance(number, bool)
                or not isinstance(number, int | float)
                or not abs(number) < LARGEST_NUMBER
            ):
                shown = repr(value)[:60]
                raise ValueError(f"{path}: camera {name!r} has {key}={shown}; a finite number is needed")
    for key in ("width", "height"):
        if entry[key] <= 0 or not isinstance(entry[key], int):
            raise ValueError(
                f"{path}: camera {name!r} has {key}={entry[key]}; a whole number of pixels above 0 is needed"
            )
    return Camera(name=name, **entry)


def _check_side(where: str, size: object) -> None:
    """Raise ValueError if an image side is not an integer from 1 to MAX_SIDE_PX."""
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_SIDE_PX:
        raise ValueError(f"{where}={repr(size)[:60]} must be a whole number from 1 to {MAX_SIDE_PX} pixels")


def _check_intrinsics(name: str, matrix: np.ndarray) -> None:
    """Raise ValueError if `matrix` [3, 3] is not a pinhole camera's K."""
    where = f"CameraRig.intrinsics of camera {name!r}"
    if not np.isfinite(matrix).all():
        raise ValueError(f"{where} hold a value that is not finite")
    if not (matrix[2] == (0, 0, 1)).all() or matrix[1, 0] != 0:
        raise ValueError(f"{where} must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], not {matrix.tolist()}")
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(
            f"{where} are singular or mirrored: fx={matrix[0, 0]:g} and fy={matrix[1, 1]:g} must be above 0"
        )


def _check_pose(where: str, pose: np.ndarray) -> None:
    """Raise ValueError if `pose` [4, 4] is not a rotation and a translation."""
    if not np.isfinite(pose).all():
        raise ValueError(f"{where} holds a value that is not finite")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise ValueError(
            f"{where} must be a rotation and a translation; its upper left 3x3 is not a rotation"
        )
    if not (pose[3] == (0, 0, 0, 1)).all():
        raise ValueError(f"{where} must end in the row (0, 0, 0, 1), not {pose[3].tolist()}")
