"""Action models: forward against hand arithmetic and fine integration, inverse by going round, logs by driving."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.angles import wrap_angle
from simulator.conventions import COAST, HARDEST_BRAKING
from simulator.dynamics.action_model import ActionModel, action_model
from simulator.dynamics.bicycle import MAX_STEERING, Motion, Vehicle, rear_pose
from simulator.dynamics.log_to_actions import TrackActions, actions_of_track
from simulator.dynamics.log_window import Ahead, LoggedTrack, joining_arc, windows
from simulator.dynamics.mixed_actions import MixedAction, MixedActions
from simulator.dynamics.steering_rate_actions import SteeringRateActions
from simulator.dynamics.trajectory_actions import TrajectoryAction

FIELDS = ("x", "y", "yaw", "speed", "acceleration", "lateral_acceleration", "steering")
NAMES = ("jerk", "steering_rate", "steering_rate_continuous", "trajectory")
SIZE = (4.8, 1.9, 1.6)


def motion(**changes: float) -> Motion:
    return Motion(**{name: jnp.asarray(changes.get(name, 0.0)) for name in FIELDS})


def vehicle(**changes: float) -> Vehicle:
    values = dict.fromkeys(("throttle_gain", "steer_gain", "acceleration_gain", "speed_gain"), 1.0)
    values["wheelbase"] = 3.0
    return Vehicle(**{name: jnp.asarray(value) for name, value in (values | changes).items()})


def random_motions(rng: np.random.Generator, shape: tuple[int, ...]) -> Motion:
    """Motions all over their ranges; a quarter stand, a quarter drive at the speed cap."""
    span = {
        "x": 50,
        "y": 50,
        "yaw": np.pi,
        "acceleration": 5,
        "lateral_acceleration": 4,
        "steering": MAX_STEERING,
    }
    values = {name: rng.uniform(-width, width, shape) for name, width in span.items()}
    values["acceleration"] = np.minimum(values["acceleration"], 2.5)
    values["speed"] = rng.choice([0.0, 20.0, 20.0 * 0.98, 5.0], shape) + rng.choice([0.0, -0.02], shape)
    return Motion(**{name: jnp.asarray(values[name], jnp.float32) for name in FIELDS})


def stacked(motion: Motion) -> np.ndarray:
    """[..., 7]; headings as they are."""
    return np.stack(np.broadcast_arrays(*(np.asarray(getattr(motion, name)) for name in FIELDS)), axis=-1)


def difference(first: Motion, second: Motion) -> np.ndarray:
    """[...] largest difference of any field."""
    apart = stacked(first) - stacked(second)
    apart[..., 2] = np.asarray(wrap_angle(jnp.asarray(apart[..., 2])))
    return np.abs(apart).max(axis=-1)


# --- the interface -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_model(name: str) -> None:
    assert isinstance(action_model(name), ActionModel)


def test_refusals_name_what_they_refuse() -> None:
    with pytest.raises(ValueError, match="'teleport' is unknown"):
        action_model("teleport")
    with pytest.raises(ValueError, match="num_rates=20 must be odd"):
        action_model("steering_rate", num_rates=20)
    with pytest.raises(ValueError, match=r"max_rate_radps=0\.0 must be greater than 0"):
        action_model("steering_rate", max_rate_radps=0.0)
    with pytest.raises(ValueError, match=r"min_acceleration_mps2=1\.0"):
        action_model("steering_rate_continuous", min_acceleration_mps2=1.0)
    one = jnp.zeros(1)
    with pytest.raises(ValueError, match="1 steps and must have at least 2"):
        actions_of_track(action_model("jerk"), jnp.zeros((1, 3)), one, one, one == 0, jnp.array(SIZE), 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_motion_does_not_depend_on_where_the_world_points(name: str, rng: np.random.Generator) -> None:
    """Turning the world turns the outcome, and explains it by the same action."""
    model, turn, shift = action_model(name), 2.1, np.array([30.0, -20.0])
    before = random_motions(rng, (6,)).replace(speed=jnp.linspace(1.0, 18.0, 6))
    after = random_motions(rng, (6,)).replace(speed=before.speed + jnp.linspace(-0.2, 0.2, 6))

    def turned(motion: Motion) -> Motion:
        cos, sin = np.cos(turn), np.sin(turn)
        x, y = cos * motion.x - sin * motion.y, sin * motion.x + cos * motion.y
        return motion.replace(x=x + shift[0], y=y + shift[1], yaw=wrap_angle(motion.yaw + turn))

    body = jax.tree.map(lambda value: jnp.broadcast_to(value, (6,)), vehicle())

    @jax.jit
    def explain(before: Motion, after: Motion) -> tuple[Any, Motion]:
        action = model.inverse(before, after, body, 0.1)
        return action, model.forward(before, action, body, 0.1)

    (plain, here), (other, there) = explain(before, after), explain(turned(before), turned(after))
    # A trajectory's poses are seen from where it starts.
    np.testing.assert_allclose(getattr(plain, "poses", plain), getattr(other, "poses", other), atol=1e-4)
    assert difference(there, turned(here)).max() < 1e-3


# --- going round ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "states"), [("jerk", 400), ("steering_rate", 40)])
def test_inverse_finds_every_action_again(name: str, states: int, rng: np.random.Generator) -> None:
    """All actions from many states: the action itself where it alone leads there, else one that leads there too."""
    model = action_model(name)
    before = jax.tree.map(lambda field: field[:, None], random_motions(rng, (states,)))
    body = jax.tree.map(lambda value: jnp.full((1, 1), value), vehicle())
    actions = jnp.broadcast_to(jnp.arange(model.num_actions), (states, model.num_actions))

    @jax.jit
    def round_trip(before: Motion) -> tuple[Motion, jax.Array, Motion]:
        after = model.forward(before, actions, body, 0.1)
        found = model.inverse(before, after, body, 0.1)
        return after, found, model.forward(before, found, body, 0.1)

    after, found, again = round_trip(before)
    assert difference(after, again).max() < 1e-4, "neighbouring actions differ by 5e-3 and more"
    other = np.asarray(found) != np.asarray(actions)
    values = stacked(after)
    # A different answer is right only if that action leads there as well.
    instead = np.take_along_axis(values, np.asarray(found)[..., None], axis=1)
    np.testing.assert_allclose(instead[other], values[other], atol=1e-4)
    assert 0.05 < other.mean() < 0.7, "clipping and snapping make some actions equal, and not most"


def test_equal_actions_are_answered_by_the_calmest() -> None:
    # Braking fully at the lower limit of acceleration, -15 and -4 m/s3 and 0 lead to the same -5 m/s2.
    model, before = action_model("jerk"), motion(speed=10.0, acceleration=-5.0)
    after = model.forward(before, jnp.asarray(1), vehicle(), 0.1)
    assert model.inverse(before, after, vehicle(), 0.1) == COAST


def test_rounding_does_not_keep_a_jerk_driver_from_steering() -> None:
    """-1e-7 m/s2 is snapped to 0 by a jerk to the left: one step lost, and not the whole bend."""
    model, angle = action_model("jerk"), 10.0 / 50.0 * 0.1 * np.arange(1, 30)
    x, y, yaw = 50 * np.sin(angle), 50 * (1 - np.cos(angle)), angle
    state = motion(speed=10.0, lateral_acceleration=-1e-7, acceleration=-1e-7)
    toward = jax.jit(lambda state, ahead: model.toward(state, ahead, vehicle(), 0.1))
    for k in range(5):
        ahead = Ahead(*(jnp.asarray(field[k : k + 10], jnp.float32) for field in (x, y, yaw)))
        state = model.forward(state, toward(state, ahead), vehicle(), 0.1)
    assert state.lateral_acceleration > 1.0  # the bend asks for 2 m/s2


def test_a_standing_car_starts_though_rounding_left_it_a_speed() -> None:
    """Forward from -1e-7 m/s is a change of sign, and yet no reason to stand for ever."""
    model, time = action_model("steering_rate"), 0.1 * np.arange(1, 30)
    state, x = motion(speed=-1e-7), 0.5 * time**2  # the log starts with 1 m/s2
    toward = jax.jit(lambda state, ahead: model.toward(state, ahead, vehicle(), 0.1))
    for k in range(10):
        window = jnp.asarray(x[k : k + 6], jnp.float32)
        ahead = Ahead(window, jnp.zeros(6), jnp.zeros(6))
        state = model.forward(state, toward(state, ahead), vehicle(), 0.1)
    np.testing.assert_allclose([state.x, state.speed], [0.5, 1.0], atol=0.15)


def test_continuous_controls_go_round(rng: np.random.Generator) -> None:
    model = action_model("steering_rate_continuous")
    before = random_motions(rng, (200,)).replace(speed=jnp.asarray(rng.uniform(2, 18, 200), jnp.float32))
    before = before.replace(steering=0.8 * before.steering)
    wanted = jnp.asarray(rng.uniform((-4, -0.6), (3, 0.6), (200, 2)), jnp.float32)
    after = model.forward(before, wanted, vehicle(), 0.1)
    np.testing.assert_allclose(model.inverse(before, after, vehicle(), 0.1), wanted, atol=1e-4)


def test_the_nearest_action_explains_what_no_action_does() -> None:
    # 0.34 m/s2 and 0.1 rad/s lie between 0.3 and 0.4 and between 0.06 and 0.12.
    model = SteeringRateActions()
    free = action_model("steering_rate_continuous")
    after = free.forward(motion(speed=8.0), jnp.array([0.34, 0.1]), vehicle(), 0.1)
    controls = model.controls_of(model.inverse(motion(speed=8.0), after, vehicle(), 0.1))
    np.testing.assert_allclose(controls, (0.3, 0.12), atol=1e-6)


def test_a_trajectory_that_continues_a_transition_repeats_most_of_it() -> None:
    """10 / 11 of the change of speed a second ahead, through a lag of 0.2 s; see the hand arithmetic in test_lqr.py."""
    model, free = action_model("trajectory"), action_model("steering_rate_continuous")

    @jax.jit
    def again(before: Motion) -> Motion:
        after = free.forward(before, jnp.array([-1.1, 0.0]), vehicle(), 0.1)
        return model.forward(before, model.inverse(before, after, vehicle(), 0.1), vehicle(), 0.1)

    wanted = 10 / 11 * -1.1 * 1.05  # the speed of the interval from 1.0 to 1.1 s
    for begun in (0.0, -1.1):
        found = again(motion(speed=8.0, acceleration=begun)).acceleration
        np.testing.assert_allclose(found, begun + (wanted - begun) / 3, atol=0.02)


def test_agents_of_one_world_use_different_models(rng: np.random.Generator) -> None:
    """Each agent moves exactly as its own model alone would move it, and only the braking of that model counts."""
    before = random_motions(rng, (6,)).replace(speed=jnp.linspace(1.0, 18.0, 6))
    body = jax.tree.map(lambda value: jnp.broadcast_to(value, (6,)), vehicle())
    jerks, trajectories = action_model("jerk"), action_model("trajectory")
    index = jnp.array([0, 3, 5, 7, 9, 11])
    moves = rng.uniform(-1, 1, (6, 8, 3)) + np.array([4.0, 0.0, 0.0])
    poses = jnp.asarray(moves, jnp.float32).cumsum(axis=1)
    action = TrajectoryAction(poses * jnp.array([1.0, 1.0, 0.1]), rear_pose(before, body), jnp.full(6, 0.3))
    which = jnp.array([0, 1, 1, 0, 1, 0])
    mixed = MixedActions((jerks, trajectories))
    together = MixedAction(which, (index, action))
    forward = jax.jit(lambda model, action: model.forward(before, action, body, 0.1), static_argnums=0)
    alone = [stacked(forward(jerks, index)), stacked(forward(trajectories, action))]
    found = stacked(forward(mixed, together))
    np.testing.assert_allclose(found, np.choose(np.asarray(which)[:, None], alone), rtol=1e-6, atol=1e-6)
    braked = forward(mixed, mixed.hardest_braking(together)).speed
    assert (np.asarray(braked) <= np.asarray(before.speed) + 0.26).all()
    hardest = forward(jerks, jnp.full(6, HARDEST_BRAKING)).speed
    np.testing.assert_allclose(braked[which == 0], hardest[which == 0], rtol=1e-6)


# --- acceleration and steering rate --------------------------------------------------------------------------------


def test_actions_are_seventy_one_accelerations_by_the_rates() -> None:
    model = SteeringRateActions(num_rates=5, max_rate_radps=0.4)
    assert model.num_actions == 355
    acceleration, rate = model.controls_of(jnp.arange(355))
    np.testing.assert_allclose(acceleration[::5], np.arange(-40, 31) / 10, atol=1e-6)
    np.testing.assert_allclose(rate[:5], [-0.4, -0.2, 0.0, 0.2, 0.4], atol=1e-6)
    assert (np.asarray(rate).reshape(71, 5)[:, 2] == 0).all(), "straight on is exactly an action"
    assert 0.0 in np.asarray(acceleration), "and so is keeping the speed"


def test_one_step_by_hand() -> None:
    # Acceleration 1.0 is index 50, rate 0.06 index 11 of 21. v' = 10.1, arc = 1.005, delta' = 0.006 and on average
    # 0.003: curvature 0.001, turn 0.001005. The rear axle moves 1.005 on and 1.005 * 0.001005 / 2 aside, and the
    # centre, 1.5 ahead of it, another 1.5 * 0.001005 aside.
    after = SteeringRateActions().forward(motion(speed=10.0), jnp.asarray(50 * 21 + 11), vehicle(), 0.1)
    np.testing.assert_allclose(
        [after.speed, after.acceleration, after.steering], [10.1, 1.0, 0.006], rtol=1e-4
    )
    np.testing.assert_allclose(after.yaw, 0.001005, rtol=1e-4)
    np.testing.assert_allclose([after.x, after.y], [1.005, 1.005 * 0.001005 / 2 + 1.5 * 0.001005], rtol=2e-4)


@pytest.mark.parametrize(
    ("start", "control", "field", "expected"),
    [
        ({"speed": 0.3}, (-4.0, 0.0), "speed", 0.0),  # would reverse: stops
        ({"speed": 0.0}, (-4.0, 0.0), "speed", -2.0),  # from a standstill it may, to the limit
        ({"speed": 19.9}, (3.0, 0.0), "speed", 20.0),
        ({"speed": 5.0, "steering": 0.5}, (0.0, 0.6), "steering", MAX_STEERING),
        ({"speed": 5.0}, (0.0, 9.0), "steering", 0.3),  # 0.6 rad/s for half a second
    ],
)
def test_limits(start: dict[str, float], control: tuple[float, float], field: str, expected: float) -> None:
    model = action_model("steering_rate_continuous")
    after = model.forward(motion(**start), jnp.array(control), vehicle(), 0.5)
    np.testing.assert_allclose(getattr(after, field), expected, atol=1e-6)


def test_error_shrinks_with_the_square_of_the_step() -> None:
    """One second of braking into a bend, against 100,000 Euler steps in double precision."""
    start = {"speed": 8.0, "steering": -0.1, "yaw": 0.4}
    acceleration, rate, axles, steps = -1.5, 0.35, 3.0, 100_000
    time = (np.arange(steps) + 0.5) / steps
    speed, steering = 8.0 + acceleration * time, -0.1 + rate * time
    yaw = 0.4 + np.cumsum(speed * np.tan(steering) / axles) / steps
    middle = yaw - 0.5 * speed * np.tan(steering) / axles / steps
    rear = np.array([np.sum(speed * np.cos(middle)), np.sum(speed * np.sin(middle))]) / steps
    rear -= 0.5 * axles * np.array([np.cos(0.4), np.sin(0.4)])
    model, errors = action_model("steering_rate_continuous"), []
    for count in (2, 4, 8, 16):
        state = motion(**start)
        for _ in range(count):
            state = model.forward(state, jnp.array([acceleration, rate]), vehicle(), 1.0 / count)
        errors.append(np.linalg.norm(np.asarray(rear_pose(state, vehicle()))[:2] - rear))
    slope = np.polyfit(np.log([2, 4, 8, 16]), np.log(errors), 1)[0]
    assert -2.3 < slope < -1.7, (slope, errors)


# --- logs ----------------------------------------------------------------------------------------------------------

STEPS = 61  # six seconds at 10 Hz
BATCH, LONGEST = 44, 91  # of what is compiled: logs, and steps of the longest


@lru_cache
def driver(name: str) -> Callable[..., TrackActions]:
    """A compiled `actions_of_track` over a batch of tracks."""
    model = action_model(name)
    return jax.jit(jax.vmap(lambda *track: actions_of_track(model, *track, timestep_s=0.1)))


@lru_cache
def drives() -> tuple[np.ndarray, np.ndarray]:
    """[4, time, 3] poses and [4, time] speeds: town bends, 30 m/s on a motorway, a stop, parking in reverse."""
    model, time = action_model("steering_rate_continuous"), 0.1 * np.arange(STEPS - 1)
    controls = np.zeros((4, STEPS - 1, 2), np.float32)
    controls[0, :, 0], controls[0, :, 1] = np.sin(time), 0.12 * np.cos(1.5 * time)
    controls[1, :, 1] = 0.01 * np.cos(time)
    controls[2, :, 0] = np.where(time < 3.0, -3.0, 0.0)
    controls[3, :, 1] = np.where(time < 1.0, 0.4, -0.1)
    state = Motion(*(jnp.zeros(4) for _ in FIELDS)).replace(speed=jnp.array([9.0, 30.0, 8.0, -1.5]))
    body = jax.tree.map(lambda value: jnp.full(4, value), vehicle(wheelbase=0.6 * SIZE[0], speed_gain=3.0))

    def step(now: Motion, control: jax.Array) -> tuple[Motion, Motion]:
        after = model.forward(now, control, body, 0.1)
        return after, after

    _, path = jax.lax.scan(step, state, jnp.moveaxis(jnp.asarray(controls), 1, 0))
    path = jax.tree.map(lambda first, rest: np.concatenate([np.asarray(first)[None], rest]), state, path)
    poses = np.stack([path.x, path.y, path.yaw], axis=-1)
    return np.moveaxis(poses, 0, 1), np.moveaxis(path.speed, 0, 1)


def drive(
    name: str,
    poses: np.ndarray,
    speeds: np.ndarray,
    valid: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
) -> TrackActions:
    """What a model makes of logs [logs, time, ...], in batches of one shape so that each model compiles once."""
    logs, time = speeds.shape
    valid = np.ones((logs, time), bool) if valid is None else valid
    sizes = np.broadcast_to(SIZE, (logs, 3)) if sizes is None else sizes
    positions = np.concatenate([poses[..., :2], np.zeros((logs, time, 1))], axis=-1)
    rows, columns = -logs % BATCH, LONGEST - time
    tracks = [
        np.pad(v, [(0, rows), (0, columns)] + [(0, 0)] * (v.ndim - 2))
        for v in (np.float32(positions), np.float32(poses[..., 2]), np.float32(speeds), valid)
    ]
    tracks.append(np.pad(np.float32(sizes), [(0, rows), (0, 0)], mode="edge"))
    parts = [
        driver(name)(*(jnp.asarray(v[k : k + BATCH]) for v in tracks)) for k in range(0, logs + rows, BATCH)
    ]
    whole = jax.tree.map(lambda *fields: np.concatenate(fields)[:logs], *parts)
    return TrackActions(
        action=jax.tree.map(lambda field: field[:, : time - 1], whole.action),
        acts=whole.acts[:, : time - 1],
        motion=jax.tree.map(lambda field: field[:, :time], whole.motion),
    )


def distance(result: TrackActions, poses: np.ndarray) -> np.ndarray:
    apart_x, apart_y = result.motion.x - poses[..., 0], result.motion.y - poses[..., 1]
    return np.hypot(apart_x, apart_y)


@pytest.mark.parametrize(
    ("name", "bound_m"),
    [("steering_rate_continuous", 0.08), ("steering_rate", 0.15), ("jerk", 0.6), ("trajectory", 3.0)],
)
def test_a_log_is_driven_again(name: str, bound_m: float) -> None:
    poses, speeds = drives()
    assert distance(drive(name, poses, speeds), poses).max() < bound_m


@pytest.mark.parametrize("name", NAMES)
def test_the_actions_alone_repeat_the_drive(name: str) -> None:
    """`forward` of an action leads from each simulated motion to the next: nothing else moved the vehicle."""
    poses, speeds = drives()
    result, model = drive(name, poses, speeds), action_model(name)
    body = jax.tree.map(lambda v: jnp.full((4, 1), v), vehicle(wheelbase=0.6 * SIZE[0], speed_gain=3.0))
    before = jax.tree.map(lambda field: field[:, :-1], result.motion)
    after = jax.tree.map(lambda field: field[:, 1:], result.motion)
    forward = jax.jit(lambda before, action: model.forward(before, action, body, 0.1))
    assert difference(forward(before, result.action), after).max() < 1e-3


def test_noise_is_not_differentiated(rng: np.random.Generator) -> None:
    """5 cm and 0.5 degrees of noise: the path stays near the truth, and the accelerations stay a driver's."""
    poses, speeds = drives()
    noisy = poses + rng.normal(size=poses.shape) * [0.05, 0.05, np.radians(0.5)]
    result = drive("steering_rate_continuous", noisy, speeds)
    assert distance(result, poses).max() < 0.3
    by_difference = np.diff(poses[..., 0] + rng.normal(size=speeds.shape) * 0.05, n=2, axis=1) / 0.1**2
    assert np.std(by_difference) > 5.0, "what differentiating would give"
    assert np.std(result.action[..., 0]) < 2.0


@pytest.mark.parametrize("name", NAMES)
def test_a_parked_car_stays_parked(name: str, rng: np.random.Generator) -> None:
    poses = rng.normal(size=(4, STEPS, 3)) * [0.03, 0.03, 0.01]
    result = drive(name, poses, np.zeros((4, STEPS)))
    assert max(np.ptp(result.motion.x, axis=1).max(), np.ptp(result.motion.y, axis=1).max()) < 0.2


def test_after_a_gap_the_vehicle_is_put_back_on_the_log() -> None:
    poses, speeds = drives()
    valid = np.ones((4, STEPS), bool)
    valid[:, 20:30] = False
    broken = np.where(valid[..., None], poses, -10000.0)
    result = drive("steering_rate_continuous", broken, np.where(valid, speeds, -10000.0), valid)
    np.testing.assert_array_equal(result.acts, valid[:, :-1] & valid[:, 1:])
    apart = distance(result, poses)
    assert apart[valid].max() < 0.1
    np.testing.assert_allclose(apart[:, 30], 0.0, atol=1e-3)


def test_a_window_goes_on_straight_behind_the_end_of_a_log() -> None:
    valid = jnp.array([True, True, True, False, True])
    x = jnp.array([0.0, 1.0, 2.0, -10000.0, 9.0])
    track = LoggedTrack(x, jnp.zeros(5), jnp.zeros(5), jnp.full(5, 10.0), valid)
    ahead = windows(track, 3, 0.1)
    np.testing.assert_allclose(ahead.x[0], [1.0, 2.0, 3.0], rtol=1e-6)  # the log, then on at 10 m/s
    np.testing.assert_allclose(ahead.x[2], [3.0, 4.0, 5.0], rtol=1e-6)  # not across the gap
    np.testing.assert_allclose(ahead.x[4], [10.0, 11.0, 12.0], rtol=1e-6)


def test_joining_arc_of_a_quarter_circle() -> None:
    # From the origin heading east, a left quarter circle of radius 10 ends at (10, 10) heading north.
    arc, turn = joining_arc(jnp.zeros(3), jnp.array([10.0, 10.0, np.pi / 2]))
    np.testing.assert_allclose([arc, turn], [5 * np.pi, np.pi / 2], rtol=1e-5)


# --- real logs -----------------------------------------------------------------------------------------------------


def read_vehicles(path: Path, degrees: bool) -> tuple[np.ndarray, ...]:
    """Positions, yaws, speeds, valid and sizes of the vehicles of one Waymo file that are seen for two seconds."""
    with gzip.open(path, "rt") as file:
        objects = json.load(file)["objects"]
    rows = []
    for item in objects:
        valid = np.array(item["valid"], bool)
        if item["type"] != "vehicle" or valid.sum() < 20:
            continue
        position = np.array([[p["x"], p["y"], 0.0] for p in item["position"]])
        yaw = np.array(item["heading"], float).ravel()
        yaw = np.radians(yaw) if degrees else yaw
        velocity = np.array([[v["x"], v["y"]] for v in item["velocity"]])
        speed = velocity[:, 0] * np.cos(yaw) + velocity[:, 1] * np.sin(yaw)
        rows.append((position, yaw, speed, valid, (item["length"], item["width"], 1.6)))
    return tuple(np.array(column) for column in zip(*rows))


@pytest.fixture(scope="module")
def vehicles(real_data: Path) -> tuple[np.ndarray, ...]:
    """The vehicles of three scenes, moving and standing."""
    lines = (real_data / "logs" / "womd_index.csv").read_text().splitlines()
    unit = lines[0].split(",").index("heading_unit")
    files = [(line.split(",")[0], line.split(",")[unit] == "deg") for line in lines[1:]]
    scenes = [read_vehicles(real_data / "logs" / name, degrees) for name, degrees in files[1::24]]
    return tuple(np.concatenate(column) for column in zip(*scenes))


@pytest.mark.parametrize(
    ("name", "least_share", "least_moving"),
    [
        ("steering_rate_continuous", 0.98, 0.96),
        ("steering_rate", 0.98, 0.94),
        ("jerk", 0.97, 0.92),
        ("trajectory", 0.80, 0.30),
    ],
)
def test_real_traffic_is_driven_again_within_30_cm(
    name: str, least_share: float, least_moving: float, vehicles: tuple[np.ndarray, ...]
) -> None:
    """Shares of vehicle-seconds, of all vehicles and of those that get somewhere: most of traffic stands."""
    positions, yaws, speeds, valid, sizes = vehicles
    positions = positions - np.take_along_axis(positions, valid.argmax(axis=1)[:, None, None], axis=1)
    poses = np.concatenate([positions[..., :2], yaws[..., None]], axis=-1)
    result = drive(name, poses, speeds, valid, sizes)
    near = distance(result, positions) < 0.3
    hidden = np.where(valid[..., None], positions, np.nan)
    moves = np.linalg.norm(np.nanmax(hidden, axis=1) - np.nanmin(hidden, axis=1), axis=-1) > 3.0
    assert near[valid].mean() >= least_share
    assert near[moves][valid[moves]].mean() >= least_moving
