"""Obstacles on the route: where they are found, and what an agent that passes one is not charged for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.config import SimulatorConfig
from simulator.conventions import NUM_TRAITS
from simulator.state import PARKED, Events, WorldState
from teacher.obstacles import obstacle_on_route
from teacher.reward import FREE_ANGLE, RewardConfig, reward
from tests.worlds import world_on_straight_routes

SIMULATOR = SimulatorConfig(timestep_s=0.25, num_agents=3)


def world(x: float, y: float, parked: bool = True) -> WorldState:
    """An agent at (0, 3) m on a route along y = 0, a car that stands at (x, y), and one far away."""
    state = world_on_straight_routes(
        [0.0, x, 900.0], [0.0, y, 0.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0], SIMULATOR
    )
    other = jnp.array([False, True, False])
    state = state.replace(
        position=state.position.at[0, 1].set(3.0), route_offset_m=jnp.array([3.0, 0.0, 0.0])
    )
    if not parked:
        return state
    control = jnp.where(other, PARKED, state.scenario.control)
    return state.replace(
        active=state.active & ~other,
        scenario=state.scenario.replace(control=control, traits=jnp.ones((3, NUM_TRAITS))),
    )


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(12.0, 0.0, True), (-12.0, 1.5, True), (40.0, 0.0, False), (12.0, 3.5, False)]
)
def test_an_obstacle_counts_where_it_blocks_the_route(x: float, y: float, expected: bool) -> None:
    """Ahead or behind within 20 m, but not farther away nor in the lane beside."""
    state = world(x, y)
    state = state.replace(route_m=state.route_m + 0.0)
    if x < 0:  # the agent has passed it: its route begins behind it
        route = state.scenario.route.at[0, :, 0].add(-30.0)
        state = state.replace(
            scenario=state.scenario.replace(route=route), route_m=state.route_m.at[0].set(30.0)
        )
    assert bool(obstacle_on_route(state, 20.0)[0]) is expected


def test_a_car_that_drives_or_waits_is_no_obstacle() -> None:
    assert not bool(obstacle_on_route(world(12.0, 0.0, parked=False), 20.0)[0])


def test_only_with_the_option_passing_costs_nothing() -> None:
    """lane_center and small angles are free beside an obstacle, larger angles cost what exceeds them."""
    none = jnp.zeros(3, bool)
    names = ("collision", "offroad", "red_light", "stop_sign", "goal", "arrived")
    events = Events(**dict.fromkeys(names, none), progress_m=jnp.zeros(3))
    before = world(12.0, 0.0)
    quarter, most = (
        before.replace(yaw=before.yaw.at[0].set(0.25)),
        before.replace(yaw=before.yaw.at[0].set(0.8)),
    )

    def terms(config: RewardConfig, after: WorldState) -> dict[str, float]:
        named = jax.jit(reward, static_argnums=(3, 4))(before, events, after, SIMULATOR, config)[1]
        return {name: float(value[0]) for name, value in named.items()}

    charged, free = terms(RewardConfig(), quarter), terms(RewardConfig(passing_m=20.0), quarter)
    assert charged["lane_center"] < 0
    assert charged["lane_align"] < 0
    assert free["lane_center"] == 0.0
    assert free["lane_align"] == pytest.approx(0.0, abs=1e-6)
    steep = terms(RewardConfig(passing_m=20.0), most)["lane_align"]
    plain = terms(RewardConfig(), most)["lane_align"]
    weight = RewardConfig().lane_align[1] * SIMULATOR.timestep_s * 5.0
    np.testing.assert_allclose(steep - plain, weight * FREE_ANGLE, rtol=1e-4)
    others = {name for name in charged if name not in ("lane_center", "lane_align")}
    assert all(charged[name] == free[name] for name in others)


def test_the_distance_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(ValueError, match=r"reward passing_m=-1\.0 must lie between 0 and 100 metres"):
        RewardConfig(passing_m=-1.0)
