"""Data augmentation of pairs: geometric on both sides, photometric on the real side.

Geometric changes (mirror, zoom, shift) and the mixing of two pairs by rectangles are applied alike to the real images
and to the renderings, and the frozen student plans on the changed rendering, so the two sides still correspond.
Photometric changes (exposure, colour, blur, noise) are applied to the real images only. Random numbers come from
torch's global generator, which Lightning seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from student.observation import EGO_SCALES, Command, Observation

LATERAL = ("lateral_acceleration_mps2", "steering_rad")
"""Ego inputs whose sign changes when the world is mirrored."""
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the augmentation of training pairs; all zero switches it off."""

    mirror: float = 0.5  # probability of a mirrored world
    zoom: float = 0.15  # both sides: magnified by a factor in exp(+-zoom)
    shift: float = 0.10  # both sides: translated by up to this share of the image, per view
    cut: float = 0.5  # both sides: probability per view that a rectangle comes from another view of the batch
    paste: float = 0.3  # real side: probability per view that a rectangle is replaced by the rendering
    exposure: float = 0.5  # real side: brightness factor in exp(+-exposure)
    contrast: float = 0.4  # real side: contrast factor in exp(+-contrast)
    saturation: float = 0.7  # real side: saturation factor in 1 +- saturation
    tint: float = 0.15  # real side: each channel by a factor in exp(+-tint)
    noise: float = 0.04  # real side: standard deviation of pixel noise, of full scale
    blur: float = 0.3  # real side: probability of a 3 x 3 blur

    def __post_init__(self) -> None:
        for name in ("mirror", "cut", "paste", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"augment.{name}={getattr(self, name)} is a probability; it must lie in [0, 1]"
                )
        for name in ("zoom", "shift", "exposure", "contrast", "saturation", "tint", "noise"):
            if not 0 <= getattr(self, name) <= 2:
                raise ValueError(f"augment.{name}={getattr(self, name)} must lie in [0, 2]")


def mirrored_order(names: Sequence[str]) -> list[int]:
    """For each camera the index of its mirror image: the camera with `left` and `right` swapped in its name.

    Raises ValueError where the rig has no such camera.
    """
    swapped = [name.replace("left", "\0").replace("right", "left").replace("\0", "right") for name in names]
    missing = [name for name in swapped if name not in names]
    if missing:
        raise ValueError(
            f"the rig {list(names)} has no camera {missing[0]!r}, so its world cannot be mirrored"
        )
    return [list(names).index(name) for name in swapped]


def mirror(observation: Observation, order: Sequence[int]) -> Observation:
    """The observation of the mirrored world: images, order of the cameras, command and lateral ego inputs change."""
    sign = torch.ones(len(EGO_SCALES), device=observation.ego.device)
    sign[[list(EGO_SCALES).index(name) for name in LATERAL]] = -1
    commands = list(range(len(Command)))
    commands[Command.LEFT], commands[Command.RIGHT] = int(Command.RIGHT), int(Command.LEFT)
    return replace(
        observation,
        images=observation.images[:, list(order)].flip(3),
        camera_mask=observation.camera_mask[:, list(order)],
        ego=observation.ego * sign,
        command=observation.command[:, commands],
    )


def select_rows(use: Tensor, first: Observation, second: Observation) -> Observation:
    """Rows of `first` where `use` [batch] is True, else of `second`."""
    picked = {}
    for name in ("images", "camera_mask", "ego", "command", "conditioning"):
        a, b = getattr(first, name), getattr(second, name)
        picked[name] = torch.where(use.view(-1, *[1] * (a.ndim - 1)), a, b)
    return Observation(**picked)


def zoom_and_shift(
    images: Sequence[Float[Tensor, "views 3 height width"]], config: AugmentConfig
) -> list[Float[Tensor, "views 3 height width"]]:
    """Random magnification and translation per view, the same in every set of images; the border is repeated."""
    views = images[0].shape[0]
    device = images[0].device
    scale = torch.exp(-_uniform(views, config.zoom, device))
    translation = torch.stack([_uniform(views, 2 * config.shift, device) for _ in range(2)], dim=-1)
    affine = torch.zeros(views, 2, 3, device=device)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = translation
    grid = functional.affine_grid(affine, list(images[0].shape), align_corners=False)
    return [
        functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
        for image in images
    ]


def rectangles(
    views: int, height: int, width: int, device: torch.device
) -> Bool[Tensor, "views 1 height width"]:
    """A random rectangle per view: True inside; sides are 0.2 to 1 times those of the image."""

    def span(size: int) -> Bool[Tensor, "views size"]:
        length = size * (0.2 + 0.8 * torch.rand(views, 1, device=device))
        start = (size - length) * torch.rand(views, 1, device=device)
        centre = torch.arange(size, device=device) + 0.5
        return (centre >= start) & (centre < start + length)

    return (span(height)[:, :, None] & span(width)[:, None, :])[:, None]


def cut_between_views(
    images: Sequence[Float[Tensor, "views 3 height width"]],
    present: Bool[Tensor, " views"],
    config: AugmentConfig,
) -> list[Float[Tensor, "views 3 height width"]]:
    """Random rectangles replaced by those of other views of the batch, the same in every set of images (CutMix on both
    sides).

    Pairs correspond pixel by pixel, so a mixture of two pairs is a pair. This multiplies the data of few scenes, and
    keeps the encoder from recognising a scene and recalling its trajectory.
    """
    views, _, height, width = images[0].shape
    device = present.device
    donors = torch.nonzero(present).flatten()
    donor = donors[torch.randint(len(donors), (views,), device=device)]
    chosen = (torch.rand(views, device=device) < config.cut) & present
    inside = rectangles(views, height, width, device) & chosen.view(-1, 1, 1, 1)
    return [torch.where(inside, image[donor], image) for image in images]


def change_appearance(
    image: Float[Tensor, "views 3 height width"], config: AugmentConfig
) -> Float[Tensor, "views 3 height width"]:
    """Random exposure, contrast, saturation, tint, blur and noise per view; values in [0, 1]."""
    views, device = image.shape[0], image.device

    def factor(width: float) -> Tensor:
        return torch.exp(_uniform(views, width, device)).view(-1, 1, 1, 1)

    grey_weights = torch.tensor(LUMA_WEIGHTS, device=device).view(1, 3, 1, 1)
    image = (
        image
        * factor(config.exposure)
        * torch.exp(config.tint * (2 * torch.rand(views, 3, 1, 1, device=device) - 1))
    )
    mean = image.mean((1, 2, 3), keepdim=True)
    image = mean + (image - mean) * factor(config.contrast)
    grey = (image * grey_weights).sum(1, keepdim=True)
    keep = 1 + _uniform(views, config.saturation, device).view(-1, 1, 1, 1)
    image = grey + (image - grey) * keep
    blurred = functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blur = (torch.rand(views, device=device) < config.blur).view(-1, 1, 1, 1)
    image = torch.where(blur, blurred, image)
    return (image + config.noise * torch.randn_like(image)).clamp(0, 1)


def _uniform(count: int, width: float, device: torch.device) -> Float[Tensor, " count"]:
    return width * (2 * torch.rand(count, device=device) - 1)


def augment_pair(
    real: Observation, rendering: Observation, names: Sequence[str], config: AugmentConfig
) -> tuple[Observation, Observation]:
    """Both sides of a batch, augmented; camera mask, command and ego stay equal on both sides.

    `names` are the cameras of the rig, which mirroring needs.
    """
    if config.mirror > 0:
        order = mirrored_order(names)
        use = torch.rand(len(real), device=real.images.device) < config.mirror
        real = select_rows(use, mirror(real, order), real)
        rendering = select_rows(use, mirror(rendering, order), rendering)
    real_images, rendered_images = _channels_first(real.images), _channels_first(rendering.images)
    if config.zoom > 0 or config.shift > 0:
        real_images, rendered_images = zoom_and_shift([real_images, rendered_images], config)
    present = real.camera_mask.flatten()
    if config.cut > 0 and bool(present.any()):
        real_images, rendered_images = cut_between_views([real_images, rendered_images], present, config)
    real_images = change_appearance(real_images, config)
    if config.paste > 0:
        views, _, height, width = rendered_images.shape
        chosen = torch.rand(views, device=rendered_images.device) < config.paste
        inside = rectangles(views, height, width, rendered_images.device) & chosen.view(-1, 1, 1, 1)
        real_images = torch.where(inside, rendered_images, real_images)
    return (
        replace(real, images=_channels_last(real_images, real.images)),
        replace(rendering, images=_channels_last(rendered_images, rendering.images)),
    )


def _channels_first(
    images: UInt8[Tensor, "batch cameras height width 3"],
) -> Float[Tensor, "views 3 height width"]:
    return images.flatten(0, 1).permute(0, 3, 1, 2).float() / 255.0


def _channels_last(
    image: Float[Tensor, "views 3 height width"], like: UInt8[Tensor, "batch cameras height width 3"]
) -> UInt8[Tensor, "batch cameras height width 3"]:
    return torch.round(image * 255.0).to(torch.uint8).permute(0, 2, 3, 1).reshape(like.shape)
