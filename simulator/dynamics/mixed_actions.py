"""Agents of one world under different action models: a student's follow trajectories while a teacher's act by jerks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from simulator.array_field import ArrayField
from simulator.dynamics.action_model import StepModel
from simulator.dynamics.bicycle import Motion, Vehicle


@struct.dataclass
class MixedAction:
    """An action of every model for every agent, and which one counts."""

    model: ArrayField  # [agents] int32: index into `MixedActions.models`
    actions: tuple[Any, ...]  # one per model; where another model counts the values mean nothing


@dataclass(frozen=True)
class MixedActions:
    """Several models side by side; each agent moves by the one that its action names.

    A `StepModel` and no `ActionModel`: a log is explained by one model at a time.
    """

    models: tuple[StepModel, ...]

    def forward(self, motion: Motion, action: MixedAction, vehicle: Vehicle, timestep_s: float) -> Motion:
        """The motion one step later, of each agent by its own model."""
        found = [
            model.forward(motion, own, vehicle, timestep_s)
            for model, own in zip(self.models, action.actions, strict=True)
        ]

        def pick(*fields: Array) -> Array:
            return jnp.select([action.model == index for index in range(len(fields))], fields)

        return jax.tree.map(pick, *found)

    def hardest_braking(self, action: MixedAction) -> MixedAction:
        """The same choice of models, all of which brake."""
        braking = tuple(
            model.hardest_braking(own) for model, own in zip(self.models, action.actions, strict=True)
        )
        return action.replace(actions=braking)
