"""Follow a plan by a linear-quadratic regulator on the kinematic bicycle, as NAVSIM and nuPlan drive their plans.

A plan is turned into profiles of speed and curvature (`simulator.dynamics.trajectory_profile`). Two small problems
follow, each with ONE unknown, an input held over the tracking horizon of T = ``horizon_steps * spacing_s``, and a cost
on the state at its end only: a one-step LQR. If the state then is ``free + gain * u``, the least of ``(free + gain u)'
Q (free + gain u) + r u^2`` is ``u = -(gain' Q free) / (gain' Q gain + r)``.

    along      v(T) = v + T a, compared with the plan's speed in T: ``a = T q (v_plan(T) - v) / (T^2 q + r)``
    across     with e the rear axle's distance to the left of where the plan is now and h its heading error,
                   e'     = v h
                   h'     = v (delta - delta_plan) / wheelbase,    delta_plan = atan(wheelbase * curvature_plan)
                   delta' = rate
               rolled out by Euler steps along the speeds that ``a`` leads to, once freely and once for a unit rate

Near a standstill, of the vehicle and of the plan, the wheels rest and the acceleration is proportional to the error
of speed. As in nuPlan there is no feedback of the distance along the plan. What is ours: the errors are taken about
the plan's steering angle rather than its curvature (no lasting offset in a tight bend), and near a standstill means
in either direction. All horizons are static, so the whole maps over any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from simulator.conventions import POSE_SPACING_S
from simulator.dynamics.bicycle import (
    MAX_ACCELERATION,
    MAX_STEERING,
    MAX_STEERING_RATE,
    MIN_ACCELERATION,
    Motion,
    Vehicle,
    rear_pose,
    snap,
    wrap_angle,
)
from simulator.dynamics.trajectory_profile import PlanProfile, profile_of


@dataclass(frozen=True)
class LqrSettings:
    """Gains and horizons. All defaults but the lags are as nuPlan's.

    Attributes:
        q_speed, r_acceleration: Weights of the squared speed error at the horizon and of the squared acceleration.
        q_lateral, q_heading, q_steering, r_rate: Likewise across: metres, radians, radians, and rad/s.
        spacing_s: Spacing of the profiles and of the controller's own steps. Must divide 0.5 s.
        horizon_steps: Steps of that length to the tracking horizon.
        jerk_penalty, curvature_rate_penalty: How smooth the profiles are, see `simulator.dynamics.trajectory_profile`.
        stopping_speed_mps: Below it, plan and vehicle are stopping.
        stopping_gain: Acceleration per error of speed while stopping, 1/s.
        acceleration_lag_s, steering_lag_s: Time constants with which `simulator.dynamics.trajectory_actions` lets the
        vehicle
            answer; 0 answers at once (nuPlan: 0.2 and 0.05).
    """

    q_speed: float = 10.0
    r_acceleration: float = 1.0
    q_lateral: float = 1.0
    q_heading: float = 10.0
    q_steering: float = 0.0
    r_rate: float = 1.0
    spacing_s: float = 0.1
    horizon_steps: int = 10
    jerk_penalty: float = 1e-4
    curvature_rate_penalty: float = 1e-2
    stopping_speed_mps: float = 0.2
    stopping_gain: float = 0.5
    acceleration_lag_s: float = 0.0
    steering_lag_s: float = 0.0

    def __post_init__(self) -> None:
        steps = POSE_SPACING_S / self.spacing_s if self.spacing_s > 0 else 0.0
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"spacing_s={self.spacing_s} must divide {POSE_SPACING_S} s, a plan's spacing; try 0.1"
            )
        if self.horizon_steps < 1:
            raise ValueError(f"horizon_steps={self.horizon_steps} must be at least 1")
        for name in ("r_acceleration", "r_rate", "jerk_penalty", "curvature_rate_penalty"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be greater than 0, or the fit has no one answer"
                )
        for name in (
            "q_speed",
            "q_lateral",
            "q_heading",
            "q_steering",
            "stopping_speed_mps",
            "stopping_gain",
            "acceleration_lag_s",
            "steering_lag_s",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")


AS_NUPLAN = LqrSettings()


def track(
    plan_world: Float[Array, "*agents poses 3"],
    time_since_plan_s: Float[Array, "*#agents"] | float,
    motion: Motion,
    vehicle: Vehicle,
    timestep_s: float,
    settings: LqrSettings = AS_NUPLAN,
    start_world: Float[Array, "*agents 3"] | None = None,
) -> tuple[Float[Array, "*agents"], Float[Array, "*agents"]]:
    """Acceleration (m/s2) and steering rate (rad/s), both [...], that follow a plan for the next ``timestep_s``.

    ``plan_world`` holds rear-axle poses (x, y m, yaw rad) in the world frame at 0.5, 1.0 ... 4.0 s after the plan was
    made, which was ``time_since_plan_s`` ago. ``start_world`` is the rear axle's pose when it was made; without it
    the plan is continued backwards. Fields of ``motion`` and ``vehicle`` are [...]. The controls keep the limits of
    `simulator.dynamics.bicycle`, among them that the steering angle stays within its own during the step.
    """
    profile = profile_of(
        start_world, plan_world, settings.spacing_s, settings.jerk_penalty, settings.curvature_rate_penalty
    )
    now = jnp.broadcast_to(jnp.asarray(time_since_plan_s, jnp.float32), motion.x.shape) / settings.spacing_s
    wanted_speed = _sample(profile.speed, now[..., None] + settings.horizon_steps - 0.5)[..., 0]
    acceleration = _along(motion, wanted_speed, settings)
    rate = _across(motion, vehicle, profile, now, acceleration, settings)

    slow = settings.stopping_speed_mps
    stopping = (jnp.abs(wanted_speed) <= slow) & (jnp.abs(motion.speed) <= slow)
    acceleration = jnp.where(stopping, settings.stopping_gain * (wanted_speed - motion.speed), acceleration)
    rate = jnp.where(stopping, 0.0, rate)
    return _limited(acceleration, rate, motion, vehicle, timestep_s)


def _along(motion: Motion, wanted_speed: Array, settings: LqrSettings) -> Array:
    horizon_s = settings.horizon_steps * settings.spacing_s
    gain = horizon_s * settings.q_speed / (horizon_s**2 * settings.q_speed + settings.r_acceleration)
    return gain * (wanted_speed - motion.speed)


def _across(
    motion: Motion,
    vehicle: Vehicle,
    profile: PlanProfile,
    now: Array,
    acceleration: Array,
    settings: LqrSettings,
) -> Array:
    """The steering rate of the lateral problem; ``now`` [...] is the time since the plan in units of the spacing."""
    steps = np.arange(settings.horizon_steps, dtype=np.float32)
    speed = motion.speed[..., None] + acceleration[..., None] * (steps * settings.spacing_s)
    speed = snap(motion.speed[..., None], speed)
    step_m = speed * settings.spacing_s
    curvature = _sample(profile.curvature, now[..., None] + steps)
    planned = jnp.arctan(curvature * vehicle.wheelbase[..., None])

    lateral, heading = _errors(motion, vehicle, profile, now)
    steering = motion.steering
    by_lateral, by_heading, by_steering = (jnp.zeros_like(steering) for _ in range(3))
    for k in range(settings.horizon_steps):
        turn = step_m[..., k] / vehicle.wheelbase
        lateral, by_lateral = lateral + step_m[..., k] * heading, by_lateral + step_m[..., k] * by_heading
        heading, by_heading = heading + turn * (steering - planned[..., k]), by_heading + turn * by_steering
        by_steering = by_steering + settings.spacing_s
    pull = (
        settings.q_lateral * by_lateral * lateral
        + settings.q_heading * by_heading * heading
        + settings.q_steering * by_steering * steering
    )
    stiffness = (
        settings.q_lateral * by_lateral**2
        + settings.q_heading * by_heading**2
        + settings.q_steering * by_steering**2
        + settings.r_rate
    )
    return -pull / stiffness


def _errors(motion: Motion, vehicle: Vehicle, profile: PlanProfile, now: Array) -> tuple[Array, Array]:
    """The rear axle's distance to the left of the plan (m) and its heading minus the plan's (rad), both [...]."""
    planned = _sample(jnp.moveaxis(profile.pose, -1, 0), jnp.broadcast_to(now[..., None], (3, *now.shape, 1)))
    x, y, yaw = planned[..., 0]
    rear = rear_pose(motion, vehicle)
    lateral = (rear[..., 1] - y) * jnp.cos(yaw) - (rear[..., 0] - x) * jnp.sin(yaw)
    return lateral, wrap_angle(rear[..., 2] - yaw)


def _sample(
    profile: Float[Array, "*agents samples"], place: Float[Array, "*agents moments"]
) -> Float[Array, "*agents moments"]:
    """Values between samples, linearly; beyond the ends the last one."""
    last = profile.shape[-1] - 1
    place = jnp.clip(place, 0.0, last)
    below = jnp.minimum(jnp.floor(place).astype(jnp.int32), last - 1)
    first = jnp.take_along_axis(profile, below, axis=-1)
    return first + (place - below) * (jnp.take_along_axis(profile, below + 1, axis=-1) - first)


def _limited(
    acceleration: Array, rate: Array, motion: Motion, vehicle: Vehicle, timestep_s: float
) -> tuple[Array, Array]:
    acceleration = jnp.clip(acceleration, MIN_ACCELERATION, MAX_ACCELERATION * vehicle.acceleration_gain)
    rate = jnp.clip(rate, -MAX_STEERING_RATE, MAX_STEERING_RATE)
    low, high = (-MAX_STEERING - motion.steering) / timestep_s, (MAX_STEERING - motion.steering) / timestep_s
    return acceleration, jnp.clip(rate, low, high)
