"""Low-rank adaptation (LoRA) of the queries and values of a transformer whose attention has one fused `qkv` layer."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LORA_WEIGHTS = ("query_a", "query_b", "value_a", "value_b")
"""Names of the trained weights of a `LoraQueryValue`."""


class LoraQueryValue(nn.Module):
    """A fused `qkv` layer, frozen, plus a trained product of two thin matrices for the queries and one for the values.

    query = W_q x + B_q A_q x, value alike, key = W_k x, without a scale, as in DrivoR. A begins as in `nn.Linear`
    and B at zero, so that an untrained one answers as the frozen layer does.
    """

    def __init__(self, qkv: nn.Linear, rank: int) -> None:
        super().__init__()
        width = qkv.in_features
        if qkv.out_features != 3 * width:
            raise ValueError(
                f"LoRA needs a qkv layer of {width} to {3 * width} features, not {qkv.out_features}"
            )
        self.qkv = qkv.requires_grad_(False)
        self.query_a, self.value_a = (nn.Parameter(qkv.weight.new_empty(rank, width)) for _ in range(2))
        self.query_b, self.value_b = (nn.Parameter(qkv.weight.new_zeros(width, rank)) for _ in range(2))
        for matrix in (self.query_a, self.value_a):
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))

    def forward(
        self, tokens: Float[Tensor, "views tokens width"]
    ) -> Float[Tensor, "views tokens three_widths"]:
        """Queries, keys and values, one after another in the last axis."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        query = query + functional.linear(functional.linear(tokens, self.query_a), self.query_b)
        value = value + functional.linear(functional.linear(tokens, self.value_a), self.value_b)
        return torch.cat([query, key, value], dim=-1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain `qkv` layer that answers as this one does, for inference."""
        layer = nn.Linear(self.qkv.in_features, self.qkv.out_features, bias=self.qkv.bias is not None)
        query, value = self.query_b @ self.query_a, self.value_b @ self.value_a
        layer.weight.copy_(self.qkv.weight + torch.cat([query, torch.zeros_like(query), value]))
        if self.qkv.bias is not None:
            layer.bias.copy_(self.qkv.bias)
        return layer.to(self.qkv.weight)


def add_lora(transformer: nn.Module, rank: int) -> None:
    """Freeze a timm transformer and give the attention of each of its blocks LoRA of this rank, in place."""
    transformer.requires_grad_(False)
    for attention in _attentions(transformer):
        attention.qkv = LoraQueryValue(attention.qkv, rank)


def merge_lora(transformer: nn.Module) -> None:
    """Replace the LoRA of each block by one plain layer, in place: faster, and no longer to be trained."""
    for attention in _attentions(transformer):
        if isinstance(attention.qkv, LoraQueryValue):
            attention.qkv = attention.qkv.merged()


def _attentions(transformer: nn.Module) -> list[nn.Module]:
    return [
        module
        for module in transformer.modules()
        if isinstance(getattr(module, "qkv", None), nn.Module) and not isinstance(module, LoraQueryValue)
    ]
