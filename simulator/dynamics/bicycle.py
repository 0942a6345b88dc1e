"""GIGAFLOW's jerk actions on a kinematic bicycle (arXiv 2502.03349, appendix; ranges as PufferDrive's).

An action is one of 4 longitudinal x 3 lateral jerks. One step of length ``dt``:

    a'     = snap(a, a + gain * jerk * dt), clipped to [-5, 2.5 * acceleration_gain]
    v'     = snap(v, v + (a + a') / 2 * dt), clipped to [-2, 20 * speed_gain]
    kappa  = a_lat' / v'^2, turned into a steering angle that moves at most 0.6 rad/s, clipped to +-0.55 rad
    the rear axle then follows an exact arc of length (v + v') / 2 * dt and curvature tan(steering) / wheelbase

``snap`` returns 0 when a value would change sign, so that "no acceleration" and "standing still" can be reached.
Where we differ from PufferDrive: the arc is that of the rear axle, the point of a bicycle model that moves along
the heading, and the box centre follows rigidly.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.conventions import LATERAL_JERKS_MPS3, LONGITUDINAL_JERKS_MPS3
from simulator.poses import rear_axle_pose
from simulator.state import WorldState, wheelbase

ACTIONS = np.array([(a, b) for a in LONGITUDINAL_JERKS_MPS3 for b in LATERAL_JERKS_MPS3], dtype=np.float32)
"""[12, 2] m/s3: longitudinal and lateral jerk of every action."""

MIN_ACCELERATION, MAX_ACCELERATION, MAX_LATERAL_ACCELERATION = -5.0, 2.5, 4.0  # m/s2
MIN_SPEED, MAX_SPEED = -2.0, 20.0  # m/s
MAX_STEERING, MAX_STEERING_RATE = 0.55, 0.6  # rad, rad/s
MIN_SPEED_SQUARED = 1e-2  # m2/s2: below, curvature from lateral acceleration is undefined


@struct.dataclass
class Motion:
    """The part of an agent's state that dynamics changes. All fields [...]."""

    x: ArrayField  # m, world, box centre
    y: ArrayField  # m, world, box centre
    yaw: ArrayField  # rad
    speed: ArrayField  # m/s
    acceleration: ArrayField  # m/s2
    lateral_acceleration: ArrayField  # m/s2
    steering: ArrayField  # rad


@struct.dataclass
class Vehicle:
    """What dynamics needs to know of a body. All fields [...]."""

    wheelbase: ArrayField  # m
    throttle_gain: ArrayField
    steer_gain: ArrayField
    acceleration_gain: ArrayField
    speed_gain: ArrayField


def motion_of(state: WorldState) -> Motion:
    """The moving part of a world's agents, fields [agents]."""
    return Motion(
        x=state.position[..., 0],
        y=state.position[..., 1],
        yaw=state.yaw,
        speed=state.speed,
        acceleration=state.acceleration,
        lateral_acceleration=state.lateral_acceleration,
        steering=state.steering,
    )


def vehicle_of(state: WorldState) -> Vehicle:
    """The bodies of a world's agents, fields [agents]."""
    scenario = state.scenario
    return Vehicle(
        wheelbase=wheelbase(scenario.size),
        throttle_gain=scenario.throttle_gain,
        steer_gain=scenario.steer_gain,
        acceleration_gain=scenario.acceleration_gain,
        speed_gain=scenario.speed_gain,
    )


def logged_vehicle(size: Float[Array, "*agents 3"], max_speed_mps: float = 60.0) -> Vehicle:
    """A body of ``size`` (m) for replaying logs: neutral gains, and a speed cap that real traffic stays below.

    The cap is lifted by ``speed_gain``; everything else about the body is what self-play uses.
    """
    one = jnp.ones(size.shape[:-1])
    return Vehicle(
        wheelbase=wheelbase(size),
        throttle_gain=one,
        steer_gain=one,
        acceleration_gain=one,
        speed_gain=one * (max_speed_mps / MAX_SPEED),
    )


def rear_pose(motion: Motion, vehicle: Vehicle) -> Float[Array, "*agents 3"]:
    """The rear axle's x, y (m) and yaw (rad) in the world frame."""
    return rear_axle_pose(motion.x, motion.y, motion.yaw, vehicle.wheelbase)


def rear_poses(state: WorldState) -> Float[Array, "*worlds agents 3"]:
    """World pose (x, y m, yaw rad) of every agent's rear axle."""
    return rear_pose(motion_of(state), vehicle_of(state))


def snap(before: Array, after: Array) -> Array:
    """``after`` [...], or 0 where it has another sign than ``before``."""
    return jnp.where(before * after < 0, 0.0, after)


def limit_speed(before: Array, after: Array, vehicle: Vehicle) -> Array:
    """The speed (m/s) that a body reaches when it would go from ``before`` to ``after``: snapped and capped."""
    return jnp.clip(snap(before, after), MIN_SPEED, MAX_SPEED * vehicle.speed_gain)


def advance_by_jerks(
    motion: Motion, jerk: Float[Array, "*agents 2"], vehicle: Vehicle, timestep_s: float
) -> Motion:
    """Moves every agent by one step under ``jerk`` (longitudinal, lateral; m/s3). See the module's equations."""
    acceleration = motion.acceleration + vehicle.throttle_gain * jerk[..., 0] * timestep_s
    acceleration = snap(motion.acceleration, acceleration)
    acceleration = jnp.clip(acceleration, MIN_ACCELERATION, MAX_ACCELERATION * vehicle.acceleration_gain)
    speed = motion.speed + 0.5 * (motion.acceleration + acceleration) * timestep_s
    speed = limit_speed(motion.speed, speed, vehicle)

    lateral = motion.lateral_acceleration + vehicle.steer_gain * jerk[..., 1] * timestep_s
    lateral = snap(motion.lateral_acceleration, lateral)
    lateral = jnp.clip(lateral, -MAX_LATERAL_ACCELERATION, MAX_LATERAL_ACCELERATION)
    curvature = lateral / jnp.maximum(speed**2, MIN_SPEED_SQUARED)
    wanted = jnp.arctan(curvature * vehicle.wheelbase)
    turn = MAX_STEERING_RATE * timestep_s
    steering = motion.steering + jnp.clip(wanted - motion.steering, -turn, turn)
    steering = jnp.clip(steering, -MAX_STEERING, MAX_STEERING)

    curvature = jnp.tan(steering) / vehicle.wheelbase
    x, y, yaw = follow_arc(
        motion.x,
        motion.y,
        motion.yaw,
        0.5 * (motion.speed + speed) * timestep_s,
        curvature,
        vehicle.wheelbase,
    )
    return Motion(x, y, yaw, speed, acceleration, speed**2 * curvature, steering)


def follow_arc(
    x: Array, y: Array, yaw: Array, arc: Array, curvature: Array, axles: Array
) -> tuple[Array, Array, Array]:
    """Moves the rear axle along an arc and returns the new box centre and yaw.

    ``arc`` [...] m (signed), ``curvature`` [...] 1/m (left positive), ``axles`` [...] m wheelbase.
    With turn = arc * curvature the chord is arc * sinc(turn / 2) at heading yaw + turn / 2.
    """
    turn = arc * curvature
    chord = arc * jnp.sinc(turn / (2 * jnp.pi))
    heading = yaw + 0.5 * turn
    half = 0.5 * axles
    new_yaw = yaw + turn
    new_x = x - half * jnp.cos(yaw) + chord * jnp.cos(heading) + half * jnp.cos(new_yaw)
    new_y = y - half * jnp.sin(yaw) + chord * jnp.sin(heading) + half * jnp.sin(new_yaw)
    return new_x, new_y, wrap_angle(new_yaw)


def heading(yaw: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Cos and sin of headings, for arithmetic on all pairs of agents.

    Taken in a loop of two turns: XLA would put a plain cosine into the arithmetic and compute it again for every pair.
    """
    cos_sin = jax.lax.map(lambda shift: jnp.cos(yaw - shift), jnp.array([0.0, 0.5 * jnp.pi], yaw.dtype))
    return cos_sin[0], cos_sin[1]


def jerks_of(action: Int[Array, "*agents"]) -> Float[Array, "*agents 2"]:
    """Jerks (m/s3) of action indices."""
    return jnp.asarray(ACTIONS)[action]
