"""GridMask: squares of a regular grid are blanked, so that no single place in the image can be relied on."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MASKED_SHARE = 0.5
"""Side of a blanked square over the period of the grid, as in DrivoR."""


def grid_mask(
    height: int, width: int, period: int, row_offset: int, column_offset: int
) -> Bool[Tensor, "height width"]:
    """True in the squares that are blanked: in every period, the last MASKED_SHARE of its rows and of its columns."""
    kept = period - round(MASKED_SHARE * period)
    rows = (torch.arange(height) + row_offset) % period >= kept
    columns = (torch.arange(width) + column_offset) % period >= kept
    return rows[:, None] & columns[None]


def randomly_masked(
    picture: Float[Tensor, "views 3 rows columns"], probability: float
) -> Float[Tensor, "views 3 rows columns"]:
    """With this probability the normalised pictures with squares set to 0, which is the mean colour: one grid for all
    of them, of a random period up to their shorter side, from torch's own generator."""
    if torch.rand(()).item() >= probability:
        return picture
    height, width = picture.shape[-2:]
    period = int(torch.randint(2, min(height, width) + 1, ()).item())
    row_offset, column_offset = torch.randint(period, (2,)).tolist()
    mask = grid_mask(height, width, period, row_offset, column_offset).to(picture.device)
    return picture.masked_fill(mask, 0.0)
