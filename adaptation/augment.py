"""Making few real pictures count for many: changes of look on the real side, changes of view on both sides.

Whatever moves things in the picture (mirror, zoom, shift) is done alike to the real picture and to the rendering,
and the frozen student is asked again about the changed rendering, so a pair stays a pair; so is the mixing of two
pairs by rectangles. Whatever only changes how
the world looks (exposure, colour, blur, noise) is done to the real picture alone. Randomness is torch's global
generator, which Lightning seeds.
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
"""Ego inputs that change sign in a mirror."""
GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training pairs are varied; all zero leaves them as they are."""

    mirror: float = 0.5  # probability of a mirrored world
    zoom: float = 0.15  # both sides: magnified by a factor in exp(+-zoom)
    shift: float = 0.10  # both sides: moved by up to this share of the picture, per camera
    cut: float = 0.5  # both sides: probability per view that a rectangle comes from another view of the batch
    paste: float = 0.3  # real side: probability per view that a rectangle is replaced by the rendering
    exposure: float = 0.5  # real side: brightness factor in exp(+-exposure)
    contrast: float = 0.4  # real side: contrast factor in exp(+-contrast)
    saturation: float = 0.7  # real side: mixed with its grey picture by a factor in 1 +- saturation
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
    """For each camera the one that takes its place in a mirrored world: left and right change names."""
    swapped = [name.replace("left", "\0").replace("right", "left").replace("\0", "right") for name in names]
    missing = [name for name in swapped if name not in names]
    if missing:
        raise ValueError(
            f"the rig {list(names)} has no camera {missing[0]!r}, so its world cannot be mirrored"
        )
    return [list(names).index(name) for name in swapped]


def mirror(observation: Observation, order: Sequence[int]) -> Observation:
    """The observation of the mirrored world: pictures, camera order, command and sideways motion."""
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


def choose(use: Tensor, first: Observation, second: Observation) -> Observation:
    """Rows of `first` where `use` [batch] holds, else of `second`."""
    picked = {}
    for name in ("images", "camera_mask", "ego", "command", "conditioning"):
        a, b = getattr(first, name), getattr(second, name)
        picked[name] = torch.where(use.view(-1, *[1] * (a.ndim - 1)), a, b)
    return Observation(**picked)


def zoom_and_shift(
    pictures: Sequence[Float[Tensor, "views 3 height width"]], config: AugmentConfig
) -> list[Float[Tensor, "views 3 height width"]]:
    """The same random magnification and displacement per view for every picture set; borders repeat."""
    views = pictures[0].shape[0]
    device = pictures[0].device
    scale = torch.exp(-_uniform(views, config.zoom, device))
    moved = torch.stack([_uniform(views, 2 * config.shift, device) for _ in range(2)], dim=-1)
    affine = torch.zeros(views, 2, 3, device=device)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = moved
    grid = functional.affine_grid(affine, list(pictures[0].shape), align_corners=False)
    return [
        functional.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
        for picture in pictures
    ]


def rectangles(
    views: int, height: int, width: int, device: torch.device
) -> Bool[Tensor, "views 1 height width"]:
    """A random rectangle per view: True inside; sides between a fifth and the whole of the picture."""

    def span(size: int) -> Bool[Tensor, "views size"]:
        length = size * (0.2 + 0.8 * torch.rand(views, 1, device=device))
        start = (size - length) * torch.rand(views, 1, device=device)
        centre = torch.arange(size, device=device) + 0.5
        return (centre >= start) & (centre < start + length)

    return (span(height)[:, :, None] & span(width)[:, None, :])[:, None]


def cut_between_views(
    pictures: Sequence[Float[Tensor, "views 3 height width"]],
    present: Bool[Tensor, " views"],
    config: AugmentConfig,
) -> list[Float[Tensor, "views 3 height width"]]:
    """Rectangles of other views put into views, alike in every picture set.

    Pairs agree pixel by pixel, so a mixture of two pairs is a pair; few scenes make many mixtures, and nothing in a
    mixture tells which scene, and hence which trajectory, it came from.
    """
    views, _, height, width = pictures[0].shape
    device = present.device
    donors = torch.nonzero(present).flatten()
    donor = donors[torch.randint(len(donors), (views,), device=device)]
    chosen = (torch.rand(views, device=device) < config.cut) & present
    inside = rectangles(views, height, width, device) & chosen.view(-1, 1, 1, 1)
    return [torch.where(inside, picture[donor], picture) for picture in pictures]


def change_look(
    picture: Float[Tensor, "views 3 height width"], config: AugmentConfig
) -> Float[Tensor, "views 3 height width"]:
    """Random exposure, contrast, saturation, tint, blur and noise per view; values in [0, 1]."""
    views, device = picture.shape[0], picture.device

    def factor(width: float) -> Tensor:
        return torch.exp(_uniform(views, width, device)).view(-1, 1, 1, 1)

    grey_weights = torch.tensor(GREY, device=device).view(1, 3, 1, 1)
    picture = (
        picture
        * factor(config.exposure)
        * torch.exp(config.tint * (2 * torch.rand(views, 3, 1, 1, device=device) - 1))
    )
    mean = picture.mean((1, 2, 3), keepdim=True)
    picture = mean + (picture - mean) * factor(config.contrast)
    grey = (picture * grey_weights).sum(1, keepdim=True)
    keep = 1 + _uniform(views, config.saturation, device).view(-1, 1, 1, 1)
    picture = grey + (picture - grey) * keep
    blurred = functional.avg_pool2d(functional.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blur = (torch.rand(views, device=device) < config.blur).view(-1, 1, 1, 1)
    picture = torch.where(blur, blurred, picture)
    return (picture + config.noise * torch.randn_like(picture)).clamp(0, 1)


def _uniform(count: int, width: float, device: torch.device) -> Float[Tensor, " count"]:
    return width * (2 * torch.rand(count, device=device) - 1)


def augment_pair(
    real: Observation, rendering: Observation, names: Sequence[str], config: AugmentConfig
) -> tuple[Observation, Observation]:
    """Both sides of a batch of pairs, varied; camera masks, command and ego stay equal on both sides."""
    if config.mirror > 0:
        order = mirrored_order(names)
        use = torch.rand(len(real), device=real.images.device) < config.mirror
        real = choose(use, mirror(real, order), real)
        rendering = choose(use, mirror(rendering, order), rendering)
    real_pictures, rendered = _planes(real.images), _planes(rendering.images)
    if config.zoom > 0 or config.shift > 0:
        real_pictures, rendered = zoom_and_shift([real_pictures, rendered], config)
    present = real.camera_mask.flatten()
    if config.cut > 0 and bool(present.any()):
        real_pictures, rendered = cut_between_views([real_pictures, rendered], present, config)
    real_pictures = change_look(real_pictures, config)
    if config.paste > 0:
        views, _, height, width = rendered.shape
        chosen = torch.rand(views, device=rendered.device) < config.paste
        inside = rectangles(views, height, width, rendered.device) & chosen.view(-1, 1, 1, 1)
        real_pictures = torch.where(inside, rendered, real_pictures)
    return (
        replace(real, images=_pixels(real_pictures, real.images)),
        replace(rendering, images=_pixels(rendered, rendering.images)),
    )


def _planes(images: UInt8[Tensor, "batch cameras height width 3"]) -> Float[Tensor, "views 3 height width"]:
    return images.flatten(0, 1).permute(0, 3, 1, 2).float() / 255.0


def _pixels(
    planes: Float[Tensor, "views 3 height width"], like: UInt8[Tensor, "batch cameras height width 3"]
) -> UInt8[Tensor, "batch cameras height width 3"]:
    return torch.round(planes * 255.0).to(torch.uint8).permute(0, 2, 3, 1).reshape(like.shape)
