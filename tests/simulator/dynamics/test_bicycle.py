"""The kinematic bicycle against hand arithmetic, a fine-step integration and the symmetries it must have."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from simulator.angles import wrap_angle
from simulator.conventions import COAST, NUM_JERK_ACTIONS
from simulator.dynamics.bicycle import (
    ACTIONS,
    MAX_STEERING,
    Motion,
    Vehicle,
    advance_by_jerks,
    follow_arc,
    jerks_of,
    limit_speed,
    logged_vehicle,
    rear_pose,
)


def motion(**changes: float) -> Motion:
    names = ("x", "y", "yaw", "speed", "acceleration", "lateral_acceleration", "steering")
    return Motion(**{name: jnp.array([changes.get(name, 0.0)]) for name in names})


def vehicle(**changes: float) -> Vehicle:
    values = dict.fromkeys(("throttle_gain", "steer_gain", "acceleration_gain", "speed_gain"), 1.0)
    values["wheelbase"] = 3.0
    return Vehicle(**{name: jnp.array([value]) for name, value in (values | changes).items()})


def test_twelve_actions_are_all_pairs_of_jerks() -> None:
    assert NUM_JERK_ACTIONS == 12
    assert {tuple(row) for row in ACTIONS.tolist()} == {(a, b) for a in (-15, -4, 0, 4) for b in (-4, 0, 4)}
    np.testing.assert_array_equal(jerks_of(jnp.array([COAST])), [[0.0, 0.0]])


def test_straight_step_by_hand() -> None:
    # jerk 4 for 0.1 s: a = 0 + 0.4; v = 10 + (0 + 0.4)/2 * 0.1 = 10.02; x = (10 + 10.02)/2 * 0.1 = 1.001
    after = advance_by_jerks(motion(speed=10.0), jnp.array([[4.0, 0.0]]), vehicle(), 0.1)
    np.testing.assert_allclose(after.acceleration, [0.4], rtol=1e-6)
    np.testing.assert_allclose(after.speed, [10.02], rtol=1e-6)
    np.testing.assert_allclose([after.x[0], after.y[0], after.yaw[0]], [1.001, 0.0, 0.0], atol=1e-6)


def test_turning_step_by_hand() -> None:
    # a_lat = 4 * 0.5 = 2 at v = 10: curvature 0.02, steering atan(0.06) = 0.0599 < 0.6 * 0.5
    after = advance_by_jerks(motion(speed=10.0), jnp.array([[0.0, 4.0]]), vehicle(), 0.5)
    np.testing.assert_allclose(after.steering, [np.arctan(0.06)], rtol=1e-5)
    np.testing.assert_allclose(after.yaw, [10.0 * 0.5 * 0.02], rtol=1e-5)
    assert after.y[0] > 0, "a positive lateral jerk turns left"


@pytest.mark.parametrize(
    ("start", "jerk", "field", "expected"),
    [
        (
            {"speed": 0.2, "acceleration": -5.0},
            (0.0, 0.0),
            "speed",
            0.0,
        ),  # would reverse: snaps to a standstill
        ({"speed": 5.0, "acceleration": 1.0}, (-15.0, 0.0), "acceleration", 0.0),  # sign change snaps
        ({"speed": 5.0, "acceleration": 2.4}, (4.0, 0.0), "acceleration", 2.5),  # upper limit
        ({"speed": 5.0, "acceleration": -4.9}, (-15.0, 0.0), "acceleration", -5.0),  # lower limit
        ({"speed": 19.99, "acceleration": 2.5}, (0.0, 0.0), "speed", 20.0),  # speed cap
        ({"speed": 5.0, "lateral_acceleration": 1.0}, (0.0, -4.0), "lateral_acceleration", 0.0),
    ],
)
def test_limits_and_sign_changes(
    start: dict[str, float], jerk: tuple[float, float], field: str, expected: float
) -> None:
    after = advance_by_jerks(motion(**start), jnp.array([jerk]), vehicle(), 0.5)
    np.testing.assert_allclose(getattr(after, field), [expected], atol=1e-6)


def test_steering_moves_at_a_bounded_rate_and_stays_bounded() -> None:
    state = motion(speed=1.0)
    for _ in range(40):
        before = state.steering[0]
        state = advance_by_jerks(state, jnp.array([[0.0, 4.0]]), vehicle(), 0.1)
        assert state.steering[0] - before <= 0.06 + 1e-6
    np.testing.assert_allclose(state.steering, [MAX_STEERING], rtol=1e-6)


def test_arc_matches_a_fine_integration_of_the_bicycle(rng: np.random.Generator) -> None:
    arc, curvature, axles = rng.uniform(-5, 15, 20), rng.uniform(-0.2, 0.2, 20), rng.uniform(0.5, 5, 20)
    x, y, yaw = follow_arc(
        *(jnp.asarray(v) for v in (0 * arc, 0 * arc, 0 * arc + 0.3, arc, curvature, axles))
    )
    steps = 20_000
    rear_x, rear_y, heading = -0.5 * axles * np.cos(0.3), -0.5 * axles * np.sin(0.3), np.full(20, 0.3)
    for _ in range(steps):
        middle = heading + 0.5 * curvature * arc / steps
        rear_x, rear_y = rear_x + arc / steps * np.cos(middle), rear_y + arc / steps * np.sin(middle)
        heading = heading + curvature * arc / steps
    np.testing.assert_allclose(x, rear_x + 0.5 * axles * np.cos(heading), atol=1e-3)
    np.testing.assert_allclose(y, rear_y + 0.5 * axles * np.sin(heading), atol=1e-3)
    np.testing.assert_allclose(yaw, heading - 2 * np.pi * np.round(heading / (2 * np.pi)), atol=1e-4)


def test_error_shrinks_with_the_step() -> None:
    """Halving the step at a constant jerk halves the difference from a very fine integration, or better."""

    def end(steps: int) -> np.ndarray:
        state = motion(speed=6.0)
        for _ in range(steps):
            state = advance_by_jerks(state, jnp.array([[2.0, 2.0]]), vehicle(), 1.0 / steps)
        return np.array([state.x[0], state.y[0]])

    fine = end(512)
    errors = [np.linalg.norm(end(n) - fine) for n in (4, 8, 16, 32)]
    assert all(second < 0.7 * first for first, second in itertools.pairwise(errors)), errors


def test_motion_does_not_depend_on_where_the_world_points() -> None:
    turn = 1.234
    start = {"speed": 8.0, "acceleration": 1.0, "lateral_acceleration": -1.0, "steering": -0.05}
    plain = advance_by_jerks(motion(**start), jnp.array([[4.0, -4.0]]), vehicle(), 0.25)
    turned = advance_by_jerks(motion(**start, yaw=turn), jnp.array([[4.0, -4.0]]), vehicle(), 0.25)
    cos, sin = np.cos(turn), np.sin(turn)
    np.testing.assert_allclose(turned.x, plain.x * cos - plain.y * sin, atol=1e-5)
    np.testing.assert_allclose(turned.y, plain.x * sin + plain.y * cos, atol=1e-5)
    np.testing.assert_allclose(turned.yaw, plain.yaw + turn, atol=1e-5)


def test_gains_scale_what_they_name() -> None:
    weak = advance_by_jerks(motion(speed=5.0), jnp.array([[4.0, 0.0]]), vehicle(throttle_gain=0.5), 0.1)
    np.testing.assert_allclose(weak.acceleration, [0.2], rtol=1e-6)
    slow = advance_by_jerks(
        motion(speed=2.0, acceleration=2.0), jnp.array([[0.0, 0.0]]), vehicle(speed_gain=0.1), 0.5
    )
    np.testing.assert_allclose(slow.speed, [2.0], rtol=1e-6)


def test_a_logged_vehicle_may_drive_faster_than_self_play() -> None:
    size = jnp.array([[5.0, 2.0, 1.5]])
    np.testing.assert_allclose(limit_speed(jnp.array([30.0]), jnp.array([31.0]), vehicle()), [20.0])
    fast = logged_vehicle(size)
    np.testing.assert_allclose(limit_speed(jnp.array([30.0]), jnp.array([31.0]), fast), [31.0])
    np.testing.assert_allclose(limit_speed(jnp.array([30.0]), jnp.array([99.0]), fast), [60.0])
    np.testing.assert_allclose(fast.wheelbase, [3.0])
    as_usual = advance_by_jerks(motion(speed=5.0), jnp.array([[4.0, 0.0]]), vehicle(), 0.1)
    np.testing.assert_array_equal(
        advance_by_jerks(motion(speed=5.0), jnp.array([[4.0, 0.0]]), fast, 0.1).x, as_usual.x
    )


def test_rear_axle_is_half_a_wheelbase_behind() -> None:
    pose = rear_pose(motion(x=1.0, y=2.0, yaw=np.pi / 2), vehicle())
    np.testing.assert_allclose(pose, [[1.0, 0.5, np.pi / 2]], atol=1e-6)


def test_wrap_angle_keeps_the_direction() -> None:
    angles = jnp.linspace(-20.0, 20.0, 101)
    wrapped = wrap_angle(angles)
    assert (wrapped >= -np.pi).all()
    assert (wrapped < np.pi).all()
    np.testing.assert_allclose(jnp.cos(wrapped), jnp.cos(angles), atol=1e-5)
