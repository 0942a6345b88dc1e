"""Colour from surfaces and coverage per pixel: defines the image, for the reference and the nvdiffrast backend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderer.backends.coverage import Coverage
from renderer.frame import Frame
from renderer.palette import (
    FOG_RGB,
    FOG_START,
    LAYER_MATERIALS,
    MATERIAL_CLASS,
    MATERIAL_DEPTH_BIAS,
    MATERIAL_DIMMING,
    MATERIAL_RGB,
    ZENITH_RGB,
    ZENITH_SINE,
    ClassId,
)


@dataclass(frozen=True)
class Surfaces:
    """The nearest surface at each pixel's centre; decals are not surfaces.

    Attributes:
        material: [*views, height, width] i64; `ClassId.SKY` where there is nothing.
        depth: [*views, height, width] f32 m; inf where there is nothing.
        instance: [*views, height, width] i64, box of the world; -1 where there is none.
    """

    material: Tensor
    depth: Tensor
    instance: Tensor

    def in_front(self) -> Float[Tensor, "*views height width"]:
        """Depth bias / depth, against which decals are depth-tested; 0 where there is bare ground or sky."""
        nearness = _table(MATERIAL_DEPTH_BIAS, self.depth)[self.material] / self.depth
        return torch.where(self.material > ClassId.GROUND, nearness, 0.0)


def backdrop_depth(
    rays: Float[Tensor, "*views height width 3"],
    world_from_camera: Float[Tensor, "*views 3 3"],
    camera_height: Float[Tensor, "*views"],
) -> Float[Tensor, "*views height width"]:
    """Depth, m, of bare ground, a level plane at the viewer's height; inf where the ray does not hit it (sky).

    rays: camera frame, z = 1. camera_height: m above that plane.
    """
    up = torch.einsum("...hwj,...j->...hw", rays, world_from_camera[..., 2, :])
    height = camera_height[..., None, None]
    down = (up < 0) & (height > 0)
    return torch.where(down, height / torch.where(down, -up, 1.0), torch.inf)


def with_backdrop(
    surfaces: Surfaces,
    rays: Float[Tensor, "*views height width 3"],
    world_from_camera: Float[Tensor, "*views 3 3"],
    camera_height: Float[Tensor, "*views"],
    draw_distance_m: float,
) -> Surfaces:
    """`surfaces` within the draw distance; bare ground or sky elsewhere."""
    there = surfaces.depth * rays.norm(dim=-1) <= draw_distance_m
    depth = backdrop_depth(rays, world_from_camera, camera_height)
    bare = torch.where(depth.isfinite(), int(ClassId.GROUND), int(ClassId.SKY))
    return Surfaces(
        material=torch.where(there, surfaces.material, bare),
        depth=torch.where(there, surfaces.depth, depth),
        instance=torch.where(there, surfaces.instance, -1),
    )


def shade(
    surfaces: Surfaces,
    coverage: Coverage,
    rays: Float[Tensor, "*views height width 3"],
    world_from_camera: Float[Tensor, "*views 3 3"],
    draw_distance_m: float,
    channels: Sequence[str],
) -> Frame:
    """Frame of shape [*views, height, width]: surfaces with the layers of decals composited over them in order.

    Class, depth and instance are those of the surface or layer with the largest visible share of the pixel.
    """
    length = rays.norm(dim=-1)
    sky = surfaces.material == ClassId.SKY
    near = torch.where(sky, 0.0, surfaces.depth * length / draw_distance_m)
    sine = torch.einsum("...hwj,...j->...hw", rays, world_from_camera[..., 2, :]) / length
    rgb = torch.where(sky[..., None], _sky(sine), _fogged(surfaces.material, near))
    winner, depth, instance = (
        surfaces.material,
        torch.where(sky, torch.inf, surfaces.depth),
        surfaces.instance,
    )
    most = torch.ones_like(length)
    for layer, material in enumerate(LAYER_MATERIALS):
        share = coverage.share[layer]
        colour = _fogged(torch.full_like(winner, int(material)), coverage.near[layer])
        rgb = rgb + (colour - rgb) * share[..., None]
        most = most * (1 - share)
        wins = (share > 0) & (share >= most)
        most = torch.where(wins, share, most)
        winner = torch.where(wins, int(material), winner)
        depth = torch.where(wins, coverage.near[layer] * draw_distance_m / length, depth)
        instance = torch.where(wins, -1, instance)
    every = {
        "rgb": (rgb + 0.5).clamp(0, 255).to(torch.uint8),
        "depth": depth.float(),
        "class_id": _table(MATERIAL_CLASS, rgb)[winner],
        "instance_id": instance.int(),
    }
    return Frame({name: every[name] for name in channels})


def _table(values: np.ndarray, like: Tensor) -> Tensor:
    """A table of `palette` on the device of `like`."""
    return torch.as_tensor(values, device=like.device)


def _fogged(
    material: Int[Tensor, "*views height width"], near: Float[Tensor, "*views height width"]
) -> Float[Tensor, "*views height width 3"]:
    """A material's RGB (0-255), dimmed and blended with fog by distance; near: distance / draw distance."""
    near = near.clamp(max=1.0)
    light = 1 - _table(MATERIAL_DIMMING, near)[material] * near
    fog = ((near - FOG_START) / (1 - FOG_START)).clamp(min=0.0)
    surface = _table(MATERIAL_RGB, near)[material] * light[..., None]
    return surface + (_table(FOG_RGB, near) - surface) * fog[..., None]


def _sky(sine: Float[Tensor, "*views height width"]) -> Float[Tensor, "*views height width 3"]:
    """RGB (0-255) of the sky by the sine of the elevation."""
    height = (sine / float(ZENITH_SINE)).clamp(0.0, 1.0)[..., None]
    return _table(FOG_RGB, sine) + (_table(ZENITH_RGB, sine) - _table(FOG_RGB, sine)) * height
