"""Sub-scores of followed trajectories: one situation by hand for each, on the crossing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.judging.sub_scores import SubScores, judge
from simulator.judging.traffic import Traffic

EAST, LANE, AGAINST = 0.0, -1.75, 1.75  # rad; y of the inner eastward and of the westward lane
TIME_S = POSE_SPACING_S * np.arange(1, NUM_POSES + 1)
Agent = tuple[float, float, float, float]


def drive(speed: float, acceleration: float = 0.0, aside_m: float = 0.0) -> np.ndarray:
    """Poses straight ahead that come to rest where they brake to 0, `aside_m` to the left at the end."""
    until = TIME_S if acceleration >= 0 else np.minimum(TIME_S, -speed / acceleration)
    x = speed * until + 0.5 * acceleration * until**2
    return np.stack([x, aside_m * TIME_S / TIME_S[-1], 0 * x], axis=-1)


@pytest.fixture(scope="module")
def scores(junction: Any) -> Callable[..., list[dict[str, float]]]:
    """`scores(candidates, *agents)` gives the sub-scores of candidates of the first agent (x, y, yaw, speed); the
    others keep their velocity. NaN: undefined."""
    compiled = jax.jit(lambda *inputs: judge(*inputs, junction.atlas, junction.config))

    def of(
        candidates: list[np.ndarray], *agents: Agent, policy_m: float = 0.0, goal_m: float = 200.0
    ) -> list[dict[str, float]]:
        state = junction.world(*agents).replace(driving_quality=None)
        state = state.replace(
            scenario=state.scenario.replace(goal_m=jnp.full_like(state.scenario.goal_m, goal_m))
        )
        steps = round(TIME_S[-1] / junction.config.timestep_s)
        gone = (jnp.arange(1, steps + 1) * junction.config.timestep_s)[:, None] * state.speed
        heading = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw), 0 * state.yaw], axis=-1)
        held = Traffic(
            state.position + gone[..., None] * heading,
            *(jnp.broadcast_to(part, gone.shape) for part in (state.yaw, state.speed, state.present)),
        )
        worlds, traffic = (
            jax.tree.map(lambda leaf: leaf[None], state),
            jax.tree.map(lambda leaf: leaf[:, None], held),
        )
        gained = jnp.zeros((1, len(state.yaw))).at[0, 0].set(policy_m)
        poses = np.stack(candidates + [drive(0.0)] * (2 - len(candidates)))[None]  # one compilation
        poses, first = jnp.asarray(poses, jnp.float32), jnp.zeros((1, 2), jnp.int32)
        found: SubScores = compiled(worlds, traffic, gained, first, poses)
        known = np.asarray(found.time_to_collision_known)
        values = {
            name: np.asarray(value) for name, value in vars(found).items() if not name.endswith("known")
        }
        values["time_to_collision"] = np.where(known, values["time_to_collision"], np.nan)
        return [{name: float(value[0, k]) for name, value in values.items()} for k in range(len(candidates))]

    return of


def but(**other: float) -> dict[str, float]:
    """All ones, apart from these; the tracker brakes a little late."""
    names = ("no_collision", "drivable_area", "time_to_collision", "progress", "direction", "comfort")
    return pytest.approx(dict.fromkeys(names, 1.0) | other, abs=0.04, nan_ok=True)


def test_an_empty_lane_is_good_and_progress_is_a_share_of_the_best(scores: Callable) -> None:
    """Metres from 10 m/s: 40, and 24 braking by 2 m/s2; the policy came 80 m far in the second case."""
    steady, braking = scores([drive(10.0), drive(10.0, -2.0)], (20, LANE, EAST, 10))
    assert steady == but()
    assert braking == but(progress=24 / 40)
    assert scores([drive(10.0)], (-5, LANE, EAST, 10), policy_m=80.0)[0] == but(progress=0.5)


def test_standing_makes_no_progress_unless_there_is_none_to_make(scores: Callable) -> None:
    assert scores([drive(0.0)], (20, LANE, EAST, 0), policy_m=10.0)[0] == but(progress=0.0)
    assert scores([drive(0.0), drive(0.0, 0.5)], (20, LANE, EAST, 0), policy_m=1.0) == [but(), but()]


def test_leaving_the_road_with_a_corner_costs_the_drivable_area(scores: Callable) -> None:
    """The road ends at x = 80 m, the front is 2 m ahead of the centre, and 0.3 m outside are allowed."""
    beyond, before = scores([drive(10.0), drive(10.0, -2.6)], (56, LANE, EAST, 10))
    assert beyond == but(drivable_area=0.0)
    assert before == but()


def test_who_drives_into_a_standing_car_collides_and_who_stops_does_not(scores: Callable) -> None:
    """The car's rear is 36 m ahead. Progress is measured by the best that does not collide: 24 m."""
    hits, stops = scores([drive(10.0), drive(10.0, -2.0)], (20, LANE, EAST, 10), (60, LANE, EAST, 0))
    assert hits == but(no_collision=0.0, time_to_collision=np.nan)
    assert stops == but()


def test_half_a_second_before_a_collision_is_too_close(scores: Callable) -> None:
    near, far = scores([drive(10.0), drive(10.0, -1.0)], (20, LANE, EAST, 10), (69, LANE, EAST, 0))
    assert near == but(time_to_collision=0.0)
    assert far == but(progress=32 / 40)


def test_who_is_hit_from_behind_is_not_at_fault_nor_too_close_to_who_drives_through(scores: Callable) -> None:
    hit = scores([drive(5.0)], (20, LANE, EAST, 5), (10, LANE, EAST, 15))
    assert hit == [but()]


def test_a_car_on_a_crossing_course_is_hit_and_one_that_has_passed_is_not(scores: Callable) -> None:
    """It drives north at 5 m/s along x = 40 m; the front arrives there after 1.7 s."""
    for y, collides in ((-10.0, True), (15.0, False)):
        (found,) = scores([drive(10.0)], (20, LANE, EAST, 10), (40, y, np.pi / 2, 5))
        assert (found["no_collision"] == 0.0) is collides


@pytest.mark.parametrize(("speed", "direction"), [(1.0, 1.0), (4.0, 0.5), (10.0, 0.0)])
def test_metres_against_the_traffic_within_a_second(scores: Callable, speed: float, direction: float) -> None:
    assert scores([drive(speed)], (20, AGAINST, EAST, speed))[0]["direction"] == direction


def test_running_a_stop_sign_costs_the_direction_and_sets_no_mark_for_progress(scores: Callable) -> None:
    """The line is at x = -10 m, 18 m ahead of the front; braking by 4 m/s2 takes 12.5 m."""
    runs, stops = scores([drive(10.0), drive(10.0, -4.0)], (-30, LANE, EAST, 10))
    assert runs["direction"] == 0.0
    assert (stops["direction"], stops["progress"]) == (1.0, pytest.approx(1.0))


def test_an_emergency_stop_is_uncomfortable(scores: Callable) -> None:
    assert scores([drive(0.0)], (20, LANE, EAST, 12), policy_m=40.0)[0]["comfort"] == 0.0


def test_what_follows_the_last_goal_does_not_count(scores: Callable) -> None:
    (found,) = scores([drive(10.0)], (56, LANE, EAST, 10), goal_m=15.0)
    assert found == but()
