"""Acceleration and steering rate as actions, on the same kinematic bicycle and rear-axle arc as the jerk actions.

Control by acceleration and steering rate, with 71 accelerations from -4 to 3 m/s2, is that of "Scaling Is All You
Need" (arXiv 2312.15122, section on the action space); how many steering rates it has the paper does not say, so
their number is a setting. One step of length ``dt``, our own choice of discretisation:

    v'      = v + a dt, snapped to 0 on a change of sign, clipped to [-2, 20 * speed_gain]
    delta'  = delta + rate dt, clipped to +-0.55 rad
    the rear axle follows an exact arc of length (v + v') / 2 * dt and curvature tan((delta + delta') / 2) / wheelbase

Both means are those of the step's middle, so the error of a step is of third order and that of a path of second.
The gains that scale jerk play no part here; the speed cap does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from simulator.dynamics.bicycle import (
    MAX_STEERING,
    MAX_STEERING_RATE,
    Motion,
    Vehicle,
    follow_arc,
    limit_speed,
)
from simulator.dynamics.log_fitting import across_cost, along_cost, vertex
from simulator.dynamics.log_window import Ahead

MIN_ACCELERATION_MPS2, MAX_ACCELERATION_MPS2, NUM_ACCELERATIONS = -4.0, 3.0, 71


def advance_by_controls(
    motion: Motion,
    acceleration: Float[Array, "*agents"],
    steering_rate: Float[Array, "*agents"],
    vehicle: Vehicle,
    timestep_s: float,
) -> Motion:
    """Moves every agent by one step under an acceleration (m/s2) and a steering rate (rad/s), see the equations.

    The returned accelerations are those that the step really had, after its limits.
    """
    speed = limit_speed(motion.speed, motion.speed + acceleration * timestep_s, vehicle)
    steering = jnp.clip(motion.steering + steering_rate * timestep_s, -MAX_STEERING, MAX_STEERING)
    curvature = jnp.tan(0.5 * (motion.steering + steering)) / vehicle.wheelbase
    arc = 0.5 * (motion.speed + speed) * timestep_s
    x, y, yaw = follow_arc(motion.x, motion.y, motion.yaw, arc, curvature, vehicle.wheelbase)
    return Motion(
        x=x,
        y=y,
        yaw=yaw,
        speed=speed,
        acceleration=(speed - motion.speed) / timestep_s,
        lateral_acceleration=speed**2 * jnp.tan(steering) / vehicle.wheelbase,
        steering=steering,
    )


@dataclass(frozen=True)
class SteeringRateActions:
    """71 accelerations x ``num_rates`` steering rates; an action is acceleration index * num_rates + rate index.

    Attributes:
        num_rates: Steering rates, evenly spread and symmetric about 0: odd, so that 0 is one of them.
        max_rate_radps: The largest steering rate.
        horizon_s: How far ahead `toward` compares prediction and log.
    """

    num_rates: int = 21
    max_rate_radps: float = MAX_STEERING_RATE
    horizon_s: float = 0.6

    def __post_init__(self) -> None:
        if self.num_rates < 3 or self.num_rates % 2 == 0:
            raise ValueError(
                f"num_rates={self.num_rates} must be odd and at least 3, so that 0 rad/s is a rate"
            )
        if not self.max_rate_radps > 0:
            raise ValueError(f"max_rate_radps={self.max_rate_radps} must be greater than 0 rad/s")

    @property
    def num_actions(self) -> int:
        """How many actions there are."""
        return NUM_ACCELERATIONS * self.num_rates

    @cached_property
    def accelerations(self) -> np.ndarray:
        """[71] m/s2, ascending."""
        grid = np.linspace(MIN_ACCELERATION_MPS2, MAX_ACCELERATION_MPS2, NUM_ACCELERATIONS)
        return grid.astype(np.float32)

    @cached_property
    def rates(self) -> np.ndarray:
        """[num_rates] rad/s, ascending."""
        half = self.num_rates // 2
        return (np.arange(-half, half + 1) / half * self.max_rate_radps).astype(np.float32)

    def controls_of(
        self, action: Int[Array, "*agents"]
    ) -> tuple[Float[Array, "*agents"], Float[Array, "*agents"]]:
        """Acceleration (m/s2) and steering rate (rad/s) of action indices."""
        acceleration = jnp.asarray(self.accelerations)[action // self.num_rates]
        return acceleration, jnp.asarray(self.rates)[action % self.num_rates]

    def forward(
        self, motion: Motion, action: Int[Array, "*agents"], vehicle: Vehicle, timestep_s: float
    ) -> Motion:
        """One step of `advance_by_controls` under the controls of an action index [...]."""
        return advance_by_controls(motion, *self.controls_of(action), vehicle, timestep_s)

    def inverse(
        self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float
    ) -> Int[Array, "*agents"]:
        """The action [...] that comes nearest to the speed and steering angle of ``after``.

        Where limits make several do the same, the one with the least acceleration and steering rate.
        """
        calm = np.argsort(np.abs(self.accelerations), kind="stable")
        speed = before.speed[..., None] + jnp.asarray(self.accelerations[calm]) * timestep_s
        wide = jax.tree.map(lambda field: field[..., None], vehicle)
        speed = limit_speed(before.speed[..., None], speed, wide)
        first = jnp.asarray(calm)[jnp.argmin(jnp.abs(speed - after.speed[..., None]), axis=-1)]

        calm = np.argsort(np.abs(self.rates), kind="stable")
        steering = before.steering[..., None] + jnp.asarray(self.rates[calm]) * timestep_s
        steering = jnp.clip(steering, -MAX_STEERING, MAX_STEERING)
        second = jnp.asarray(calm)[jnp.argmin(jnp.abs(steering - after.steering[..., None]), axis=-1)]
        return (first * self.num_rates + second).astype(jnp.int32)

    def toward(
        self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float
    ) -> Int[Array, "*agents"]:
        """The action [...] that leads nearest to the log's next poses; see `simulator.dynamics.log_fitting`."""
        accelerations, rates = jnp.asarray(self.accelerations), jnp.asarray(self.rates)
        first = jnp.argmin(along_cost(motion, ahead, accelerations, vehicle, timestep_s), axis=-1)
        across = across_cost(motion, ahead, accelerations[first], rates, vehicle, timestep_s)
        second = jnp.argmin(across, axis=-1)
        return (first * self.num_rates + second).astype(jnp.int32)

    def hardest_braking(self, action: Int[Array, "*agents"]) -> Int[Array, "*agents"]:
        """The hardest braking with the steering held, for every agent."""
        return jnp.full_like(action, self.num_rates // 2)


@dataclass(frozen=True)
class ContinuousSteeringRate:
    """The same bicycle with any acceleration and steering rate within limits; an action is the pair [..., 2].

    Its limits are wider than those of the discrete accelerations: it is meant for logs, in which drivers brake hard.

    Attributes:
        min_acceleration_mps2, max_acceleration_mps2, max_rate_radps: Limits of the actions.
        horizon_s: How far ahead `toward` compares prediction and log.
    """

    min_acceleration_mps2: float = -8.0
    max_acceleration_mps2: float = 5.0
    max_rate_radps: float = MAX_STEERING_RATE
    horizon_s: float = 0.6
    num_actions: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not self.min_acceleration_mps2 < 0 < self.max_acceleration_mps2:
            raise ValueError(
                f"min_acceleration_mps2={self.min_acceleration_mps2} and max_acceleration_mps2="
                f"{self.max_acceleration_mps2} must lie below and above 0 m/s2"
            )
        if not self.max_rate_radps > 0:
            raise ValueError(f"max_rate_radps={self.max_rate_radps} must be greater than 0 rad/s")

    def forward(
        self, motion: Motion, action: Float[Array, "*agents 2"], vehicle: Vehicle, timestep_s: float
    ) -> Motion:
        """One step of `advance_by_controls` under an action [..., 2]: acceleration (m/s2), steering rate (rad/s), both
        limited."""
        acceleration, rate = self._limited(action[..., 0], action[..., 1])
        return advance_by_controls(motion, acceleration, rate, vehicle, timestep_s)

    def inverse(
        self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float
    ) -> Float[Array, "*agents 2"]:
        """The action [..., 2] that joins the speeds and steering angles of two motions, clipped to the limits."""
        acceleration = (after.speed - before.speed) / timestep_s
        rate = (after.steering - before.steering) / timestep_s
        return jnp.stack(self._limited(acceleration, rate), axis=-1)

    def toward(
        self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float
    ) -> Float[Array, "*agents 2"]:
        """The action [..., 2] that leads nearest to the log's next poses; see `simulator.dynamics.log_fitting`."""
        tries = jnp.linspace(self.min_acceleration_mps2, self.max_acceleration_mps2, 27)
        acceleration = vertex(tries, along_cost(motion, ahead, tries, vehicle, timestep_s))
        tries = jnp.linspace(-self.max_rate_radps, self.max_rate_radps, 21)
        rate = vertex(tries, across_cost(motion, ahead, acceleration, tries, vehicle, timestep_s))
        return jnp.stack([acceleration, rate], axis=-1)

    def hardest_braking(self, action: Float[Array, "*agents 2"]) -> Float[Array, "*agents 2"]:
        """The hardest braking with the steering held, for every agent."""
        return jnp.broadcast_to(jnp.array([self.min_acceleration_mps2, 0.0], action.dtype), action.shape)

    def _limited(self, acceleration: Array, rate: Array) -> tuple[Array, Array]:
        acceleration = jnp.clip(acceleration, self.min_acceleration_mps2, self.max_acceleration_mps2)
        return acceleration, jnp.clip(rate, -self.max_rate_radps, self.max_rate_radps)
