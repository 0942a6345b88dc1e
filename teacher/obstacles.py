"""Vehicles that stand on an agent's route for the rest of the episode."""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator.config import ROUTE_SPACING_M
from simulator.conventions import LEVEL_GAP_M
from simulator.state import PARKED, POLICY, WorldState, nearest_station, route_rows


def obstacle_on_route(state: WorldState, within_m: float) -> Bool[Array, " agents"]:
    """Whether a parked or crashed vehicle stands in the way of each agent of one world: at most ``within_m`` ahead or
    behind along its route, where the agent's box, centred on the route, would touch the vehicle.

    The vehicle is taken for as wide as its box, whatever its heading, and a station of the route for 1 m long.
    """
    scenario = state.scenario
    control = scenario.control
    stands = state.present & ~state.active & ((control == PARKED) | (control == POLICY))
    reach = round(within_m / ROUTE_SPACING_M)
    around = ROUTE_SPACING_M * jnp.arange(-reach, reach + 1)
    rows = route_rows(scenario, nearest_station(scenario, state.route_m[:, None] + around))
    away_x = rows[:, :, None, 0] - state.position[None, None, :, 0]  # [agents, stations, others]
    away_y = rows[:, :, None, 1] - state.position[None, None, :, 1]
    nearest = (away_x**2 + away_y**2).min(axis=1)
    touch = 0.5 * (scenario.size[:, 1, None] + scenario.size[None, :, 1])
    level = jnp.abs(state.position[:, None, 2] - state.position[None, :, 2]) < LEVEL_GAP_M
    blocks = (nearest < touch**2 + (0.5 * ROUTE_SPACING_M) ** 2) & level & stands[None, :]
    return (blocks & ~jnp.eye(len(control), dtype=bool)).any(axis=1)
