"""What an action means: one interface for jerks, acceleration and steering rate, trajectories, and mixtures of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from simulator.dynamics.bicycle import Motion, Vehicle
from simulator.dynamics.jerk_actions import JerkActions
from simulator.dynamics.log_window import Ahead
from simulator.dynamics.steering_rate_actions import ContinuousSteeringRate, SteeringRateActions
from simulator.dynamics.trajectory_actions import TrajectoryActions


@runtime_checkable
class StepModel(Protocol):
    """What `simulator.step.step` requires of a model.

    Models are hashable, so that `jit` can hold them static, and their methods are pure: they keep any leading axes
    [...] of motions, actions and vehicles. An action is an array or a pytree of arrays.
    """

    def forward(self, motion: Motion, action: Any, vehicle: Vehicle, timestep_s: float) -> Motion:
        """The motion one step later."""

    def hardest_braking(self, action: Any) -> Any:
        """Actions of the shape of ``action`` that brake as hard as the model can."""


@runtime_checkable
class ActionModel(StepModel, Protocol):
    """How an action moves a vehicle, and which action explains how a vehicle moved.

    ``num_actions`` is the number of actions, or None where they are continuous; discrete actions are int32
    indices [...]. ``horizon_s`` is how far ahead `toward` looks.
    """

    @property
    def num_actions(self) -> int | None: ...

    @property
    def horizon_s(self) -> float: ...

    def inverse(self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float) -> Any:
        """The action that explains one transition best.

        For jerks and controls ``forward(before, inverse(before, after))`` is ``after`` whenever some action leads
        there.
        """

    def toward(self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float) -> Any:
        """The action that leads from ``motion`` nearest to the next poses of a log."""


ACTION_MODELS: dict[str, Callable[..., ActionModel]] = {
    "jerk": JerkActions,
    "steering_rate": SteeringRateActions,
    "steering_rate_continuous": ContinuousSteeringRate,
    "trajectory": TrajectoryActions,
}


def action_model(name: str, **settings: Any) -> ActionModel:
    """The model of a name in ACTION_MODELS, with its own settings.

    Raises:
        ValueError: No model has that name.
    """
    if name not in ACTION_MODELS:
        raise ValueError(f"action model {name!r} is unknown; known are {', '.join(sorted(ACTION_MODELS))}")
    return ACTION_MODELS[name](**settings)
