"""NAVSIM's tracker: against its definition written out in double precision, and on roads: straight, bend, lane change,
stop."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.conventions import NUM_POSES
from simulator.dynamics.bicycle import Motion, Vehicle, rear_pose
from simulator.dynamics.lqr import STEP_S, profile_of, track
from simulator.dynamics.trajectory_actions import TrajectoryAction, TrajectoryActions, new_trajectory
from simulator.poses import from_frame, to_frame

FIELDS = ("x", "y", "yaw", "speed", "acceleration", "lateral_acceleration", "steering")
AXLES = 3.0
SECONDS = 10.0
STEPS = round(SECONDS / STEP_S)
ORIGIN = jnp.zeros(3)


def vehicle() -> Vehicle:
    gains = dict.fromkeys(("throttle_gain", "steer_gain", "acceleration_gain", "speed_gain"), jnp.ones(()))
    return Vehicle(wheelbase=jnp.asarray(AXLES), **gains)


def rear_at(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **rest: float) -> Motion:
    """The motion whose rear axle is at a pose."""
    values = {"x": x + 0.5 * AXLES * np.cos(yaw), "y": y + 0.5 * AXLES * np.sin(yaw), "yaw": yaw} | rest
    return Motion(**{name: jnp.asarray(values.get(name, 0.0), jnp.float32) for name in FIELDS})


def straight(speed: float, acceleration: float = 0.0) -> jnp.ndarray:
    time = 0.5 * np.arange(1, NUM_POSES + 1)
    x = speed * time + 0.5 * acceleration * time**2
    return jnp.asarray(np.stack([x, 0 * x, 0 * x], axis=-1), jnp.float32)


def winding(rng: np.random.Generator) -> np.ndarray:
    """Poses [8, 3] of a trajectory that speeds up and turns left, with noise of 5 cm."""
    time = 0.5 * np.arange(1, NUM_POSES + 1)
    smooth = np.stack([6 * time + 0.2 * time**2, 0.3 * time**2, 0.1 * time], axis=-1)
    return smooth + rng.normal(size=smooth.shape) * 0.05


# --- the definition, in double precision ---------------------------------------------------------------------------


def reference_profile(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses [41, 3] every 0.1 s, speed [40] and curvature [40], by dense least squares over the initial value and its
    derivatives: the way NAVSIM states the problem."""
    knots = np.concatenate([np.zeros((1, 3)), poses])
    knots[:, 2] = np.unwrap(knots[:, 2])
    at = np.linspace(0, NUM_POSES, 41)
    pose = np.stack([np.interp(at, np.arange(NUM_POSES + 1), knots[:, i]) for i in range(3)], axis=-1)
    move, heading = np.diff(pose, axis=0), pose[:-1, 2]
    # Unknowns: v_0 and the accelerations a_0 .. a_38; v_k = v_0 + dt sum_(j<k) a_j.
    build = np.concatenate([np.ones((40, 1)), 0.1 * np.tri(40, 39, -1)], axis=1)
    along = move[:, 0] * np.cos(heading) + move[:, 1] * np.sin(heading)
    jerk = np.concatenate([np.zeros((38, 1)), np.diff(np.eye(39), axis=0)], axis=1)
    design = 0.1 * build
    speed = build @ np.linalg.solve(design.T @ design + 1e-4 * jerk.T @ jerk, design.T @ along)
    design = 0.1 * speed[:, None] * build
    penalty = np.diag([1e-10] + [1e-2] * 39)
    curvature = build @ np.linalg.solve(design.T @ design + penalty, design.T @ move[:, 2])
    return pose, speed, curvature


def reference_commands(
    poses: np.ndarray, index: int, rear: np.ndarray, speed: float, steering: float
) -> tuple[float, float]:
    """Acceleration and steering rate at step `index` of a trajectory that started at the origin."""
    pose, profile, curvature = reference_profile(poses)
    wanted = profile[min(index + 10, 39)]
    if wanted <= 0.2 and speed <= 0.2:
        return -0.5 * (speed - wanted), 0.0
    acceleration = 10 / 11 * (wanted - speed)
    dx, dy = rear[:2] - pose[index, :2]
    yaw = pose[index, 2]
    state = np.array([dy * np.cos(yaw) - dx * np.sin(yaw), rear[2] - yaw, steering])
    gain = np.zeros(3)
    for k in range(10):
        v = speed + acceleration * 0.1 * k
        advance = np.array([[1, 0.1 * v, 0], [0, 1, 0.1 * v / AXLES], [0, 0, 1]])
        state = advance @ state - np.array([0, 0.1 * v * curvature[min(index + k, 39)], 0])
        gain = advance @ gain + np.array([0, 0, 0.1])
    weight = np.diag([1.0, 10.0, 0.0])
    return acceleration, -(gain @ weight @ state) / (gain @ weight @ gain + 1.0)


def test_profiles_are_those_of_the_definition(rng: np.random.Generator) -> None:
    poses = winding(rng)
    profile = profile_of(jnp.asarray(poses, jnp.float32))
    pose, speed, curvature = reference_profile(poses)
    np.testing.assert_allclose(profile.pose, pose, atol=1e-5)
    np.testing.assert_allclose(profile.speed, speed, atol=2e-4)
    np.testing.assert_allclose(profile.curvature, curvature, atol=1e-4)


@pytest.mark.parametrize("index", [0, 3, 25, 38])
def test_commands_are_those_of_the_definition(index: int, rng: np.random.Generator) -> None:
    poses = winding(rng)
    at = reference_profile(poses)[0][index] + [0.3, -0.2, 0.05]
    now = rear_at(*at, speed=7.0, steering=0.04)
    profile = profile_of(jnp.asarray(poses, jnp.float32))
    found = track(profile, ORIGIN, index * STEP_S, now, vehicle())
    np.testing.assert_allclose(found, reference_commands(poses, index, at, 7.0, 0.04), atol=2e-4)


def test_the_bicycle_is_that_of_the_definition(rng: np.random.Generator) -> None:
    """Four seconds of tracking and moving against the same loop in double precision."""
    poses = winding(rng)
    model, body, start = TrajectoryActions(), vehicle(), jnp.array([3000.0, -20.0, 2.5])
    world = from_frame(rear_pose(rear_at(), body), start)
    now = rear_at(*np.asarray(world), speed=6.0)
    action = TrajectoryAction(jnp.asarray(poses, jnp.float32), start, jnp.zeros(()))
    step = jax.jit(lambda now, age: model.forward(now, action.replace(age_s=age), body, STEP_S))
    rear, speed, acceleration, steering = np.zeros(3), 6.0, 0.0, 0.0
    for index in range(40):
        wanted, rate = reference_commands(poses, index, rear, speed, steering)
        acceleration += 0.1 / 0.3 * (wanted - acceleration)
        turned = np.clip(steering + 0.1 / 0.15 * (0.1 * rate), -np.pi / 3, np.pi / 3)
        turn = speed * np.tan(steering) / AXLES
        rear = rear + 0.1 * np.array([speed * np.cos(rear[2]), speed * np.sin(rear[2]), turn])
        speed, steering = speed + 0.1 * acceleration, turned
        now = step(now, jnp.float32(index * STEP_S))
    found = to_frame(rear_pose(now, body), start)
    np.testing.assert_allclose(found, rear, atol=5e-3)
    inside = [now.speed, now.acceleration, now.steering]
    np.testing.assert_allclose(inside, [speed, acceleration, steering], atol=1e-3)


def test_commands_by_hand() -> None:
    # The trajectory drives 12 m/s, the vehicle 10: a = 1 s * 10 / (1 s2 * 10 + 1) * 2 = 20 / 11.
    profile = profile_of(straight(12.0))
    acceleration, rate = track(profile, ORIGIN, 0.0, rear_at(speed=10.0), vehicle())
    np.testing.assert_allclose(acceleration, 20 / 11, rtol=1e-3)
    np.testing.assert_allclose(rate, 0.0, atol=1e-5)
    # Both below 0.2 m/s: half of the difference, and the wheels rest although the vehicle stands aside.
    acceleration, rate = track(profile_of(straight(0.1)), ORIGIN, 0.0, rear_at(y=0.4, speed=0.15), vehicle())
    np.testing.assert_allclose([acceleration, rate], [-0.025, 0.0], atol=1e-4)


@pytest.mark.parametrize("speed", [0.0, 0.1, 6.0])
def test_degenerate_trajectories_give_finite_motions(speed: float) -> None:
    """All poses equal, all zero, or turning on the spot: a network may plan any of it."""
    spot = jnp.broadcast_to(jnp.array([5.0, 1.0, 3.0]), (NUM_POSES, 3))
    spinning = jnp.zeros((NUM_POSES, 3)).at[:, 2].set(jnp.linspace(-3.0, 3.0, NUM_POSES))
    for poses in (jnp.zeros((NUM_POSES, 3)), spot, spinning):
        action = TrajectoryAction(poses, ORIGIN, jnp.asarray(0.2))
        after = TrajectoryActions().forward(rear_at(speed=speed), action, vehicle(), STEP_S)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


def test_another_number_of_poses_is_refused() -> None:
    action = TrajectoryAction(jnp.zeros((6, 3)), ORIGIN, jnp.zeros(()))
    with pytest.raises(ValueError, match=r"a trajectory has shape \(6, 3\); expected \(8, 3\)"):
        TrajectoryActions().forward(rear_at(), action, vehicle(), STEP_S)


def test_a_longer_step_is_divided() -> None:
    """A quarter of a second is three parts, and nearly as far along a bend as two and a half steps."""
    angle = 0.35 * 0.5 * np.arange(1, NUM_POSES + 1)
    poses = jnp.asarray(np.stack([20 * np.sin(angle), 20 * (1 - np.cos(angle)), angle], axis=-1), jnp.float32)
    body, model = vehicle(), TrajectoryActions()

    def drive(timestep_s: float, steps: int) -> np.ndarray:
        now = rear_at(speed=7.0, steering=np.arctan(AXLES / 20))
        for k in range(steps):
            now = model.forward(
                now, TrajectoryAction(poses, ORIGIN, jnp.asarray(k * timestep_s)), body, timestep_s
            )
        return np.asarray(rear_pose(now, body))

    for one, other, bound in zip(drive(0.25, 4), drive(0.1, 10), (0.02, 0.03, 0.005), strict=True):
        assert abs(one - other) < bound


# --- driving -------------------------------------------------------------------------------------------------------


@lru_cache
def paths() -> np.ndarray:
    """[4, time, 3] where a trajectory's rear axle is at every step: straight on, a bend, a lane change, a stop."""
    time = STEP_S * np.arange(STEPS + 50)
    ahead = np.stack([8 * time, 0 * time, 0 * time], axis=-1)
    angle = 7.0 / 15.0 * time  # radius 15 at 7 m/s: 3.3 m/s2
    bend = np.stack(
        [15 * np.sin(angle), 15 * (1 - np.cos(angle)), (angle + np.pi) % (2 * np.pi) - np.pi], axis=-1
    )
    share = np.clip((time - 2.0) / 4.0, 0, 1)
    y = 3.5 * (10 * share**3 - 15 * share**4 + 6 * share**5)
    slope = 3.5 * (30 * share**2 - 60 * share**3 + 30 * share**4) / 4.0
    change = np.stack([10 * time, y, np.arctan2(slope, 10.0)], axis=-1)
    until = np.minimum(time, 4.0)
    stop = np.stack([8 * until - until**2, 0 * time, 0 * time], axis=-1)
    return np.stack([ahead, bend, change, stop])


@lru_cache
def driven() -> tuple[Motion, np.ndarray]:
    """Motions [4, time] of vehicles that start aside of their paths and get the path's next poses every half second,
    and their rear axles [4, time, 3]."""
    path = jnp.asarray(paths(), jnp.float32)
    body = jax.tree.map(lambda value: jnp.full(4, value), vehicle())
    starts = ((0.5, 0.03, 6.5), (0.3, 0.0, 7.0), (-0.3, 0.02, 10.0), (0.2, 0.0, 8.0))
    first = [rear_at(y=y, yaw=yaw, speed=speed) for y, yaw, speed in starts]
    start = jax.tree.map(lambda *values: jnp.stack(values), *first)

    def step(now: Motion, k: jax.Array) -> tuple[Motion, Motion]:
        made = k - k % 5
        action = new_trajectory(
            jnp.take(path, made + 5 * jnp.arange(1, 9), axis=1), jnp.take(path, made, axis=1)
        )
        action = action.replace(age_s=jnp.full(4, STEP_S) * (k % 5))
        after = TrajectoryActions().forward(now, action, body, STEP_S)
        return after, after

    _, result = jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(STEPS)))(start)
    motions = jax.tree.map(lambda field: field.T, result)
    rear = rear_pose(motions, jax.tree.map(lambda value: value[:, None], body))
    return jax.tree.map(np.asarray, motions), np.asarray(rear)


def test_straight_on_from_half_a_metre_aside() -> None:
    motions, rear = driven()
    assert abs(rear[0, 0, 1]) > 0.4
    assert np.abs(rear[0, 60:, 1]).max() < 0.1, "after six seconds"
    np.testing.assert_allclose(motions.speed[0, 60:], 8.0, atol=0.05)


def test_round_a_bend() -> None:
    motions, rear = driven()
    radius = np.hypot(rear[1, :, 0], rear[1, :, 1] - 15.0)
    # From straight wheels it cuts in by a metre and swings out again: steering is cheap only a second ahead.
    np.testing.assert_allclose(radius[40:], 15.0, atol=1.1)
    np.testing.assert_allclose(radius[85:], 15.0, atol=0.3)
    np.testing.assert_allclose(motions.speed[1, 40:], 7.0, atol=0.1)


def test_through_a_lane_change() -> None:
    _, rear = driven()
    apart = np.abs(rear[2, 20:, 1] - np.interp(rear[2, 20:, 0], paths()[2, :, 0], paths()[2, :, 1]))
    assert apart.max() < 0.5
    np.testing.assert_allclose(rear[2, 85:, 1], 3.5, atol=0.2)


def test_to_rest_at_the_end_of_a_stopping_trajectory() -> None:
    motions, rear = driven()
    np.testing.assert_allclose(motions.speed[3, -1], 0.0, atol=0.05)
    # Speed is fed back and distance is not: a tracker that closes on a speed 1 s ahead does not stop on the spot.
    np.testing.assert_allclose(rear[3, -1, :2], paths()[3, -1, :2], atol=2.0)


def test_frames_there_and_back(rng: np.random.Generator) -> None:
    poses = jnp.asarray(rng.uniform(-3, 3, (5, 8, 3)), jnp.float32)
    frame = jnp.asarray(rng.uniform(-3, 3, (5, 1, 3)), jnp.float32)
    np.testing.assert_allclose(to_frame(from_frame(poses, frame), frame), poses, atol=1e-5)
    # One pose by hand: 2 m ahead of a rear axle at (1, 1) that heads north.
    there = from_frame(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([1.0, 1.0, np.pi / 2]))
    np.testing.assert_allclose(there, [[1.0, 3.0, np.pi / 2]], atol=1e-6)
