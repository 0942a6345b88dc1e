"""Which acceleration and which steering rate lead nearest to a log's next poses.

Dividing the difference of two logged poses by the step gives noise: 5 cm of it at 10 Hz is 10 m/s2. So a control is
judged by where it leads over the next moments when it is held: a fit of one number to many poses, and in closed
loop a stable controller. Speed and steering are nearly separate questions: the distance along the log decides the
acceleration, and then the whole pose decides the steering rate. Our own choice throughout.
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
"""m2 per (m/s2)2 and per (rad/s)2: what decides where the poses do not, as for a standing vehicle's wheels."""

_CREEP_MPS = 0.25
"""Slower than this a vehicle stands, or is about to."""


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
    """What holding each acceleration costs: the squared distances (m2) by which it leads or lags along the log."""
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
    # The last move into a pose points along its heading; the first starts where we are, aside of the log or not.
    return jnp.cumsum(dx * jnp.cos(ahead.yaw) + dy * jnp.sin(ahead.yaw), axis=-1)


def across_cost(
    motion: Motion,
    ahead: Ahead,
    acceleration: Float[Array, "*agents"],
    rates: Float[Array, " tries"],
    vehicle: Vehicle,
    timestep_s: float,
) -> Float[Array, "*agents tries"]:
    """What each steering rate costs, with an acceleration held: the squared distances (m2) from the log's poses."""
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
    """Where a cost known at evenly spaced tries is least, between them: the parabola through the best three."""
    middle = jnp.clip(jnp.argmin(cost, axis=-1), 1, len(tries) - 2)
    left, centre, right = (
        jnp.take_along_axis(cost, (middle + shift)[..., None], axis=-1)[..., 0] for shift in (-1, 0, 1)
    )
    bend = jnp.maximum(left - 2 * centre + right, 1e-12)
    shift = jnp.clip(0.5 * (left - right) / bend, -1.0, 1.0)
    return tries[middle] + shift * (tries[1] - tries[0])
