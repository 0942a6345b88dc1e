"""Fits an acceleration and a steering rate to the next poses of a log.

Differences of successive logged poses are dominated by noise: 5 cm at 10 Hz is 10 m/s2. So a control is evaluated by
the path that results if it is held for the whole window: a fit of one number to many poses, and a stable controller in
closed loop. Speed and steering are nearly independent: the acceleration is fitted to the distance along the log, and
then the steering rate to the complete poses. Our own choice throughout.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from simulator.dynamics.bicycle import MAX_SPEED, MAX_STEERING, MIN_SPEED, Motion, Vehicle, rear_pose
from simulator.dynamics.log_window import Ahead

RAMP_S = 0.3
"""A steering rate is held this long and the steering angle after that: held to the end of the window, a coarse rate
would always be too much, and held for one step only, the steering would never lead the curve."""
ACCELERATION_EFFORT = 1e-4
RATE_EFFORT = 1e-3
"""m2 per (m/s2)2 and per (rad/s)2: regularisation where the poses determine nothing, such as the steering at rest."""

_CREEP_MPS = 0.25
"""Below this speed a vehicle is treated as stationary."""


def held_speeds(
    speed: Float[Array, "*agents"],
    acceleration: Float[Array, "*agents"],
    max_speed: Float[Array, "*agents"],
    steps: int,
    timestep_s: float,
) -> Float[Array, "*agents moments"]:
    """Speeds (m/s) now and after each of ``steps`` steps of one acceleration.

    A vehicle that brakes to a standstill stays there; one that is nearly standing may start in either direction.
    """
    time_s = jnp.asarray(timestep_s * np.arange(steps + 1), jnp.float32)
    later = speed[..., None] + acceleration[..., None] * time_s
    stops = (speed[..., None] * later < 0) & (jnp.abs(speed[..., None]) > _CREEP_MPS)
    later = jnp.where(stops, 0.0, later)
    return jnp.clip(later, MIN_SPEED, max_speed[..., None])


def along_cost(
    motion: Motion,
    ahead: Ahead,
    accelerations: Float[Array, " tries"],
    vehicle: Vehicle,
    timestep_s: float,
) -> Float[Array, "*agents tries"]:
    """Cost of holding each acceleration: the mean squared distance (m2) by which it leads or lags along the log."""
    tries = jnp.broadcast_to(accelerations, (*motion.speed.shape, *accelerations.shape))
    now = jnp.broadcast_to(motion.speed[..., None], tries.shape)
    top = jnp.broadcast_to(MAX_SPEED * vehicle.speed_gain[..., None], tries.shape)
    speed = held_speeds(now, tries, top, ahead.x.shape[-1], timestep_s)
    travelled = jnp.cumsum(0.5 * timestep_s * (speed[..., 1:] + speed[..., :-1]), axis=-1)
    lag = travelled - _distance_along(motion, ahead, vehicle)[..., None, :]
    return (lag**2).mean(axis=-1) + ACCELERATION_EFFORT * accelerations**2


def _distance_along(motion: Motion, ahead: Ahead, vehicle: Vehicle) -> Array:
    """[..., steps] m that the rear axle has to travel to be level with each of the log's poses."""
    now = rear_pose(motion, vehicle)
    half = 0.5 * vehicle.wheelbase[..., None]
    x, y = ahead.x - half * jnp.cos(ahead.yaw), ahead.y - half * jnp.sin(ahead.yaw)
    dx = jnp.diff(x, axis=-1, prepend=now[..., :1])
    dy = jnp.diff(y, axis=-1, prepend=now[..., 1:2])
    # A displacement ends along the heading of its pose; the first starts at the vehicle, on the log or beside it.
    return jnp.cumsum(dx * jnp.cos(ahead.yaw) + dy * jnp.sin(ahead.yaw), axis=-1)


def across_cost(
    motion: Motion,
    ahead: Ahead,
    acceleration: Float[Array, "*agents"],
    rates: Float[Array, " tries"],
    vehicle: Vehicle,
    timestep_s: float,
) -> Float[Array, "*agents tries"]:
    """Cost of each steering rate, with an acceleration held: the mean squared distance (m2) from the log's poses."""
    top = MAX_SPEED * vehicle.speed_gain
    speeds = held_speeds(motion.speed, acceleration, top, ahead.x.shape[-1], timestep_s)
    x, y, yaw = _steered_path(motion, speeds, rates, vehicle, timestep_s)
    each = Ahead(ahead.x[..., None, :], ahead.y[..., None, :], ahead.yaw[..., None, :])
    return each.misfit(x, y, yaw) + RATE_EFFORT * rates**2


def _steered_path(
    motion: Motion, speeds: Array, rates: Array, vehicle: Vehicle, timestep_s: float
) -> tuple[Array, Array, Array]:
    """Box centres and yaws [..., tries, steps] of the bicycle that steers at a rate for `RAMP_S` and then holds."""
    steps = speeds.shape[-1] - 1
    ramp_s = np.minimum(timestep_s * np.arange(steps + 1), max(RAMP_S, timestep_s)).astype(np.float32)
    steering = motion.steering[..., None, None] + rates[:, None] * ramp_s
    steering = jnp.clip(steering, -MAX_STEERING, MAX_STEERING)
    axles = vehicle.wheelbase[..., None, None]
    arc = 0.5 * timestep_s * (speeds[..., None, 1:] + speeds[..., None, :-1])
    turn = arc * jnp.tan(0.5 * (steering[..., 1:] + steering[..., :-1])) / axles
    yaw = motion.yaw[..., None, None] + jnp.cumsum(turn, axis=-1)
    chord, middle = arc * jnp.sinc(turn / (2 * jnp.pi)), yaw - 0.5 * turn
    rear = rear_pose(motion, vehicle)[..., None, None, :]
    x = rear[..., 0] + jnp.cumsum(chord * jnp.cos(middle), axis=-1) + 0.5 * axles * jnp.cos(yaw)
    y = rear[..., 1] + jnp.cumsum(chord * jnp.sin(middle), axis=-1) + 0.5 * axles * jnp.sin(yaw)
    return x, y, yaw


def vertex(tries: Float[Array, " tries"], cost: Float[Array, "*agents tries"]) -> Float[Array, "*agents"]:
    """The minimum of a cost known at evenly spaced tries, by the parabola through the best three."""
    middle = jnp.clip(jnp.argmin(cost, axis=-1), 1, len(tries) - 2)
    left, centre, right = (
        jnp.take_along_axis(cost, (middle + shift)[..., None], axis=-1)[..., 0] for shift in (-1, 0, 1)
    )
    bend = jnp.maximum(left - 2 * centre + right, 1e-12)
    shift = jnp.clip(0.5 * (left - right) / bend, -1.0, 1.0)
    return tries[middle] + shift * (tries[1] - tries[0])
