"""The regulator against its own cost written out, and on roads: straight, round a bend, changing lane, to a stop."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.dynamics.bicycle import MAX_STEERING, Motion, Vehicle, rear_pose, to_rear_axle_frame
from simulator.dynamics.lqr import LqrSettings, track
from simulator.dynamics.steering_rate_actions import move
from simulator.dynamics.trajectory_actions import PlanActions, to_world
from simulator.dynamics.trajectory_profile import profile_of

FIELDS = ("x", "y", "yaw", "speed", "acceleration", "lateral_acceleration", "steering")
AXLES = 3.0
STEP_S = 0.1
SECONDS = 10.0
STEPS = round(SECONDS / STEP_S)


def motion(**changes: float) -> Motion:
    return Motion(**{name: jnp.asarray(changes.get(name, 0.0)) for name in FIELDS})


def vehicle(**changes: float) -> Vehicle:
    values = dict.fromkeys(("throttle_gain", "steer_gain", "acceleration_gain", "speed_gain"), 1.0)
    values["wheelbase"] = AXLES
    return Vehicle(**{name: jnp.asarray(value) for name, value in (values | changes).items()})


def straight_plan(speed: float, acceleration: float = 0.0) -> jnp.ndarray:
    time = 0.5 * np.arange(1, 9)
    x = speed * time + 0.5 * acceleration * time**2
    return jnp.asarray(np.stack([x, 0 * x, 0 * x], axis=-1), jnp.float32)


def behind(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **rest: float) -> Motion:
    """The motion whose rear axle is at a pose."""
    return motion(x=x + 0.5 * AXLES * np.cos(yaw), y=y + 0.5 * AXLES * np.sin(yaw), yaw=yaw, **rest)


ORIGIN = jnp.zeros(3)

# --- one answer ----------------------------------------------------------------------------------------------------


def test_acceleration_by_hand() -> None:
    # The plan drives 12 m/s and we drive 10. T = 1 s, q = 10, r = 1: 1 * 10 * 2 / (1 * 10 + 1) = 20 / 11.
    acceleration, rate = track(
        straight_plan(12.0), 0.0, behind(speed=10.0), vehicle(), STEP_S, start_world=ORIGIN
    )
    np.testing.assert_allclose(acceleration, 20 / 11, rtol=1e-3)
    np.testing.assert_allclose(rate, 0.0, atol=1e-5)


def test_speed_is_that_of_the_plan_at_the_end_of_the_horizon() -> None:
    # Half a second into a plan that gains 1.1 m/s2 from 8: in 1 s it will drive 8 + 1.5 * 1.1 = 9.65.
    now = behind(x=8.0 * 0.5 + 0.55 * 0.25, speed=8.55)
    acceleration, _ = track(straight_plan(8.0, 1.1), 0.5, now, vehicle(), STEP_S, start_world=ORIGIN)
    np.testing.assert_allclose(acceleration, (9.65 - 8.55) * 10 / 11, rtol=2e-2)


def test_steering_rate_is_the_least_of_the_cost_written_out() -> None:
    """The cost of 20,001 held rates, by rolling the linear equations out in double precision."""
    settings = LqrSettings(q_steering=0.3)
    speed, lateral, heading, steering = 7.0, 0.05, -0.01, 0.02
    now = behind(y=lateral, yaw=heading, speed=speed, steering=steering)
    _, found = track(straight_plan(speed), 0.0, now, vehicle(), STEP_S, settings, ORIGIN)
    rate = np.linspace(-0.2, 0.2, 20_001)
    e, h, delta = np.full_like(rate, lateral), np.full_like(rate, heading), np.full_like(rate, steering)
    for _ in range(10):
        e, h, delta = e + 0.1 * speed * h, h + 0.1 * speed * delta / AXLES, delta + 0.1 * rate
    cost = 1.0 * e**2 + 10.0 * h**2 + 0.3 * delta**2 + rate**2
    np.testing.assert_allclose(found, rate[np.argmin(cost)], atol=1e-4)


def test_controls_keep_the_limits() -> None:
    far = straight_plan(19.0)
    acceleration, rate = track(far, 0.0, behind(y=-9.0, speed=1.0), vehicle(), STEP_S, start_world=ORIGIN)
    np.testing.assert_allclose([acceleration, rate], [2.5, 0.6], atol=1e-6)
    nearly = behind(y=-90.0, speed=1.0, steering=MAX_STEERING - 0.01)
    _, rate = track(far, 0.0, nearly, vehicle(), STEP_S, start_world=ORIGIN)
    np.testing.assert_allclose(rate, 0.1, rtol=1e-3)  # 0.01 rad in one step of 0.1 s


@pytest.mark.parametrize(
    ("field", "value"), [("spacing_s", 0.3), ("horizon_steps", 0), ("r_rate", 0.0), ("q_heading", -1.0)]
)
def test_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}={value} must"):
        LqrSettings(**{field: value})


@pytest.mark.parametrize("speed", [0.0, 0.1, 6.0])
def test_degenerate_plans_give_finite_controls(speed: float) -> None:
    """All poses equal, all zero, or turning on the spot: a planner may say any of it."""
    spot = jnp.broadcast_to(jnp.array([5.0, 1.0, 3.0]), (8, 3))
    spinning = jnp.zeros((8, 3)).at[:, 2].set(jnp.linspace(-3.0, 3.0, 8))
    for plan in (jnp.zeros((8, 3)), spot, spinning):
        for start in (None, ORIGIN):
            controls = track(plan, 0.2, motion(speed=speed), vehicle(), STEP_S, start_world=start)
            assert np.isfinite(controls).all()


# --- profiles ------------------------------------------------------------------------------------------------------


def test_profiles_are_the_least_squares_written_out(rng: np.random.Generator) -> None:
    """Against a dense solve in double precision of the same two problems, for a wriggling plan."""
    spacing, jerk, rate = 0.1, 1e-4, 1e-2
    time = 0.5 * np.arange(1, 9)
    plan = (
        np.stack([6 * time + 0.2 * time**2, 0.3 * time**2, 0.1 * time], axis=-1)
        + rng.normal(size=(8, 3)) * 0.05
    )
    profile = profile_of(ORIGIN, jnp.asarray(plan, jnp.float32), spacing, jerk, rate)
    pose = np.asarray(profile.pose, np.float64)
    np.testing.assert_allclose(pose[5::5], plan, atol=1e-5, err_msg="the cubic passes through the poses")
    move = np.diff(pose, axis=0)
    middle = pose[:-1, 2] + 0.5 * move[:, 2]
    along = move[:, 0] * np.cos(middle) + move[:, 1] * np.sin(middle)
    jerks = np.diff(np.eye(40), n=2, axis=0) / spacing
    design = np.concatenate([spacing * np.eye(40), np.sqrt(jerk) * jerks])
    speed = np.linalg.lstsq(design, np.concatenate([along, np.zeros(38)]), rcond=None)[0]
    np.testing.assert_allclose(profile.speed, speed, atol=1e-3)
    changes = np.diff(np.eye(40), axis=0) / spacing
    design = np.concatenate([np.diag(spacing * speed), np.sqrt(rate) * changes])
    curvature = np.linalg.lstsq(design, np.concatenate([move[:, 2], np.zeros(39)]), rcond=None)[0]
    np.testing.assert_allclose(profile.curvature, curvature, atol=1e-4)


@pytest.mark.parametrize("given", [True, False])
def test_an_arc_has_its_speed_and_curvature(given: bool) -> None:
    # Radius 20 at 8 m/s, far from the origin and through the jump of the heading at pi.
    angle = 8.0 / 20.0 * 0.5 * np.arange(9)
    circle = np.stack([3000 + 20 * np.sin(angle + 2), -20 * np.cos(angle + 2), angle + 2], axis=-1)
    circle[:, 2] = (circle[:, 2] + np.pi) % (2 * np.pi) - np.pi
    circle = jnp.asarray(circle, jnp.float32)
    profile = profile_of(circle[0] if given else None, circle[1:], 0.1, 1e-4, 1e-2)
    np.testing.assert_allclose(profile.speed, 8.0, rtol=0.02 if given else 0.08)
    np.testing.assert_allclose(profile.curvature, 0.05, rtol=0.02 if given else 0.08)


# --- driving -------------------------------------------------------------------------------------------------------


@lru_cache
def paths() -> np.ndarray:
    """[4, time, 3] where a plan's rear axle is at every step: straight on, a bend, a lane change, a stop."""
    time = STEP_S * np.arange(STEPS + 50)
    straight = np.stack([8 * time, 0 * time, 0 * time], axis=-1)
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
    return np.stack([straight, bend, change, stop])


@lru_cache
def driven() -> tuple[Motion, np.ndarray]:
    """Motions [4, time] of vehicles that start aside of their paths and get a new plan every half second."""
    path = jnp.asarray(paths(), jnp.float32)
    body = jax.tree.map(lambda value: jnp.full(4, value), vehicle())
    start = jax.vmap(lambda y, yaw, speed: behind_traced(y, yaw, speed))(
        jnp.array([0.5, 0.3, -0.3, 0.2]), jnp.array([0.03, 0.0, 0.02, 0.0]), jnp.array([6.5, 7.0, 10.0, 8.0])
    )

    def step(now: Motion, k: jax.Array) -> tuple[Motion, Motion]:
        made = k - k % 5
        plan = jnp.take(path, made + 5 * jnp.arange(1, 9), axis=1)
        since = jnp.full(4, STEP_S) * (k % 5)
        controls = track(plan, since, now, body, STEP_S, start_world=jnp.take(path, made, axis=1))
        after = move(now, *controls, body, STEP_S)
        return after, after

    _, result = jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(STEPS)))(start)
    motions = jax.tree.map(lambda field: np.asarray(field).T, result)
    rear = np.asarray(rear_pose(motions, jax.tree.map(lambda value: value[:, None], body)))
    return motions, rear


def behind_traced(y: jax.Array, yaw: jax.Array, speed: jax.Array) -> Motion:
    zero = jnp.zeros_like(y)
    return Motion(0.5 * AXLES * jnp.cos(yaw), y + 0.5 * AXLES * jnp.sin(yaw), yaw, speed, zero, zero, zero)


def aside(rear: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Distance of every rear axle [time, 3] from a path, wherever along it."""
    return np.linalg.norm(rear[:, None, :2] - path[None, :, :2], axis=-1).min(axis=1)


def test_straight_on_from_half_a_metre_aside() -> None:
    motions, rear = driven()
    assert abs(rear[0, 0, 1]) > 0.4
    assert np.abs(rear[0, 50:, 1]).max() < 0.05, "after five seconds"
    np.testing.assert_allclose(motions.speed[0, 50:], 8.0, atol=0.05)
    assert rear[0, :, 1].min() > -0.15, "without swinging far to the other side"


def test_round_a_bend() -> None:
    motions, rear = driven()
    radius = np.hypot(rear[1, :, 0], rear[1, :, 1] - 15.0)
    np.testing.assert_allclose(radius[40:], 15.0, atol=0.3)
    np.testing.assert_allclose(radius[80:], 15.0, atol=0.06)
    np.testing.assert_allclose(motions.steering[1, 80:], np.arctan(AXLES / 15.0), atol=0.005)


def test_through_a_lane_change() -> None:
    _, rear = driven()
    assert aside(rear[2, 20:], _dense(paths()[2])).max() < 0.15
    np.testing.assert_allclose(rear[2, 80:, 1], 3.5, atol=0.05)


def test_to_rest_at_the_end_of_a_stopping_plan() -> None:
    motions, rear = driven()
    slow = motions.speed[3, 60:]
    assert (np.diff(slow) <= 0).all(), "slower and slower, with a time constant of 2 s"
    np.testing.assert_allclose(slow[-1], 0.0, atol=0.03)
    # Speed is fed back and distance is not: a regulator that closes on a speed 1 s ahead stops late.
    np.testing.assert_allclose(rear[3, -1, :2], paths()[3, -1, :2], atol=2.0)
    assert (motions.speed[3] >= 0).all(), "it never backs up"


def _dense(path: np.ndarray) -> np.ndarray:
    time = np.arange(len(path))
    fine = np.linspace(0, len(path) - 1, 20 * len(path))
    return np.stack([np.interp(fine, time, path[:, i]) for i in range(3)], axis=-1)


# --- plans as actions ----------------------------------------------------------------------------------------------


def test_plans_change_frames_and_back(rng: np.random.Generator) -> None:
    plan = jnp.asarray(rng.uniform(-3, 3, (5, 8, 3)), jnp.float32)
    frame = jnp.asarray(rng.uniform(-3, 3, (5, 3)), jnp.float32)
    np.testing.assert_allclose(
        to_rear_axle_frame(to_world(plan, frame), frame[..., None, :]), plan, atol=1e-5
    )
    # One pose by hand: 2 m ahead of a rear axle at (1, 1) that heads north.
    there = to_world(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([1.0, 1.0, np.pi / 2]))
    np.testing.assert_allclose(there, [[1.0, 3.0, np.pi / 2]], atol=1e-6)


def test_a_lag_lets_through_its_share_of_the_first_answer() -> None:
    # 0.1 s of a 0.3 s lag: 0.1 / 0.4 of the change of acceleration from 0.4.
    direct = PlanActions().forward(behind(speed=10.0), straight_plan(12.0), vehicle(), STEP_S)
    settings = LqrSettings(acceleration_lag_s=0.3)
    slow = PlanActions(settings).forward(
        behind(speed=10.0, acceleration=0.4), straight_plan(12.0), vehicle(), STEP_S
    )
    np.testing.assert_allclose(slow.acceleration, 0.4 + 0.25 * (direct.acceleration - 0.4), rtol=1e-4)
