"""The camera rig of every agent of a `PixelWorld`: the nominal one, or one of a few perturbed ones."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from renderer import CalibrationNoise, CameraRig, Frame, Scene, render_each, sample_rigs


class AgentRigs:
    """Rigs with calibration noise: `num_rigs` are sampled around a nominal rig by a seed, and each agent gets a random
    one of them at the start of every episode of its world. Without noise every agent has the nominal rig.

    The random numbers come from a generator of its own, so that noise changes the images and not the traffic.
    """

    def __init__(
        self, nominal: CameraRig, noise: CalibrationNoise, num_rigs: int, num_worlds: int, num_agents: int
    ) -> None:
        self._nominal, self._noise, self._num_rigs = nominal, noise, num_rigs
        self._shape = (num_worlds, num_agents)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Sample new rigs by `seed`; every agent has the first one until its world begins an episode."""
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self.choice = torch.zeros(self._shape, dtype=torch.int64)  # [worlds, agents] which of `rigs`
        if self._noise.is_none:
            self.rigs: tuple[CameraRig, ...] = (self._nominal,)
        else:
            self.rigs = sample_rigs(self._nominal, self._noise, self._num_rigs, self._generator)

    def begin_episode(self, world: int) -> None:
        """Choose a random rig for every agent of one world."""
        self.choice[world] = torch.randint(len(self.rigs), self._shape[1:], generator=self._generator)

    def render(
        self, scene: Scene, viewers: Int[Tensor, " viewers"], channels: tuple[str, ...], backend: str
    ) -> Frame:
        """Images of each viewer through its own rig; `viewers` are flat indices world * agents + agent, in the order of
        the scene's."""
        return render_each(scene, self.rigs, self.choice.flatten()[viewers], channels, backend)

    def state_dict(self) -> dict[str, Any]:
        """Seed, choice of rigs and generator, as tensors and numbers; empty without noise."""
        if self._noise.is_none:
            return {}
        return {
            "seed": self._seed,
            "num_rigs": self._num_rigs,
            "choice": self.choice.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken. Raises ValueError for another noise or number of rigs."""
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
