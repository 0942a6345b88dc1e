"""NAVSIM's trajectory tracker: profiles of speed and curvature from a trajectory, and a one-step LQR on them.

NAVSIM v2 (nuPlan's tracker) at STEP_S. A trajectory of N poses and the pose it starts from are interpolated linearly
to poses p_k every STEP_S; interval k joins p_k and p_(k+1). Two least squares give one speed and one curvature per
interval, with a_k = (v_(k+1) - v_k) / dt and k'_k = (kappa_(k+1) - kappa_k) / dt:

    speed      sum_k (dt v_k - d_k)^2 + JERK_PENALTY sum_k (a_(k+1) - a_k)^2,   d_k = displacement . heading of p_k
    curvature  sum_k (dt v_k kappa_k - w_k)^2 + CURVATURE_RATE_PENALTY sum_k k'_k^2
                   + INITIAL_CURVATURE_PENALTY kappa_0^2

with w_k the change of heading. An input is held over the horizon of HORIZON_STEPS steps, and the state at its end is
weighted: with state ``free + gain * u`` there, ``u = -(gain' Q free) / (gain' Q gain + R)``.

    longitudinal  v(T) = v + T a against the profile's speed HORIZON_STEPS ahead
    lateral       e += dt v h,   h += dt v (delta / wheelbase - kappa),   delta += dt u,   with v along the constant a
                  e: distance left of the trajectory's pose now, h: heading error, delta: steering angle

Below STOP_SPEED_MPS, of the vehicle and of the profile ahead, a = -STOP_GAIN (v - v_ref) and the steering rate is 0.
Ours: between profile samples values are interpolated, because a simulator step need not be STEP_S; at multiples of
STEP_S this is NAVSIM's index. All functions keep any leading axes.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics.bicycle import Motion, Vehicle, rear_pose
from simulator.poses import to_frame

STEP_S = 0.1
"""Spacing of the profiles and of the tracker's model, s."""
HORIZON_STEPS = 10
Q_SPEED, R_ACCELERATION = 10.0, 1.0
"""Weights of the squared speed error, (m/s)2, and of the squared acceleration, (m/s2)2."""
Q_LATERAL, Q_HEADING, Q_STEERING, R_STEERING_RATE = 1.0, 10.0, 0.0, 1.0
"""Weights of the squared lateral error (m2), heading error (rad2), steering angle (rad2) and steering rate."""
JERK_PENALTY, CURVATURE_RATE_PENALTY, INITIAL_CURVATURE_PENALTY = 1e-4, 1e-2, 1e-10
STOP_SPEED_MPS, STOP_GAIN = 0.2, 0.5
_PIVOT_FLOOR = 1e-5
"""Least pivot of the curvature's normal equations (ours: below 1 cm/s float32 does not resolve it)."""


@struct.dataclass
class Profile:
    """A trajectory sampled every STEP_S from its start."""

    pose: ArrayField  # [..., intervals + 1, 3] x, y m, yaw rad (not wrapped), rear axle, in the frame of its start
    speed: ArrayField  # [..., intervals] m/s
    curvature: ArrayField  # [..., intervals] 1/m


def profile_of(poses: Float[Array, "*agents poses 3"]) -> Profile:
    """Speed and curvature along trajectories whose poses (x, y m, yaw rad) lie POSE_SPACING_S apart and begin
    POSE_SPACING_S after their start, in the rear-axle frame of that start."""
    yaw = jnp.cumsum(wrap_angle(jnp.diff(poses[..., 2], prepend=0.0, axis=-1)), axis=-1)
    known = jnp.concatenate([poses[..., :2], yaw[..., None]], axis=-1)
    known = jnp.concatenate([jnp.zeros_like(known[..., :1, :]), known], axis=-2)
    pose = jnp.einsum("sp,...pc->...sc", _interpolation(), known)
    move, heading = jnp.diff(pose, axis=-2), pose[..., :-1, 2]
    along = move[..., 0] * jnp.cos(heading) + move[..., 1] * jnp.sin(heading)
    speed = along @ _speed_smoother(along.shape[-1]).T
    arc = speed * STEP_S
    initial = np.zeros(along.shape[-1], np.float32)
    initial[0] = INITIAL_CURVATURE_PENALTY
    curvature = _solve_smoothed(arc**2 + initial, CURVATURE_RATE_PENALTY / STEP_S**2, arc * move[..., 2])
    return Profile(pose, speed, curvature)


def track(
    profile: Profile,
    start: Float[Array, "*agents 3"],
    age_s: Float[Array, "*#agents"] | float,
    motion: Motion,
    vehicle: Vehicle,
) -> tuple[Float[Array, "*agents"], Float[Array, "*agents"]]:
    """Commanded acceleration (m/s2) and steering rate (rad/s), both [...], of a trajectory that was made ``age_s``
    ago, when the rear axle was at ``start`` (x, y m, yaw rad, world)."""
    index = jnp.broadcast_to(jnp.asarray(age_s, jnp.float32), motion.x.shape)[..., None] / STEP_S
    wanted_speed = _sample(profile.speed, index + HORIZON_STEPS)[..., 0]
    horizon_s = HORIZON_STEPS * STEP_S
    gain = horizon_s * Q_SPEED / (horizon_s**2 * Q_SPEED + R_ACCELERATION)
    acceleration = gain * (wanted_speed - motion.speed)
    rate = _steering_rate(profile, start, index, acceleration, motion, vehicle)
    stopping = (wanted_speed <= STOP_SPEED_MPS) & (motion.speed <= STOP_SPEED_MPS)
    acceleration = jnp.where(stopping, -STOP_GAIN * (motion.speed - wanted_speed), acceleration)
    return acceleration, jnp.where(stopping, 0.0, rate)


def _steering_rate(
    profile: Profile, start: Array, index: Array, acceleration: Array, motion: Motion, vehicle: Vehicle
) -> Float[Array, "*agents"]:
    """Solution of the lateral problem; ``index`` [..., 1] is the age of the trajectory in steps of the profile."""
    steps = np.arange(HORIZON_STEPS, dtype=np.float32)
    arc = STEP_S * (motion.speed[..., None] + acceleration[..., None] * (steps * STEP_S))
    curvature = _sample(profile.curvature, index + steps)
    planned = _sample(jnp.moveaxis(profile.pose, -1, 0), jnp.broadcast_to(index, (3, *index.shape)))[..., 0]
    now = to_frame(rear_pose(motion, vehicle), start)
    dx, dy = now[..., 0] - planned[0], now[..., 1] - planned[1]
    lateral = dy * jnp.cos(planned[2]) - dx * jnp.sin(planned[2])
    heading, steering = wrap_angle(now[..., 2] - planned[2]), motion.steering
    by_lateral = by_heading = by_steering = jnp.zeros_like(steering)  # derivatives by the steering rate
    for k in range(HORIZON_STEPS):
        step_m = arc[..., k]
        lateral, by_lateral = lateral + step_m * heading, by_lateral + step_m * by_heading
        turn = step_m / vehicle.wheelbase
        heading = heading + turn * steering - step_m * curvature[..., k]
        by_heading, by_steering = by_heading + turn * by_steering, by_steering + STEP_S
    heading, steering = wrap_angle(heading), wrap_angle(steering)
    pull = Q_LATERAL * by_lateral * lateral + Q_HEADING * by_heading * heading
    pull += Q_STEERING * by_steering * steering
    stiffness = Q_LATERAL * by_lateral**2 + Q_HEADING * by_heading**2 + Q_STEERING * by_steering**2
    return -pull / (stiffness + R_STEERING_RATE)


def _sample(
    values: Float[Array, "*agents samples"], index: Float[Array, "*agents n"]
) -> Float[Array, "*agents n"]:
    """``values`` at fractional indices, linearly; beyond the ends the first or the last one."""
    last = values.shape[-1] - 1
    index = jnp.clip(index, 0.0, last)
    below = jnp.minimum(jnp.floor(index).astype(jnp.int32), last - 1)
    first = jnp.take_along_axis(values, below, axis=-1)
    return first + (index - below) * (jnp.take_along_axis(values, below + 1, axis=-1) - first)


@lru_cache
def _interpolation() -> np.ndarray:
    """[samples, NUM_POSES + 1]: linear interpolation of the start and the poses, as weights."""
    place = np.arange(round(NUM_POSES * POSE_SPACING_S / STEP_S) + 1) * (STEP_S / POSE_SPACING_S)
    below = np.minimum(np.floor(place + 1e-9).astype(int), NUM_POSES - 1)
    share = (place - below)[:, None]
    value = np.eye(NUM_POSES + 1)
    return ((1 - share) * value[below] + share * value[below + 1]).astype(np.float32)


@lru_cache
def _speed_smoother(intervals: int) -> np.ndarray:
    """[intervals, intervals] 1/s: displacements (m) to speeds (m/s), the solution of the first least squares."""
    bend = np.diff(np.eye(intervals), n=2, axis=0) / STEP_S
    normal = STEP_S**2 * np.eye(intervals) + JERK_PENALTY * bend.T @ bend
    return (STEP_S * np.linalg.inv(normal)).astype(np.float32)


def _solve_smoothed(
    weight: Float[Array, "*agents intervals"], coupling: float, right: Float[Array, "*agents intervals"]
) -> Float[Array, "*agents intervals"]:
    """Solves (diag(weight) + coupling * D'D) k = right, D being the difference of neighbours: a tridiagonal system,
    eliminated forwards and substituted backwards."""
    neighbours = np.full(weight.shape[-1], 2.0, np.float32)
    neighbours[[0, -1]] = 1.0

    def eliminate(carry: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple]:
        ratio, value = carry
        pivot = jnp.maximum(row[0] - coupling * ratio, _PIVOT_FLOOR)
        now = (coupling / pivot, (row[1] + coupling * value) / pivot)
        return now, now

    def substitute(after: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        now = row[1] + row[0] * after
        return now, now

    zero = jnp.zeros_like(weight[..., 0])
    rows = jnp.moveaxis(weight + coupling * neighbours, -1, 0), jnp.moveaxis(right, -1, 0)
    _, eliminated = jax.lax.scan(eliminate, (zero, zero), rows)
    _, solution = jax.lax.scan(substitute, zero, eliminated, reverse=True)
    return jnp.moveaxis(solution, 0, -1)
