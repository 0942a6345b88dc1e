"""What a student answers."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from student.tensor_batch import TensorBatch
from student.trajectory import Trajectory


@dataclass(frozen=True)
class Plan(TensorBatch):
    """The student's output. `proposals` and what follows are None where the architecture has none."""

    trajectory: (
        Trajectory  # poses [batch, 8, 3]: what the student would do; of several proposals, the chosen one
    )
    action_logits: Float[Tensor, "batch actions"]
    tokens: Float[Tensor, "batch cameras features"]  # the register features that adaptation matches
    proposals: Float[Tensor, "batch proposals poses 3"] | None = None  # as in `Trajectory.poses`
    scores: Float[Tensor, "batch proposals sub_scores"] | None = None
    """Logits of `student.sub_scores.SUB_SCORES` of each proposal; None without a scorer."""
    choice: Int[Tensor, " batch"] | None = None  # which proposal `trajectory` is

    def actions(self) -> Tensor:
        """Most likely action of each agent, [batch] int64."""
        return self.action_logits.argmax(-1)
