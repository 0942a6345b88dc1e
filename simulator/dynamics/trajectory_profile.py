"""The speed and curvature that a plan's poses ask for, smooth enough to steer by.

A plan is 8 poses half a second apart. They are joined by a cubic through the poses (Catmull-Rom) and sampled every
``spacing_s``; samples then fall i and i + 1 at the ends of interval i. Two regularised least squares, as nuPlan's
LQR tracker fits them (penalties on jerk and on the rate of curvature), derived here for what is asked:

    speed      minimise  sum_i (dt v_i - d_i)^2  +  jerk_penalty * sum_i (a_{i+1} - a_i)^2,   a_i = (v_{i+1} - v_i) / dt

with d_i the move of interval i along its mean heading. Nothing but d_i depends on the plan, so the solution is one
constant matrix times d. With v known and w_i the change of heading,

    curvature  minimise  sum_i (dt v_i k_i - w_i)^2  +  curvature_rate_penalty * sum_i ((k_{i+1} - k_i) / dt)^2

whose normal equations are tridiagonal: one sweep forth and one back. A standing plan has no curvature; a ridge of
`_STRAIGHT` (ours, far below what a speed of 0.1 m/s weighs) makes it 0 and keeps the system regular.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from simulator.array_field import ArrayField
from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics.bicycle import wrap_angle

_STRAIGHT = 1e-6  # m2: weight of the squared curvature itself


@struct.dataclass
class PlanProfile:
    """A plan sampled every ``spacing_s`` from the moment it was made."""

    pose: ArrayField  # [..., intervals + 1, 3] x, y m, yaw rad (not wrapped), rear axle, in the plan's frame
    speed: ArrayField  # [..., intervals] m/s, of the middle of each interval
    curvature: ArrayField  # [..., intervals] 1/m, likewise


def profile_of(
    start: Float[Array, "*agents 3"] | None,
    plan: Float[Array, "*agents poses 3"],
    spacing_s: float,
    jerk_penalty: float,
    curvature_rate_penalty: float,
) -> PlanProfile:
    """Fits the profiles of rear-axle plans [..., 8, 3], whose poses lie 0.5 s apart and begin 0.5 s after ``start``.

    Without a start the first three poses are continued backwards with constant acceleration, also of yaw.
    """
    turns = wrap_angle(jnp.diff(plan[..., 2], axis=-1))
    yaw = plan[..., :1, 2] + jnp.concatenate(
        [jnp.zeros_like(turns[..., :1]), jnp.cumsum(turns, axis=-1)], axis=-1
    )
    plan = plan.at[..., 2].set(yaw)
    if start is None:
        start = 3.0 * (plan[..., 0, :] - plan[..., 1, :]) + plan[..., 2, :]
    else:
        start = start.at[..., 2].set(yaw[..., 0] - wrap_angle(yaw[..., 0] - start[..., 2]))
    # Relative to the start: world coordinates of kilometres would cost float32 its millimetres.
    relative = jnp.concatenate([jnp.zeros_like(start)[..., None, :], plan - start[..., None, :]], axis=-2)
    pose = jnp.einsum("sp,...pc->...sc", _interpolation(spacing_s), relative)
    return _fit(pose, start, spacing_s, jerk_penalty, curvature_rate_penalty)


def _fit(
    pose: Array, start: Array, spacing_s: float, jerk_penalty: float, curvature_rate_penalty: float
) -> PlanProfile:
    move = jnp.diff(pose, axis=-2)
    middle = start[..., None, 2] + pose[..., :-1, 2] + 0.5 * move[..., 2]
    along = move[..., 0] * jnp.cos(middle) + move[..., 1] * jnp.sin(middle)
    speed = along @ _speed_smoother(along.shape[-1], spacing_s, jerk_penalty).T
    weight = speed * spacing_s
    curvature = _tridiagonal(
        weight**2 + _STRAIGHT, curvature_rate_penalty / spacing_s**2, weight * move[..., 2]
    )
    return PlanProfile(pose + start[..., None, :], speed, curvature)


@lru_cache
def _interpolation(spacing_s: float) -> np.ndarray:
    """[samples, 9]: the cubic through 9 poses as weights of the poses; slopes at the ends are those of a parabola."""
    poses = NUM_POSES + 1
    slope = (np.eye(poses, k=1) - np.eye(poses, k=-1)) / 2
    slope[0, :3], slope[-1, -3:] = (-1.5, 2.0, -0.5), (0.5, -2.0, 1.5)
    place = np.arange(round(NUM_POSES * POSE_SPACING_S / spacing_s) + 1) * (spacing_s / POSE_SPACING_S)
    below = np.minimum(np.floor(place + 1e-9).astype(int), poses - 2)
    s = (place - below)[:, None]
    value = np.eye(poses)
    weights = (1 + 2 * s) * (1 - s) ** 2 * value[below] + s**2 * (3 - 2 * s) * value[below + 1]
    weights += s * (1 - s) ** 2 * slope[below] + s**2 * (s - 1) * slope[below + 1]
    return weights.astype(np.float32)


@lru_cache
def _speed_smoother(intervals: int, spacing_s: float, jerk_penalty: float) -> np.ndarray:
    """[intervals, intervals] 1/s: moves along the heading (m) to speeds (m/s), by the first least squares above."""
    bend = np.diff(np.eye(intervals), n=2, axis=0) / spacing_s
    normal = spacing_s**2 * np.eye(intervals) + jerk_penalty * bend.T @ bend
    return (spacing_s * np.linalg.inv(normal)).astype(np.float32)


def _tridiagonal(
    weight: Float[Array, "*agents intervals"], coupling: float, right: Float[Array, "*agents intervals"]
) -> Float[Array, "*agents intervals"]:
    """Solves (diag(weight) + coupling * D^T D) k = right, D being the difference of neighbours."""
    intervals = weight.shape[-1]
    neighbours = np.full(intervals, 2.0, np.float32)
    neighbours[[0, -1]] = 1.0
    diagonal = weight + coupling * neighbours

    def forth(
        carry: tuple[Array, Array], row: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        share, value = carry
        pivot = row[0] - coupling * share
        now = (coupling / pivot, (row[1] + coupling * value) / pivot)
        return now, now

    def back(after: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        now = row[1] + row[0] * after
        return now, now

    zero = jnp.zeros_like(weight[..., 0])
    rows = (jnp.moveaxis(diagonal, -1, 0), jnp.moveaxis(right, -1, 0))
    _, swept = jax.lax.scan(forth, (zero, zero), rows)
    _, solution = jax.lax.scan(back, zero, swept, reverse=True)
    return jnp.moveaxis(solution, 0, -1)
