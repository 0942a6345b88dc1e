"""Calibration noise: random deviations of focal length, position and orientation from a nominal rig."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from renderer.camera import CameraRig

MAX_NOISE = {"focal_share": 0.5, "position_m": 1.0, "rotation_deg": 20.0, "common_share": 1.0}


@dataclass(frozen=True)
class CalibrationNoise:
    """Standard deviations of a car's cameras from their nominal calibration; all zero: no deviation.

    Deviations are the sum of a part that all cameras of a car share (load, roof rack, batch of lenses) and a part of
    each camera (its mount); `common_share` is the share of the variance that is common to a car's cameras.

    The model is our own choice. The two cars of nuScenes' mini set differ as if sampled with focal_share 0.007,
    position_m 0.016 and rotation_deg 0.7 (`configs/cameras/nuscenes.yaml` is their mean).

    Attributes:
        focal_share: std of the logarithm of the focal length, the same for x and y: 0.02 is about 2 %.
        position_m: std along each axis of the rig, metres.
        rotation_deg: std about each axis of the rig, degrees; a camera rotates about its own centre.
        common_share: 0: cameras are independent, 1: all cameras of a rig deviate equally.
    """

    focal_share: float = 0.0
    position_m: float = 0.0
    rotation_deg: float = 0.0
    common_share: float = 0.5

    def __post_init__(self) -> None:
        for name, most in MAX_NOISE.items():
            value = getattr(self, name)
            if not 0 <= value <= most:  # false for NaN as well
                raise ValueError(f"calibration_noise.{name}={value} must lie in [0, {most:g}]")

    @property
    def is_none(self) -> bool:
        """Whether every sampled rig is the nominal one."""
        return self.focal_share == self.position_m == self.rotation_deg == 0


def sample_rigs(
    rig: CameraRig, noise: CalibrationNoise, num_rigs: int, generator: torch.Generator
) -> tuple[CameraRig, ...]:
    """Sample `num_rigs` rigs that deviate from `rig`, on its device; without noise each equals `rig`.

    Names, image size and principal points are unchanged. Reuse the rigs: each caches the rays of its cameras.
    `generator` is a CPU generator, so that a seed gives the same rigs on every device. Raises ValueError if
    num_rigs < 1.
    """
    if num_rigs < 1:
        raise ValueError(f"num_rigs={num_rigs} must be at least 1")
    common = torch.randn(num_rigs, 1, 7, generator=generator, dtype=torch.float64)
    own = torch.randn(num_rigs, rig.num_cameras, 7, generator=generator, dtype=torch.float64)
    deviations = math.sqrt(noise.common_share) * common + math.sqrt(1 - noise.common_share) * own
    return tuple(
        perturbed_rig(
            rig,
            noise.focal_share * deviation[:, 0],
            noise.position_m * deviation[:, 1:4],
            math.radians(noise.rotation_deg) * deviation[:, 4:],
        )
        for deviation in deviations
    )


def perturbed_rig(
    rig: CameraRig,
    log_focal: Float[Tensor, " cameras"],
    offset: Float[Tensor, "cameras 3"],
    rotation: Float[Tensor, "cameras 3"],
) -> CameraRig:
    """`rig` with each camera's focal lengths multiplied by exp(log_focal), moved by `offset` (m, rig frame) and rotated
    about its own centre by `rotation` (rotation vector in the rig frame, rad)."""
    device = rig.intrinsics.device
    intrinsics, pose = rig.intrinsics.double().cpu(), rig.rig_from_camera.double().cpu()
    intrinsics[:, :2, :2] *= log_focal.double().exp()[:, None, None]
    x, y, z = rotation.double().unbind(-1)
    nil = torch.zeros_like(x)
    skew = torch.stack([nil, -z, y, z, nil, -x, -y, x, nil], dim=-1).view(-1, 3, 3)
    pose[:, :3, :3] = torch.linalg.matrix_exp(skew) @ pose[:, :3, :3]
    pose[:, :3, 3] += offset.double()
    perturbed = replace(
        rig, intrinsics=intrinsics.float().to(device), rig_from_camera=pose.float().to(device)
    )
    perturbed.validate()
    return perturbed
