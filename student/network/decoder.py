"""The decoder blocks of DrivoR: queries that look at each other and at the tokens of the scene."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

MLP_RATIO = 4
"""Hidden width of a block's MLP over the width of its tokens."""


class DecoderBlock(nn.Module):
    """Pre-norm self-attention, cross-attention and MLP, each added to the queries. In training, dropout acts on what is
    added, and a sample skips it with probability `drop_path`."""

    def __init__(self, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
        )
        self.dropout, self.drop_path = dropout, drop_path

    def forward(
        self, queries: Float[Tensor, "batch queries width"], scene: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch queries width"]:
        """The queries after one block."""
        normed = self.norms[0](queries)
        queries = queries + self._dropped(self.self_attention(normed, normed, normed, need_weights=False)[0])
        normed = self.norms[1](queries)
        queries = queries + self._dropped(self.cross_attention(normed, scene, scene, need_weights=False)[0])
        return queries + self._dropped(self.mlp(self.norms[2](queries)))

    def _dropped(self, added: Float[Tensor, "batch queries width"]) -> Float[Tensor, "batch queries width"]:
        if not self.training:
            return added
        added = functional.dropout(added, self.dropout)
        return added * functional.dropout(added.new_ones(len(added), 1, 1), self.drop_path)


class Decoder(nn.Module):
    """Several blocks, one after another, all looking at the same scene."""

    def __init__(self, layers: int, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, dropout, drop_path) for _ in range(layers))

    def forward(
        self, queries: Float[Tensor, "batch queries width"], scene: Float[Tensor, "batch tokens width"]
    ) -> list[Float[Tensor, "batch queries width"]]:
        """The queries before the first block and after each, layers + 1 of them."""
        after = [queries]
        for block in self.blocks:
            after.append(block(after[-1], scene))
        return after


def pose_head(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with LayerNorm and ReLU, from a query to its poses."""
    return nn.Sequential(
        *(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU()),
        nn.Linear(hidden, outputs),
    )
