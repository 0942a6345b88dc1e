"""Planar poses (x, y m, yaw rad) and the frames that they are given in, in JAX. All functions keep leading axes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator.angles import wrap_angle


def rear_axle_pose(x: Array, y: Array, yaw: Array, wheelbase: Array) -> Float[Array, "*n 3"]:
    """Pose of the rear axle, half a wheelbase (m) behind the centre (x, y) of the box."""
    half = 0.5 * wheelbase
    return jnp.stack([x - half * jnp.cos(yaw), y - half * jnp.sin(yaw), yaw], axis=-1)


def to_frame(poses: Float[Array, "*n 3"], frame: Float[Array, "*#n 3"]) -> Float[Array, "*n 3"]:
    """World poses as seen from the world pose ``frame``; both broadcast."""
    cos, sin = jnp.cos(frame[..., 2]), jnp.sin(frame[..., 2])
    dx, dy = poses[..., 0] - frame[..., 0], poses[..., 1] - frame[..., 1]
    return jnp.stack(
        [dx * cos + dy * sin, -dx * sin + dy * cos, wrap_angle(poses[..., 2] - frame[..., 2])], axis=-1
    )


def from_frame(poses: Float[Array, "*n 3"], frame: Float[Array, "*#n 3"]) -> Float[Array, "*n 3"]:
    """Poses seen from the world pose ``frame``, in the world: undoes `to_frame`."""
    cos, sin = jnp.cos(frame[..., 2]), jnp.sin(frame[..., 2])
    return jnp.stack(
        [
            frame[..., 0] + cos * poses[..., 0] - sin * poses[..., 1],
            frame[..., 1] + sin * poses[..., 0] + cos * poses[..., 1],
            wrap_angle(frame[..., 2] + poses[..., 2]),
        ],
        axis=-1,
    )
