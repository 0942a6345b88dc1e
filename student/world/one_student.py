"""Which agent of each world is the student, where a world has only one student among teachers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor


class OneStudent:
    """One random agent of each world is the student until it no longer drives or its world begins a new episode; then
    another one that drives is.

    The random numbers come from a generator of its own, so that the traffic is that of worlds with many students.

    Attributes:
        agent: The student of each world, [worlds] int64; -1 where none has been chosen.
    """

    def __init__(self, num_worlds: int) -> None:
        self.agent = torch.full((num_worlds,), -1)
        self._generator = torch.Generator()

    def reset(self, seed: int) -> None:
        """New students everywhere, drawn by `seed`."""
        self.agent.fill_(-1)
        self._generator.manual_seed(seed)

    def begin_episode(self, world: int) -> None:
        """Forget the student of one world."""
        self.agent[world] = -1

    def mask(self, drives: Bool[Tensor, "worlds agents"]) -> Bool[Tensor, "worlds agents"]:
        """The students among the agents that drive: one of each world in which any does."""
        kept = (self.agent >= 0) & drives.gather(1, self.agent.clamp(min=0)[:, None])[:, 0]
        for world in (~kept).nonzero()[:, 0].tolist():
            driving = drives[world].nonzero()[:, 0]
            self.agent[world] = -1
            if len(driving):
                self.agent[world] = driving[torch.randint(len(driving), (), generator=self._generator)]
        chosen = torch.zeros_like(drives)
        some = self.agent >= 0
        chosen[some, self.agent[some]] = True
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Students and generator."""
        return {"agent": self.agent.clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.agent = state_dict["agent"].clone()
        self._generator.set_state(state_dict["generator"])
