"""A trajectory as an action: followed by NAVSIM's LQR on its kinematic bicycle, as the paper's student drives.

The bicycle (NAVSIM v2, nuPlan) answers commands with first-order lags and moves its rear axle by Euler steps:

    a'      = a + dt / (dt + ACCELERATION_LAG_S) (a_command - a)
    delta'  = delta + dt / (dt + STEERING_LAG_S) (dt * rate_command), clipped to +-MAX_STEERING_RAD
    x, y, yaw advance at the OLD speed, heading and steering angle;   v' = v + a' dt

Gains and limits of the jerk actions play no part. Ours: a simulator step longer than STEP_S is divided into equal
parts that are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.conventions import HORIZON_S, NUM_POSES, POSE_SPACING_S
from simulator.dynamics.bicycle import Motion, Vehicle, rear_pose, snap
from simulator.dynamics.log_window import Ahead
from simulator.dynamics.lqr import STEP_S, profile_of, track
from simulator.dynamics.steering_rate_actions import advance_by_controls
from simulator.poses import to_frame

ACCELERATION_LAG_S, STEERING_LAG_S = 0.2, 0.05
MAX_STEERING_RAD = math.pi / 3


@struct.dataclass
class TrajectoryAction:
    """Trajectories to follow, made ``age_s`` ago."""

    poses: ArrayField  # [..., poses, 3] x, y m, yaw rad of the rear axle, in the frame of ``start``
    start: ArrayField  # [..., 3] x, y m, yaw rad of the rear axle in the world when the trajectory was made
    age_s: ArrayField  # [...] s since then


@dataclass(frozen=True)
class TrajectoryActions:
    """Trajectories as actions; `simulator.dynamics.action_model.ActionModel` documents the methods."""

    num_actions: ClassVar[None] = None
    horizon_s: ClassVar[float] = HORIZON_S

    def forward(
        self, motion: Motion, action: TrajectoryAction, vehicle: Vehicle, timestep_s: float
    ) -> Motion:
        """Motion one step along the trajectories."""
        if action.poses.shape[-2:] != (NUM_POSES, 3):
            raise ValueError(
                f"a trajectory has shape {tuple(action.poses.shape[-2:])}; expected ({NUM_POSES}, 3): {NUM_POSES} "
                f"poses (x, y, yaw), one every {POSE_SPACING_S} s"
            )
        profile = profile_of(action.poses)
        parts = max(1, math.ceil(timestep_s / STEP_S - 1e-6))
        for part in range(parts):
            age_s = action.age_s + part * timestep_s / parts
            acceleration, rate = track(profile, action.start, age_s, motion, vehicle)
            motion = advance_lagged(motion, acceleration, rate, vehicle, timestep_s / parts)
        return motion

    def inverse(self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float) -> TrajectoryAction:
        """The trajectory that continues a transition with its acceleration and its steering angle held.

        A vehicle that brakes comes to rest and stays. `forward` of it does not repeat the transition exactly: the
        tracker corrects only a share of an error in each step.
        """
        pose = before.replace(steering=after.steering)
        acceleration = (after.speed - before.speed) / timestep_s
        poses = []
        for k in range(NUM_POSES):
            start_speed = snap(before.speed, before.speed + acceleration * (k * POSE_SPACING_S))
            end_speed = snap(before.speed, before.speed + acceleration * ((k + 1) * POSE_SPACING_S))
            pose = advance_by_controls(
                pose.replace(speed=start_speed),
                (end_speed - start_speed) / POSE_SPACING_S,
                jnp.zeros_like(pose.x),
                vehicle,
                POSE_SPACING_S,
            )
            poses.append(rear_pose(pose, vehicle))
        return new_trajectory(jnp.stack(poses, axis=-2), rear_pose(before, vehicle))

    def toward(self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float) -> TrajectoryAction:
        """The next poses of a logged track as a trajectory, relative to ``motion``."""
        every = round(POSE_SPACING_S / timestep_s)
        poses = Motion(
            *(field[..., every - 1 :: every] for field in (ahead.x, ahead.y, ahead.yaw)), *[jnp.zeros(())] * 4
        )
        wide = vehicle.replace(wheelbase=vehicle.wheelbase[..., None])
        return new_trajectory(rear_pose(poses, wide), rear_pose(motion, vehicle))

    def hardest_braking(self, action: TrajectoryAction) -> TrajectoryAction:
        """Trajectories that stay at their start."""
        return action.replace(poses=jnp.zeros_like(action.poses))


TRAJECTORY_ACTIONS = TrajectoryActions()


def new_trajectory(poses_world: Float[Array, "*n poses 3"], start: Float[Array, "*n 3"]) -> TrajectoryAction:
    """Trajectories made now, at rear-axle poses ``start``, from poses in the world."""
    return TrajectoryAction(
        to_frame(poses_world, start[..., None, :]), start, jnp.zeros(start.shape[:-1], start.dtype)
    )


def advance_lagged(
    motion: Motion,
    acceleration: Float[Array, "*agents"],
    steering_rate: Float[Array, "*agents"],
    vehicle: Vehicle,
    timestep_s: float,
) -> Motion:
    """Motion after one step of NAVSIM's bicycle under commands (m/s2, rad/s); see the equations above."""
    answered = motion.acceleration + timestep_s / (timestep_s + ACCELERATION_LAG_S) * (
        acceleration - motion.acceleration
    )
    steering = motion.steering + timestep_s / (timestep_s + STEERING_LAG_S) * (timestep_s * steering_rate)
    steering = jnp.clip(steering, -MAX_STEERING_RAD, MAX_STEERING_RAD)
    half = 0.5 * vehicle.wheelbase
    arc = motion.speed * timestep_s
    yaw = wrap_angle(motion.yaw + arc * jnp.tan(motion.steering) / vehicle.wheelbase)
    speed = motion.speed + answered * timestep_s
    return Motion(
        x=motion.x + (arc - half) * jnp.cos(motion.yaw) + half * jnp.cos(yaw),
        y=motion.y + (arc - half) * jnp.sin(motion.yaw) + half * jnp.sin(yaw),
        yaw=yaw,
        speed=speed,
        acceleration=answered,
        lateral_acceleration=speed**2 * jnp.tan(steering) / vehicle.wheelbase,
        steering=steering,
    )
