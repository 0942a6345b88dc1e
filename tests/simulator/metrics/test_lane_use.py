"""Against the lanes, between lanes, and for how many metres; and that real lanes contain agents that follow them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.road_atlas import RoadAtlas
from simulator.metrics.lane_use import lane_use

EAST, WEST = 0.0, np.pi
INNER, OUTER, ONCOMING = -1.75, -5.25, 1.75


def against(junction: Any, *agents: tuple[float, float, float, float]) -> list[bool]:
    return np.asarray(
        lane_use(junction.world(*agents), junction.atlas, junction.config).against_traffic
    ).tolist()[: len(agents)]


def test_against_is_a_matter_of_heading(junction: Any) -> None:
    assert against(junction, (30, ONCOMING, EAST, 5), (30, INNER, EAST, 5)) == [True, False]
    assert against(junction, (30, INNER, WEST, 5), (30, ONCOMING, WEST, 5)) == [True, False]
    assert against(junction, (30, 40, EAST, 5)) == [False], "no lane there, no direction"


def test_the_middle_of_the_road_decides(junction: Any) -> None:
    assert against(junction, (30, -0.1, EAST, 5), (30, 0.1, EAST, 5)) == [False, True]


@pytest.mark.parametrize(
    ("y", "yaw", "outside_lane"),
    [
        (INNER, EAST, False),
        (INNER + 0.9, EAST, False),  # its flank is 0.15 m over the line, within the slack
        (INNER + 1.1, EAST, True),
        (0.5 * (INNER + OUTER), EAST, True),  # in the middle of a lane change
        (ONCOMING, EAST, True),
        (40.0, EAST, True),
    ],
)
def test_between_lanes(junction: Any, y: float, yaw: float, outside_lane: bool) -> None:
    assert (
        bool(lane_use(junction.world((30, y, yaw, 5)), junction.atlas, junction.config).outside_lane[0])
        is outside_lane
    )


def test_metres_against_the_lanes_by_hand(junction: Any) -> None:
    """1.5 m/s makes 1.5 m a second: no violation, however long. 3 m/s makes 2 m within 0.7 s."""
    state, events = junction.coast(junction.world((20, ONCOMING, EAST, 1.5)), 40)
    assert float(state.driving_quality.wrong_way_m[0]) == pytest.approx(6.0, rel=1e-4)
    assert float(state.driving_quality.worst_second_m[0]) == pytest.approx(1.5, rel=1e-4)
    assert not any(bool(step.driving_quality.wrong_way[0]) for step in events)
    state, events = junction.coast(junction.world((20, ONCOMING, EAST, 3.0)), 20)
    assert [bool(step.driving_quality.wrong_way[0]) for step in events] == [False] * 6 + [True] * 14
    assert float(state.driving_quality.worst_second_m[0]) == pytest.approx(3.0, rel=1e-4)


def test_reversing_is_no_driving_against_the_lanes(junction: Any) -> None:
    for lane in (INNER, ONCOMING):
        state, _ = junction.coast(junction.world((40, lane, EAST, -2.0)), 15)
        assert float(state.driving_quality.wrong_way_m[0]) == 0.0


def test_real_lanes_contain_agents_that_follow_them(
    junction: Any, towns: RoadAtlas, rng: np.random.Generator
) -> None:
    """Cars on lanes of two towns, bends and junctions included: inside a lane that way round, against it the other."""

    car = junction.world((0.0, 0.0, 0.0, 5.0))
    everyone = jnp.ones(len(car.yaw), bool)

    @jax.jit
    @jax.vmap
    def look(point: Any, turn: Any) -> Any:
        lane = towns.point_lane[point]
        state = car.replace(
            map_id=(lane >= towns.map_lane_start[1]).astype(jnp.int32),
            position=jnp.where(everyone[:, None], towns.point_xyz[point], 0.0),
            yaw=jnp.where(everyone, towns.point_yaw[point] + turn, 0.0),
            speed=jnp.full_like(car.speed, 5.0),
        )
        return jax.tree.map(
            lambda leaf: leaf[0], lane_use(state, towns, junction.config)
        ), towns.lane_junction[lane] >= 0

    wide = np.asarray(towns.lane_width_m)[np.asarray(towns.point_lane)] > 2.5
    points = jnp.asarray(rng.choice(np.flatnonzero(wide), 2000))
    along, in_junction = look(points, jnp.zeros(2000))
    assert not along.against_traffic.any()
    assert along.outside_lane.mean() < 0.01
    assert (along.in_junction | ~in_junction).mean() > 0.99
    opposite, _ = look(points, jnp.full(2000, np.pi))
    assert opposite.outside_lane.mean() > 0.95
    assert opposite.against_traffic[~in_junction].mean() > 0.95
