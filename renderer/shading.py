"""From material and depth per pixel to a picture: the one definition of colour, used by reference and mesh backend."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderer.frame import Frame
from renderer.palette import (
    HAZE_RGB,
    HAZE_START,
    MATERIAL_CLASS,
    MATERIAL_DIMMING,
    MATERIAL_RGB,
    ZENITH_RGB,
    ZENITH_SINE,
    ClassId,
)


def backdrop_depth(
    rays: Float[Tensor, "*views height width 3"],
    world_from_camera: Float[Tensor, "*views 3 3"],
    eye_height: Float[Tensor, "*views"],
) -> Float[Tensor, "*views height width"]:
    """Depth of bare ground, a level plane under the viewer; inf where a ray meets sky."""
    up = torch.einsum("...hwj,...j->...hw", rays, world_from_camera[..., 2, :])
    height = eye_height[..., None, None]
    down = (up < 0) & (height > 0)
    return torch.where(down, height / torch.where(down, -up, 1.0), torch.inf)


def shade(
    material: Int[Tensor, "*views height width"],
    depth: Float[Tensor, "*views height width"],
    rays: Float[Tensor, "*views height width 3"],
    world_from_camera: Float[Tensor, "*views 3 3"],
    draw_distance_m: float,
) -> Frame:
    """Colour = material, dimmed with distance, lost in haze towards the draw distance; sky by elevation."""

    def table(values: Any) -> Tensor:
        return torch.as_tensor(values, device=depth.device)

    length = rays.norm(dim=-1)
    sky = material == ClassId.SKY
    near = torch.where(sky, 0.0, depth * length / draw_distance_m).clamp(
        max=1.0
    )  # distance, 1 at the draw distance
    light = 1 - table(MATERIAL_DIMMING)[material] * near
    haze = ((near - HAZE_START) / (1 - HAZE_START)).clamp(min=0.0)
    surface = table(MATERIAL_RGB)[material] * light[..., None]
    rgb = surface + (table(HAZE_RGB) - surface) * haze[..., None]
    sine = torch.einsum("...hwj,...j->...hw", rays, world_from_camera[..., 2, :]) / length
    height = (sine / float(ZENITH_SINE)).clamp(0.0, 1.0)[..., None]
    above = table(HAZE_RGB) + (table(ZENITH_RGB) - table(HAZE_RGB)) * height
    rgb = torch.where(sky[..., None], above, rgb)
    return Frame(
        rgb=(rgb + 0.5).clamp(0, 255).to(torch.uint8),
        depth=torch.where(sky, torch.inf, depth).float(),
        class_id=table(MATERIAL_CLASS)[material],
    )
