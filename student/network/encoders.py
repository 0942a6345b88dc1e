"""Encoders from a camera image to one token: a compact CNN for the CPU, and any backbone of timm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from student.network.timm_backbone import create_backbone, size_message

CONV_GRID = (2, 4)
"""Rows and columns that a convolutional timm backbone is pooled to: the position of an object in the image matters."""


@dataclass(frozen=True)
class EncoderConfig:
    """Architecture of the image encoder."""

    kind: Literal["compact", "timm"] = "compact"
    features: int = 128  # width of a token
    channels: tuple[int, ...] = (16, 32, 64)  # compact: of one convolution each, stride 3 and then 2
    timm_name: str = "vit_small_patch14_reg4_dinov2"  # timm: name in timm.list_models()
    pretrained: bool = False  # timm: download the published weights
    input_height_px: int = 112  # timm: images are resized to this
    input_width_px: int = 196
    partial_patches: Literal["refuse", "pad"] = "refuse"
    """timm: what to do where a transformer's patch does not divide the input size. `pad` adds rows below and columns to
    the right, of the mean colour of the backbone's training data, up to whole patches."""
    freeze_backbone: bool = False  # timm: train only the projection to a token

    def __post_init__(self) -> None:
        if self.kind not in ("compact", "timm"):
            raise ValueError(f"encoder.kind={self.kind!r} is unknown; use 'compact' or 'timm'")
        if self.partial_patches not in ("refuse", "pad"):
            raise ValueError(
                f"encoder.partial_patches={self.partial_patches!r} is unknown; use 'refuse' or 'pad'"
            )
        for name in ("features", "input_height_px", "input_width_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}={getattr(self, name)} must be at least 1")
        if not self.channels or any(c < 8 or c % 8 for c in self.channels):
            raise ValueError(f"encoder.channels={self.channels} must be multiples of 8, at least one")


class CompactEncoder(nn.Module):
    """A few strided convolutions, then one linear layer over the flattened map, so that position is kept.

    For the default image of 96 x 54 this is about 5 MFLOP.
    """

    def __init__(self, config: EncoderConfig, height: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        fan_in = 3
        for depth, channels in enumerate(config.channels):
            kernel, stride = (5, 3) if depth == 0 else (3, 2)
            layers.append(nn.Conv2d(fan_in, channels, kernel, stride, padding=kernel // 2, bias=False))
            layers += [nn.GroupNorm(channels // 8, channels), nn.ReLU(inplace=True)]
            height, width, fan_in = -(-height // stride), -(-width // stride), channels
        self.convolutions = nn.Sequential(*layers)
        self.project = nn.Linear(fan_in * height * width, config.features)
        self.norm = nn.LayerNorm(config.features)

    def forward(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views features"]:
        """One token per image."""
        picture = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return self.norm(self.project(self.convolutions(picture).flatten(1)))


class TimmEncoder(nn.Module):
    """Any timm backbone: the class and register tokens of a transformer, or the features of a CNN pooled to
    CONV_GRID, projected to one token."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = (config.input_height_px, config.input_width_px)
        built = create_backbone(config.timm_name, size, config.partial_patches == "pad", config.pretrained)
        self.backbone, self.input_size, (rows, columns) = built.model, built.input_size, built.padding
        self.padding = (0, columns, 0, rows)  # left, right, top, bottom
        published = self.backbone.pretrained_cfg
        self.register_buffer("mean", 255.0 * torch.tensor(published["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", 255.0 * torch.tensor(published["std"]).view(1, 3, 1, 1))
        self.project = nn.Linear(self._measure_width(config), config.features)
        self.norm = nn.LayerNorm(config.features)
        if config.freeze_backbone:
            self.backbone.requires_grad_(False)

    def _measure_width(self, config: EncoderConfig) -> int:
        """Features per image. Raises ValueError for an input size that the backbone does not take."""
        blank = functional.pad(torch.zeros(1, 3, *self.input_size), self.padding)
        try:
            with torch.no_grad():
                return int(self._features(blank).shape[-1])
        except (AssertionError, RuntimeError) as error:
            raise ValueError(size_message(config.timm_name, self.input_size, error)) from error

    def _features(self, picture: Float[Tensor, "views 3 rows columns"]) -> Float[Tensor, "views backbone"]:
        features = self.backbone.forward_features(picture)
        if features.ndim == 3:  # transformer: [views, tokens, width]
            prefix = getattr(self.backbone, "num_prefix_tokens", 0)
            return features[:, :prefix].flatten(1) if prefix else features.mean(1)
        if features.shape[1] != self.backbone.num_features:  # some timm CNNs answer channels last
            features = features.movedim(-1, 1)
        return functional.adaptive_avg_pool2d(features, CONV_GRID).flatten(1)

    def forward(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views features"]:
        """One token per image."""
        picture = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if picture.shape[-2:] != self.input_size:
            picture = functional.interpolate(picture, self.input_size, mode="bilinear", antialias=True)
        if any(self.padding):
            picture = functional.pad(picture, self.padding)
        return self.norm(self.project(self._features(picture)))


def build_encoder(config: EncoderConfig, height: int, width: int) -> CompactEncoder | TimmEncoder:
    """The encoder of the config for images of this height and width in pixels."""
    return CompactEncoder(config, height, width) if config.kind == "compact" else TimmEncoder(config)
