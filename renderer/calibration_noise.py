"""How the cameras of real cars differ from the rig that they were built to: focal length, place and direction."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from renderer.camera import CameraRig

WIDEST = {"focal_share": 0.5, "position_m": 1.0, "rotation_deg": 20.0, "common_share": 1.0}


@dataclass(frozen=True)
class CalibrationNoise:
    """Standard deviations of one car's cameras around their nominal calibration; all zero: every car is as built.

    What all cameras of a car share (the load, the roof rack, a batch of lenses) and what each has by itself (its own
    mount) are drawn apart: `common_share` is the part of the variance that a car's cameras have in common.

    The model is our own choice. The two cars of nuScenes' mini set differ as if drawn with focal_share 0.007,
    position_m 0.016 and rotation_deg 0.7 (`configs/cameras/nuscenes.yaml` is their mean).

    Attributes:
        focal_share: of the logarithm of the focal length, horizontal and vertical alike: 0.02 is about 2 %.
        position_m: along each axis of the rig, metres.
        rotation_deg: about each axis of the rig, degrees; a camera turns about its own place.
        common_share: 0: every camera for itself, 1: the whole rig alike.
    """

    focal_share: float = 0.0
    position_m: float = 0.0
    rotation_deg: float = 0.0
    common_share: float = 0.5

    def __post_init__(self) -> None:
        for name, most in WIDEST.items():
            value = getattr(self, name)
            if not 0 <= value <= most:  # false for NaN as well
                raise ValueError(f"calibration_noise.{name}={value} must lie in [0, {most:g}]")

    @property
    def is_none(self) -> bool:
        """Whether every rig drawn with it is the nominal one."""
        return self.focal_share == self.position_m == self.rotation_deg == 0


def draw_rigs(
    rig: CameraRig, noise: CalibrationNoise, num_rigs: int, generator: torch.Generator
) -> tuple[CameraRig, ...]:
    """`num_rigs` cars that were built to `rig`, on its device; without noise each is exactly `rig`.

    Names, picture size and principal points stay. Keep the rigs: each computes the rays of its cameras once.
    `generator` lives on the CPU, so that the same seed gives the same cars on every device.
    """
    if num_rigs < 1:
        raise ValueError(f"num_rigs={num_rigs} must be at least 1")
    common = torch.randn(num_rigs, 1, 7, generator=generator, dtype=torch.float64)
    own = torch.randn(num_rigs, rig.num_cameras, 7, generator=generator, dtype=torch.float64)
    deviations = math.sqrt(noise.common_share) * common + math.sqrt(1 - noise.common_share) * own
    return tuple(
        deviating_rig(
            rig,
            noise.focal_share * deviation[:, 0],
            noise.position_m * deviation[:, 1:4],
            math.radians(noise.rotation_deg) * deviation[:, 4:],
        )
        for deviation in deviations
    )


def deviating_rig(
    rig: CameraRig,
    log_focal: Float[Tensor, " cameras"],
    offset: Float[Tensor, "cameras 3"],
    rotation: Float[Tensor, "cameras 3"],
) -> CameraRig:
    """`rig` with each camera's focal lengths times exp(log_focal), moved by `offset` (m, rig frame), and turned about
    its own place by `rotation` (an axis in the rig frame times an angle in rad)."""
    device = rig.intrinsics.device
    intrinsics, pose = rig.intrinsics.double().cpu(), rig.rig_from_camera.double().cpu()
    intrinsics[:, :2, :2] *= log_focal.double().exp()[:, None, None]
    x, y, z = rotation.double().unbind(-1)
    nil = torch.zeros_like(x)
    skew = torch.stack([nil, -z, y, z, nil, -x, -y, x, nil], dim=-1).view(-1, 3, 3)
    pose[:, :3, :3] = torch.linalg.matrix_exp(skew) @ pose[:, :3, :3]
    pose[:, :3, 3] += offset.double()
    drawn = replace(rig, intrinsics=intrinsics.float().to(device), rig_from_camera=pose.float().to(device))
    drawn.validate()
    return drawn
