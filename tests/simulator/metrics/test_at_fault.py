"""Agents at fault for a collision: one situation per class of contact."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from simulator.metrics.at_fault import Contact, contacts

EAST, WEST, NORTH = 0.0, np.pi, np.pi / 2
LANE = -1.75  # y of the inner eastward lane


def outcome(
    junction: Any, *agents: tuple[float, float, float, float], steps: int = 20
) -> list[tuple[bool, bool]]:
    """(collided, at fault) of each agent after driving straight on."""
    state, _ = junction.coast(junction.world(*agents), steps)
    collided, at_fault = np.asarray(state.collisions) > 0, np.asarray(state.driving_quality.at_fault) > 0
    return list(zip(collided.tolist(), at_fault.tolist(), strict=True))[: len(agents)]


HIT, AT_FAULT, FREE = (True, False), (True, True), (False, False)


def test_in_a_rear_end_only_the_follower_is_at_fault(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 10), (27, LANE, EAST, 4)) == [AT_FAULT, HIT]


def test_who_is_hit_while_standing_is_not_at_fault(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 10), (27, LANE, EAST, 0)) == [AT_FAULT, HIT]
    assert outcome(junction, (20, LANE, EAST, 10), (28, LANE, WEST, 0)) == [AT_FAULT, HIT], (
        "nor from the front"
    )


def test_head_on_both_are_at_fault(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 6), (32, LANE, WEST, 6)) == [AT_FAULT, AT_FAULT]


@pytest.mark.parametrize("speed", [3.0, 12.0, 19.0])
def test_in_a_t_bone_the_front_is_at_fault(junction: Any, speed: float) -> None:
    """One crosses, the other runs into its side; at 19 m/s a front is 1.9 m into the other within a step."""
    # The striking front is 10 m from the struck car's flank, which moves at 4 m/s meanwhile.
    struck_x = 30.0 - 4.0 * 10.0 / speed
    hit = outcome(junction, (struck_x, 0, EAST, 4), (30, -13.0, NORTH, speed), steps=40)
    assert hit[1] == AT_FAULT
    assert hit[0][0]


def test_the_flank_of_a_car_inside_its_lane_is_not_at_fault(junction: Any) -> None:
    struck_x = 30.0 - 4.0 * 10.0 / 12.0
    hit = outcome(junction, (struck_x, LANE, EAST, 4), (30, LANE - 13.0, NORTH, 12))
    assert hit == [HIT, AT_FAULT]


def test_flank_to_flank_the_one_that_leaves_its_lane_is_at_fault(junction: Any) -> None:
    """Side by side; the right-hand car drifts left at the same pace until the flanks touch."""
    drift = np.deg2rad(8.0)
    agents = (20.0, LANE, EAST, 10.0), (19.0, -4.6, drift, 10.0 / np.cos(drift))
    collided = outcome(junction, *agents, steps=15)
    assert collided == [HIT, AT_FAULT]


def test_a_fast_front_is_judged_when_it_meets_the_flank(junction: Any) -> None:
    """In one step the front goes from 0.5 m short of a flank to 4.25 m past it, beyond the other flank."""
    before = junction.world((30.0, LANE, EAST, 0.5), (30.0, LANE - 3.5, NORTH, 19.0))
    after = before.replace(position=before.position.at[1, 1].add(4.75).at[0, 0].add(0.125))
    kind = contacts(before, after, jnp.array(np.eye(4)[[1, 0, 2, 3]] * [[1], [1], [0], [0]], bool))
    assert Contact(int(kind[1, 0])) == Contact.FRONT
    assert Contact(int(kind[0, 1])) == Contact.SIDE


def test_who_is_hit_from_behind_between_two_lanes_is_not_at_fault(junction: Any) -> None:
    middle = -3.5
    assert outcome(junction, (20, middle, EAST, 10), (27, middle, EAST, 4)) == [AT_FAULT, HIT]


def test_backing_into_a_standing_car_is_at_fault(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 0), (25, LANE, EAST, -2), steps=10) == [HIT, AT_FAULT]


def test_backing_into_a_car_that_comes_up_is_shared(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 3), (26, LANE, EAST, -2)) == [AT_FAULT, AT_FAULT]


def test_running_into_a_wreck_is_at_fault(junction: Any) -> None:
    """Two crash and stay; a third arrives later and hits them."""
    found = outcome(junction, (20, LANE, EAST, 6), (30, LANE, WEST, 6), (0, LANE, EAST, 10), steps=30)
    assert found == [AT_FAULT, AT_FAULT, AT_FAULT]


def test_without_a_collision_no_agent_is_at_fault(junction: Any) -> None:
    assert outcome(junction, (20, LANE, EAST, 10), (27, LANE, EAST, 10)) == [FREE, FREE]


def test_yielding_is_judged_by_what_follows(junction: Any) -> None:
    """Southward traffic yields: whoever crosses that line and then hits cross traffic failed to, others did not."""
    crosser = (-1.75, 13.0, -NORTH, 6.0)
    state, _ = junction.coast(junction.world(crosser, (-9.0, LANE, EAST, 4.5)), 40)
    assert np.asarray(state.collisions)[:2].tolist() == [1, 1]
    assert np.asarray(state.driving_quality.failures_to_yield)[:2].tolist() == [1, 0]
    alone, _ = junction.coast(junction.world(crosser), 40)
    assert int(alone.driving_quality.failures_to_yield[0]) == 0
    late = junction.world(crosser, (-1.75, -30.0, -NORTH, 0.0))  # a standing car 7 s behind the line
    late, _ = junction.coast(late, 80)
    assert int(late.collisions[0]) == 1
    assert int(late.driving_quality.failures_to_yield[0]) == 0


def test_detailed_metrics_change_nothing_else(junction: Any) -> None:
    world = junction.world((20, LANE, EAST, 10), (27, LANE, EAST, 4), (-5, LANE, EAST, 8))
    plain = world.replace(driving_quality=None)
    for _ in range(12):
        coast = jnp.full(world.active.shape, 7, jnp.int32)
        world, noted = junction.advance(world, coast)
        plain, events = junction.plain(plain, coast)
        assert events.driving_quality is None
        assert plain.driving_quality is None
        np.testing.assert_array_equal(noted.collision, events.collision)
    for name in ("position", "yaw", "speed", "collisions", "route_m", "active"):
        np.testing.assert_array_equal(getattr(world, name), getattr(plain, name))


def test_a_world_reset_without_details_is_refused(junction: Any) -> None:
    world = junction.world((20, LANE, EAST, 10)).replace(driving_quality=None)
    with pytest.raises(ValueError, match="this world was reset without it"):
        junction.advance(world, jnp.zeros(world.active.shape, jnp.int32))
