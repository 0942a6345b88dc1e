"""What an action is, three ways: jerks, acceleration and steering rate, or a whole plan. One interface for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from simulator.dynamics.bicycle import Motion, Vehicle
from simulator.dynamics.jerk_actions import JerkActions
from simulator.dynamics.log_window import Ahead
from simulator.dynamics.steering_rate_actions import ContinuousSteeringRate, SteeringRateActions
from simulator.dynamics.trajectory_actions import PlanActions


@runtime_checkable
class ActionModel(Protocol):
    """How an action moves a vehicle, and which action explains how a vehicle moved.

    All methods are pure, keep any leading axes [...] of motions, actions and vehicles, and can be compiled and
    mapped. ``num_actions`` is how many actions there are, or None where they are continuous; discrete actions are
    int32 indices [...]. ``horizon_s`` is how far ahead `toward` wants to look.
    """

    @property
    def num_actions(self) -> int | None: ...

    @property
    def horizon_s(self) -> float: ...

    def forward(self, motion: Motion, action: Any, vehicle: Vehicle, timestep_s: float) -> Motion:
        """The motion one step later."""

    def inverse(self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float) -> Any:
        """The action that explains one transition best.

        For the models with jerks or controls ``forward(before, inverse(before, after))`` is ``after`` whenever some
        action leads there.
        """

    def toward(self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float) -> Any:
        """The action that leads from ``motion`` nearest to the next poses of a log."""


_MODELS: dict[str, Callable[..., ActionModel]] = {
    "jerk": JerkActions,
    "steering_rate": SteeringRateActions,
    "steering_rate_continuous": ContinuousSteeringRate,
    "plan": PlanActions,
}


def action_model(name: str, **settings: Any) -> ActionModel:
    """The model of a name, with its own settings: "jerk", "steering_rate", "steering_rate_continuous" or "plan".

    Raises:
        ValueError: No model has that name.
    """
    if name not in _MODELS:
        raise ValueError(f"action model {name!r} is unknown; known are {', '.join(sorted(_MODELS))}")
    return _MODELS[name](**settings)
