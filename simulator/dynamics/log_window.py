"""Windows of logged tracks: the next poses of a vehicle, which an action is chosen to approach.

A logged track has gaps and an end. Beyond either, a window continues straight at the last known speed: a prior that is
accurate for the fraction of a second that actions look ahead, and that gives all windows the same length.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.dynamics.bicycle import MAX_STEERING, Motion, Vehicle, rear_pose

_HEADING_M = 1.5
"""A radian of heading weighs as much as this many metres: about the distance from the rear axle to the box centre."""
_LEAST_ARC_M = 1.0
"""Over a shorter path a logged change of heading is noise, and no steering angle is derived from it."""


@struct.dataclass
class LoggedTrack:
    """One logged vehicle. All fields [time]; where not ``valid`` the other fields are undefined."""

    x: ArrayField  # m, world, box centre
    y: ArrayField  # m, world, box centre
    yaw: ArrayField  # rad
    speed: ArrayField  # m/s, signed, along the heading
    valid: ArrayField  # bool


@struct.dataclass
class Ahead:
    """The next poses of a log. All fields [..., steps], the first entry one step from now."""

    x: ArrayField  # m, world, box centre
    y: ArrayField  # m, world, box centre
    yaw: ArrayField  # rad

    def misfit(
        self,
        x: Float[Array, "*paths steps"],
        y: Float[Array, "*paths steps"],
        yaw: Float[Array, "*paths steps"],
    ) -> Float[Array, "*paths"]:
        """Mean squared distance (m2) of a path, or of many, from these poses; headings count by `_HEADING_M`."""
        turn = _HEADING_M * wrap_angle(yaw - self.yaw)
        return ((x - self.x) ** 2 + (y - self.y) ** 2 + turn**2).mean(axis=-1)


def windows(track: LoggedTrack, steps: int, timestep_s: float) -> Ahead:
    """The poses 1 .. ``steps`` steps after each step of a log, fields [time, steps]."""
    time = track.valid.shape[0]
    index = jnp.arange(time)[:, None] + jnp.arange(1, steps + 1)[None, :]
    known = track.valid[:, None] & track.valid[jnp.minimum(index, time - 1)] & (index < time)
    reach = jnp.cumprod(known.astype(jnp.int32), axis=1).cumsum(axis=1)  # known steps so far without a gap
    last = jnp.arange(time)[:, None] + reach
    beyond_m = track.speed[last] * timestep_s * (index - last)
    yaw = track.yaw[last]
    return Ahead(
        x=track.x[last] + beyond_m * jnp.cos(yaw),
        y=track.y[last] + beyond_m * jnp.sin(yaw),
        yaw=yaw,
    )


def logged_motion(track: LoggedTrack, ahead: Ahead, vehicle: Vehicle, timestep_s: float) -> Motion:
    """The motion [time] of a log at each step, with steering and accelerations estimated from its window.

    Poses and speeds are the log's. Logs do not contain the steering angle: it is that of the arc which joins the
    rear axle now to the rear axle at the end of the window, or 0 where that arc is shorter than a metre.
    """
    zero = jnp.zeros_like(track.x)
    motion = Motion(track.x, track.y, track.yaw, track.speed, zero, zero, zero)
    end = motion.replace(x=ahead.x[..., -1], y=ahead.y[..., -1], yaw=ahead.yaw[..., -1])
    arc, turn = joining_arc(rear_pose(motion, vehicle), rear_pose(end, vehicle))
    tells = jnp.abs(arc) > _LEAST_ARC_M
    curvature = jnp.where(tells, turn / jnp.where(tells, arc, 1.0), 0.0)
    steering = jnp.clip(jnp.arctan(curvature * vehicle.wheelbase), -MAX_STEERING, MAX_STEERING)
    duration_s = timestep_s * ahead.x.shape[-1]
    return motion.replace(
        acceleration=2.0 * (arc / duration_s - track.speed) / duration_s,
        lateral_acceleration=track.speed**2 * jnp.tan(steering) / vehicle.wheelbase,
        steering=steering,
    )


def joining_arc(
    before: Float[Array, "*poses 3"], after: Float[Array, "*poses 3"]
) -> tuple[Float[Array, "*poses"], Float[Array, "*poses"]]:
    """Signed length (m) and turn (rad) of the arc between two rear-axle poses.

    The turn is that of the headings and the length that of the chord along the mean heading; displacement across it
    is impossible for a rolling axle and is ignored.
    """
    turn = wrap_angle(after[..., 2] - before[..., 2])
    middle = before[..., 2] + 0.5 * turn
    move = after - before
    chord = move[..., 0] * jnp.cos(middle) + move[..., 1] * jnp.sin(middle)
    return chord / jnp.sinc(turn / (2 * jnp.pi)), turn


def starts(valid: Bool[Array, " time"]) -> Bool[Array, " time"]:
    """Where a log begins, or begins again after a gap."""
    return valid & ~jnp.concatenate([jnp.zeros(1, bool), valid[:-1]])
