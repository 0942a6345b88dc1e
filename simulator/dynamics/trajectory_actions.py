"""A whole plan as an action: 8 poses in the rear-axle frame of now, driven for one step by `simulator.dynamics.lqr`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics.bicycle import Motion, Vehicle, rear_pose, snap, to_rear_axle_frame, wrap_angle
from simulator.dynamics.log_window import Ahead
from simulator.dynamics.lqr import AS_NUPLAN, LqrSettings, track
from simulator.dynamics.steering_rate_actions import move


@dataclass(frozen=True)
class PlanActions:
    """Plans as actions, made anew at every step; promises are in `simulator.dynamics.action_model.ActionModel`.

    An action is a trajectory [..., 8, 3]: x, y (m) and yaw (rad) of the rear axle every 0.5 s, in the rear-axle frame
    of the moment of the step.

    Attributes:
        settings: The regulator's.
        starts_here: The plan begins at the vehicle itself, as a planner's does. Otherwise it is continued backwards
            from its first poses, and the regulator sees how far aside of it the vehicle is: better for logs.
    """

    settings: LqrSettings = AS_NUPLAN
    starts_here: bool = True
    num_actions: ClassVar[None] = None
    horizon_s: ClassVar[float] = NUM_POSES * POSE_SPACING_S

    def forward(
        self, motion: Motion, action: Float[Array, "*agents poses 3"], vehicle: Vehicle, timestep_s: float
    ) -> Motion:
        """One step towards a plan; the vehicle answers with the lags of the settings, of first order."""
        start = rear_pose(motion, vehicle)
        plan = to_world(action, start)
        begins = start if self.starts_here else None
        acceleration, rate = track(plan, 0.0, motion, vehicle, timestep_s, self.settings, begins)
        lag = timestep_s / (timestep_s + self.settings.acceleration_lag_s)
        acceleration = motion.acceleration + lag * (acceleration - motion.acceleration)
        rate = rate * (timestep_s / (timestep_s + self.settings.steering_lag_s))
        return move(motion, acceleration, rate, vehicle, timestep_s)

    def inverse(
        self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float
    ) -> Float[Array, "*agents poses 3"]:
        """The plan [..., 8, 3] that goes on as the transition began: its acceleration and its steering angle held.

        A vehicle that brakes comes to rest and stays. `forward` of it does not repeat the transition exactly: a
        regulator that pays for its input does a share of what is asked.
        """
        pose = before.replace(steering=after.steering)
        acceleration = (after.speed - before.speed) / timestep_s
        poses = []
        for k in range(NUM_POSES):
            start_speed = snap(before.speed, before.speed + acceleration * (k * POSE_SPACING_S))
            end_speed = snap(before.speed, before.speed + acceleration * ((k + 1) * POSE_SPACING_S))
            pose = move(
                pose.replace(speed=start_speed),
                (end_speed - start_speed) / POSE_SPACING_S,
                jnp.zeros_like(pose.x),
                vehicle,
                POSE_SPACING_S,
            )
            poses.append(rear_pose(pose, vehicle))
        return to_rear_axle_frame(jnp.stack(poses, axis=-2), rear_pose(before, vehicle)[..., None, :])

    def toward(
        self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float
    ) -> Float[Array, "*agents poses 3"]:
        """The plan [..., 8, 3] that a logged track is: its own next poses at 0.5 s, seen from ``motion``."""
        every = round(POSE_SPACING_S / timestep_s)
        poses = Motion(
            *(field[..., every - 1 :: every] for field in (ahead.x, ahead.y, ahead.yaw)), *[jnp.zeros(())] * 4
        )
        wide = vehicle.replace(wheelbase=vehicle.wheelbase[..., None])
        return to_rear_axle_frame(rear_pose(poses, wide), rear_pose(motion, vehicle)[..., None, :])


def to_world(
    plan: Float[Array, "*agents poses 3"], frame: Float[Array, "*agents 3"]
) -> Float[Array, "*agents poses 3"]:
    """Poses of a rear-axle frame in the world, where that rear axle's pose is ``frame``: undoes
    `simulator.dynamics.bicycle.to_rear_axle_frame`."""
    x, y, yaw = (frame[..., None, i] for i in range(3))
    cos, sin = jnp.cos(yaw), jnp.sin(yaw)
    return jnp.stack(
        [
            x + cos * plan[..., 0] - sin * plan[..., 1],
            y + sin * plan[..., 0] + cos * plan[..., 1],
            wrap_angle(yaw + plan[..., 2]),
        ],
        axis=-1,
    )
