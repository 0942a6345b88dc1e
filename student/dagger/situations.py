"""Classes of samples, and batches in which rare ones are as likely as frequent ones.

| class         | the first that applies                                                            |
|---------------|-----------------------------------------------------------------------------------|
| `light`       | the next stop line on the route, at most LIGHT_M ahead, shows yellow or red       |
| `turn`        | the command is left or right                                                      |
| `near_others` | another agent is within NEAR_M                                                    |
| `other`       | the rest: driving straight, alone                                                 |

The classes are our choice. `student.bridge.situations` measures what they depend on.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from student.observation import Command

SITUATIONS = ("light", "turn", "near_others", "other")
LIGHT, TURN, NEAR_OTHERS, OTHER = range(len(SITUATIONS))
LIGHT_M = 15.0
NEAR_M = 5.0
"""Gap between the circles around the centres of two agents whose diameters are their lengths."""


def situation_of(
    before_red: Bool[Tensor, " batch"],
    near_others: Bool[Tensor, " batch"],
    command: Float[Tensor, "batch commands"],
) -> Int[Tensor, " batch"]:
    """Index into SITUATIONS of each sample."""
    turns = command[:, Command.LEFT] + command[:, Command.RIGHT] > 0
    situation = torch.where(near_others, NEAR_OTHERS, OTHER)
    situation = torch.where(turns, TURN, situation)
    return torch.where(before_red, LIGHT, situation)


def balanced_rows(
    situation: Int[Tensor, " samples"], batch_size: int, share: float, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Rows drawn with replacement: with probability `share` from a situation that is drawn evenly among those that
    occur, else from all samples alike."""
    count = torch.bincount(situation, minlength=len(SITUATIONS))
    occurring = int((count > 0).sum())
    weight = (1.0 - share) / len(situation) + share / (occurring * count[situation].double())
    return torch.multinomial(weight, batch_size, replacement=True, generator=generator)
