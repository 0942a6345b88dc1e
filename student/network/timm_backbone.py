"""Backbones of timm: built for one input size, with their published weights if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from gigapixel.run_folder.config.published_weights import refuse_unreachable_weights, unfetched_message
from student.network.encoder_config import EncoderConfig
from student.network.packaged_weights import load_packaged


@dataclass(frozen=True)
class Backbone:
    """A timm model without its classifier."""

    model: nn.Module
    input_size: tuple[int, int]  # (height, width), px, of the images that it is given
    padding: tuple[int, int]  # rows below and columns to the right that are added to them


class ImageBackbone(nn.Module):
    """A timm model, and how camera images become its input: normalised, resized, padded.

    Attributes:
        input_size: (height, width), px, that images are resized to.
        padding: columns left and right, rows above and below, that are added then, of the mean colour.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = (config.input_height_px, config.input_width_px)
        from_hub = config.pretrained and config.pretrained_from == "hub"
        built = create_backbone(config.timm_name, size, config.partial_patches == "pad", from_hub)
        if config.pretrained and not from_hub:
            load_packaged(built.model, config.timm_name)
        self.backbone, self.input_size, (rows, columns) = built.model, built.input_size, built.padding
        self.padding = (0, columns, 0, rows)
        published = self.backbone.pretrained_cfg
        self.register_buffer("mean", 255.0 * torch.tensor(published["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", 255.0 * torch.tensor(published["std"]).view(1, 3, 1, 1))

    def picture(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views 3 rows columns"]:
        """The backbone's input."""
        picture = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if picture.shape[-2:] != self.input_size:
            picture = functional.interpolate(picture, self.input_size, mode="bilinear", antialias=True)
        if any(self.padding):
            picture = functional.pad(picture, self.padding)
        return picture


def create_backbone(name: str, size: tuple[int, int], pad: bool, pretrained: bool) -> Backbone:
    """The timm model `name` for images of `size` (height, width).

    Args:
        name: As in `timm.list_models()`.
        size: Of the images, px.
        pad: Where a transformer's patch does not divide `size`, build the model for images padded to whole patches.
        pretrained: Load the published weights.

    Raises:
        ValueError: There is no such model, its patch does not divide `size` and `pad` is false, or it does not take
            images of this size for another reason.
        OSError: The weights cannot be fetched.
    """
    import timm  # heavy, and the compact encoder does not need it

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise ValueError(f"encoder.timm_name={name!r} is not a timm model; near it are {close}")
    if pretrained:
        refuse_unreachable_weights(name)
    published = timm.get_pretrained_cfg(name)
    fixed = published is not None and bool(published.fixed_input_size)
    if pad:
        patch = patch_size(timm.create_model(name, num_classes=0))
        padding = (-size[0] % patch[0], -size[1] % patch[1])
        model = _create(name, (size[0] + padding[0], size[1] + padding[1]), fixed, pretrained)
        return Backbone(model, size, padding)
    model = _create(name, size, fixed, pretrained)
    patch = patch_size(model)
    if any(side % length for side, length in zip(size, patch, strict=True)):
        below, above = (
            " x ".join(str(_whole(side, length, up)) for side, length in zip(size, patch, strict=True))
            for up in (False, True)
        )
        raise ValueError(
            f"encoder.timm_name={name!r} has patches of {patch[0]} x {patch[1]} px, which do not divide the input of "
            f"{size[0]} x {size[1]} px (height x width); set encoder.input_height_px and input_width_px to {below} or "
            f"{above}, or encoder.partial_patches to 'pad'"
        )
    return Backbone(model, size, (0, 0))


def _whole(side: int, patch: int, up: bool) -> int:
    """The multiple of `patch` next to `side`, from 1 patch."""
    return max(1, -(-side // patch) if up else side // patch) * patch


def patch_size(model: nn.Module) -> tuple[int, int]:
    """Height and width (px) of a transformer's patches; (1, 1) for a model without such, or whose patches overlap."""
    for module in model.modules():
        if hasattr(module, "feat_ratio"):  # timm's own embedding, with or without a CNN before it
            ratio: Any = module.feat_ratio
            height, width = ratio(as_scalar=False)
            return int(height), int(width)
    embedding = getattr(model, "patch_embed", None)
    patch, convolution = getattr(embedding, "patch_size", 1), getattr(embedding, "proj", None)
    overlaps = isinstance(convolution, nn.Conv2d) and convolution.stride != convolution.kernel_size
    height, width = (1, 1) if overlaps else (patch, patch) if isinstance(patch, int) else patch
    return int(height), int(width)


def _create(name: str, size: tuple[int, int], fixed: bool, pretrained: bool) -> nn.Module:
    import timm

    options: dict[str, object] = {"pretrained": pretrained, "num_classes": 0}
    if fixed:
        options["img_size"] = size
    try:
        return timm.create_model(name, **options)
    except AssertionError as error:
        raise ValueError(size_message(name, size, error)) from error
    except Exception as error:  # the hub client raises many kinds; all mean that the weights are not here
        if not pretrained:
            raise
        raise OSError(unfetched_message(name, type(error).__name__)) from error


def size_message(name: str, size: tuple[int, int], error: Exception) -> str:
    """Why a backbone does not take images of a size, in one sentence."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"encoder.timm_name={name!r} does not accept images of {size[0]} x {size[1]} px: {reason}"
