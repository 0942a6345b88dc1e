"""DrivoR's image encoder: learned register tokens that collect what a transformer sees in each camera."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from student.network.encoder_config import EncoderConfig
from student.network.grid_mask import randomly_masked
from student.network.lora import LORA_WEIGHTS, add_lora
from student.network.timm_backbone import ImageBackbone


class RegisterEncoder(ImageBackbone):
    """A vision transformer of timm with register tokens of ours, which are learned for each camera and have no
    position; only what they are after the last norm is kept, projected to `features`.

    With `lora_rank` the backbone is frozen and its queries and values are adapted, see `LoraQueryValue`.
    """

    def __init__(self, config: EncoderConfig, cameras: int) -> None:
        super().__init__(config)
        self._refuse_other_models(config.timm_name)
        self._grid_mask = config.grid_mask
        self._frozen = bool(config.lora_rank) or config.freeze_backbone
        if config.lora_rank:
            add_lora(self.backbone, config.lora_rank)
        elif config.freeze_backbone:
            self.backbone.requires_grad_(False)
        width = int(self.backbone.embed_dim)
        self.registers = nn.Parameter(config.register_std * torch.randn(cameras, config.registers, width))
        self.project = nn.Linear(width, config.features)

    def _refuse_other_models(self, name: str) -> None:
        from timm.models.vision_transformer import VisionTransformer

        if not isinstance(self.backbone, VisionTransformer):
            raise ValueError(
                f"encoder.timm_name={name!r} is no plain vision transformer, to which registers could be given; use "
                "one such as 'vit_small_patch14_reg4_dinov2', or encoder.kind 'timm'"
            )

    def train_all(self) -> None:
        """Let every weight be trained but those of a frozen backbone."""
        for name, weight in self.named_parameters():
            of_backbone = name.startswith("backbone.") and not name.endswith(LORA_WEIGHTS)
            weight.requires_grad_(not (self._frozen and of_backbone))

    def register_states(
        self, images: UInt8[Tensor, "views height width 3"]
    ) -> Float[Tensor, "views registers backbone"]:
        """The registers after the last norm; images are in the order of the cameras, agent after agent."""
        tokens = self.backbone.blocks(self._first_tokens(images))
        return self.backbone.norm(tokens)[:, : self.registers.shape[1]]

    def _first_tokens(
        self, images: UInt8[Tensor, "views height width 3"]
    ) -> Float[Tensor, "views tokens backbone"]:
        """What the first block is given: our registers, the backbone's own tokens, the patches row by row."""
        backbone = self.backbone
        picture = self.picture(images)
        if self.training and self._grid_mask:
            picture = randomly_masked(picture, self._grid_mask)
        tokens = backbone._pos_embed(backbone.patch_embed(picture))
        registers = self.registers.repeat(len(images) // len(self.registers), 1, 1)
        tokens = torch.cat([registers.to(tokens.dtype), tokens], dim=1)
        return backbone.norm_pre(backbone.patch_drop(tokens))

    @torch.no_grad()
    def attention(
        self, images: UInt8[Tensor, "views height width 3"]
    ) -> Float[Tensor, "views registers rows columns"]:
        """How much each register looks at each patch in the last block, mean over heads. With what it looks at besides,
        the other tokens, it sums to 1. Padding of the picture counts as patches."""
        *before, last = self.backbone.blocks
        tokens = self._first_tokens(images)
        for block in before:
            tokens = block(tokens)
        layer, normed = last.attn, last.norm1(tokens)
        query, key, _ = (
            part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
            for part in layer.qkv(normed).chunk(3, dim=-1)
        )
        query, key = layer.q_norm(query[:, :, : self.registers.shape[1]]), layer.k_norm(key)
        share = torch.softmax(layer.scale * query @ key.transpose(-2, -1), dim=-1).mean(1)
        rows, columns = self.backbone.patch_embed.grid_size
        return share[..., -rows * columns :].unflatten(-1, (rows, columns))

    def forward(self, images: UInt8[Tensor, "views height width 3"]) -> Float[Tensor, "views features"]:
        """The projected registers of each image, one after another."""
        return self.project(self.register_states(images)).flatten(1)
