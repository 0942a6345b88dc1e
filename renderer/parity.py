"""Comparison of two backends: equal away from edges, and a bounded, unbiased share of differing pixels at edges."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import max_pool2d

from renderer.frame import Frame

RGB_TOLERANCE = 1  # grey levels, for rounding
DEPTH_TOLERANCE = 1e-3  # relative
# Contrast between neighbours, in grey levels, that makes an edge within one class, e.g. two faces of a car
EDGE_CONTRAST = 10


@dataclass(frozen=True)
class Parity:
    """Differences between a frame and a reference. The band is all pixels within one pixel of an edge of the reference.

    Attributes:
        pixels: number of pixels compared.
        band_share: share of pixels in the band.
        interior_differing: number of differing pixels outside the band.
        band_differing_share: share of the band's pixels that differ.
        bias: mean of other - reference over RGB and the band, in grey levels; near 0 if differences are unbiased.
    """

    pixels: int
    band_share: float
    interior_differing: int
    band_differing_share: float
    bias: float


def boundary_band(frame: Frame) -> Bool[Tensor, "views height width"]:
    """Pixels with a neighbour (of eight) of another class or with a contrast above EDGE_CONTRAST."""
    layers = torch.cat([frame.class_id.flatten(0, 1)[..., None], frame.rgb.flatten(0, 1)], dim=-1).float()
    layers = layers.permute(0, 3, 1, 2)
    spread = max_pool2d(layers, 3, 1, 1) + max_pool2d(
        -layers, 3, 1, 1
    )  # largest - smallest around each pixel
    return (spread[:, 0] > 0) | (spread[:, 1:].amax(1) > EDGE_CONTRAST)


def differing(reference: Frame, other: Frame) -> Bool[Tensor, "views height width"]:
    """Pixels whose class, instance, colour or depth differs by more than rounding."""
    colour = (reference.rgb.int() - other.rgb.int()).abs().amax(-1) > RGB_TOLERANCE
    sky = torch.isinf(reference.depth)
    gap = (reference.depth - other.depth).abs() > DEPTH_TOLERANCE * reference.depth
    depth = torch.where(sky, ~torch.isinf(other.depth), gap | ~torch.isfinite(other.depth))
    label = (reference.class_id != other.class_id) | (reference.instance_id != other.instance_id)
    return (colour | depth | label).flatten(0, 1)


def compare_frames(reference: Frame, other: Frame) -> Parity:
    """Measure the differences of `other` from `reference`; raises ValueError if their shapes differ."""
    if reference.rgb.shape != other.rgb.shape:
        shapes = f"{tuple(reference.rgb.shape)} and {tuple(other.rgb.shape)}"
        raise ValueError(f"frames of shape {shapes} cannot be compared")
    band, wrong = boundary_band(reference), differing(reference, other)
    shift = (other.rgb.float() - reference.rgb.float()).mean(-1).flatten(0, 1)
    return Parity(
        pixels=band.numel(),
        band_share=float(band.float().mean()),
        interior_differing=int((wrong & ~band).sum()),
        band_differing_share=float((wrong & band).sum() / band.sum().clamp(min=1)),
        bias=float(shift[band].mean()) if bool(band.any()) else 0.0,
    )
