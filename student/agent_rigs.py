"""Which cameras every agent of a `PixelWorld` has: the nominal rig, or one of a few cars that differ from it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from renderer import CalibrationNoise, CameraRig, Frame, Scene, draw_rigs, render_each


class AgentRigs:
    """`num_rigs` cars are drawn around a nominal rig by a seed, and shared by the agents: whenever a world begins an
    episode, each of its agents gets one of them anew. Without noise every agent has the nominal rig.

    It has its own generator, so that noise changes what is seen and not what happens.
    """

    def __init__(
        self, nominal: CameraRig, noise: CalibrationNoise, num_rigs: int, num_worlds: int, num_agents: int
    ) -> None:
        self._nominal, self._noise, self._num_rigs = nominal, noise, num_rigs
        self._shape = (num_worlds, num_agents)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Other cars, drawn by `seed`; every agent has the first one until its world begins an episode."""
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self.choice = torch.zeros(self._shape, dtype=torch.int64)  # [worlds, agents] which of `rigs`
        if self._noise.is_none:
            self.rigs: tuple[CameraRig, ...] = (self._nominal,)
        else:
            self.rigs = draw_rigs(self._nominal, self._noise, self._num_rigs, self._generator)

    def begin_episode(self, world: int) -> None:
        """Choose a car anew for every agent of one world."""
        self.choice[world] = torch.randint(len(self.rigs), self._shape[1:], generator=self._generator)

    def render(
        self, scene: Scene, viewers: Int[Tensor, " viewers"], channels: tuple[str, ...], backend: str
    ) -> Frame:
        """What each viewer of the scene sees through its own cameras; `viewers` are flat indices world * agents +
        agent, in the order of the scene's."""
        return render_each(scene, self.rigs, self.choice.flatten()[viewers], channels, backend)

    def state_dict(self) -> dict[str, Any]:
        """What the agents have and which they will get, as tensors and numbers; nothing without noise."""
        if self._noise.is_none:
            return {}
        return {
            "seed": self._seed,
            "num_rigs": self._num_rigs,
            "choice": self.choice.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, with the same noise and number of rigs."""
        if bool(state_dict) is self._noise.is_none:
            kept, asked = ("with", "without") if state_dict else ("without", "with")
            raise ValueError(
                f"the checkpoint was made {kept} calibration noise and the config is {asked} it; resume with the same "
                "world.calibration_noise"
            )
        if not state_dict:
            return
        if state_dict["num_rigs"] != self._num_rigs:
            raise ValueError(
                f"world.calibration_rigs={self._num_rigs}, but the checkpoint was made with {state_dict['num_rigs']}; "
                "resume with the same number"
            )
        self.reset(state_dict["seed"])
        self.choice = state_dict["choice"].clone()
        self._generator.set_state(state_dict["generator"])
