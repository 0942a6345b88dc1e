"""Encoders from a camera image to tokens: a compact CNN for the CPU, any backbone of timm, and register tokens in a
transformer of timm (`student/network/registers.py`)."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from student.network.encoder_config import EncoderConfig
from student.network.registers import RegisterEncoder
from student.network.timm_backbone import ImageBackbone, size_message

CONV_GRID = (2, 4)
"""Rows and columns that a convolutional timm backbone is pooled to: the position of an object in the image matters."""


CPU_VIEWS = 128
"""Images that the compact encoder takes through its layers together on a CPU. Feature maps of more leave the caches:
with 512 images of 96 x 54 a training step takes 1.4 times as long."""


class CompactEncoder(nn.Module):
    """A few strided convolutions, then one linear layer over the flattened map, so that position is kept.

    For the default image of 96 x 54 this is about 5 MFLOP. Feature maps lie in memory with channels last, which is
    faster on CPUs.
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
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.project = nn.Linear(fan_in * height * width, config.features)
        self.norm = nn.LayerNorm(config.features)

    def forward(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views features"]:
        """One token per image."""
        parts = images.split(CPU_VIEWS) if images.device.type == "cpu" else (images,)
        tokens = [self.project(self._features(part)) for part in parts]
        return self.norm(tokens[0] if len(tokens) == 1 else torch.cat(tokens))

    def _features(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views flat"]:
        """The last feature map of images, whose levels 0 to 255 become -1 to 1."""
        minus_one = torch.full((), -1.0, device=images.device)  # without a copy from the host
        pictures = images.permute(0, 3, 1, 2).float()
        torch.add(minus_one, pictures, alpha=1 / 127.5, out=pictures)
        return self.convolutions(pictures).flatten(1)


class TimmEncoder(ImageBackbone):
    """Any timm backbone: the class and register tokens of a transformer, or the features of a CNN pooled to
    CONV_GRID, projected to one token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
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
        return self.norm(self.project(self._features(self.picture(images))))


def build_encoder(
    config: EncoderConfig, height: int, width: int, cameras: int = 1
) -> CompactEncoder | TimmEncoder | RegisterEncoder:
    """The encoder of the config for images of this height and width in pixels; `cameras` are those of an agent, whose
    images follow one another."""
    if config.kind == "registers":
        return RegisterEncoder(config, cameras)
    return CompactEncoder(config, height, width) if config.kind == "compact" else TimmEncoder(config)
