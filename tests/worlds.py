"""The one way for tests to assemble a world by hand: agents on straight routes."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR, NUM_TRAITS
from simulator.reset.initial_state import initial_state, new_scenario
from simulator.state import POLICY, WorldState, route_table

STATIONS = 128


def world_on_straight_routes(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    yaw: Sequence[float] | np.ndarray,
    speed: Sequence[float] | np.ndarray,
    config: SimulatorConfig,
    size: np.ndarray | None = None,
    placed: np.ndarray | None = None,
) -> WorldState:
    """Cars driven by policy at (x, y) m with heading ``yaw`` rad and ``speed`` m/s, each at the start of a straight
    route with one goal 200 m ahead. ``size`` [agents, 3] m is 4 x 2 x 1.5 m, and all agents are ``placed``, where left
    out."""
    agents, angle = len(x), np.asarray(yaw, np.float32)
    along = ROUTE_SPACING_M * np.arange(STATIONS)
    route = [
        np.asarray(x)[:, None] + along * np.cos(angle)[:, None],
        np.asarray(y)[:, None] + along * np.sin(angle)[:, None],
    ]
    xyz = np.stack([*route, np.zeros((agents, STATIONS))], axis=-1)
    scenario = new_scenario(
        size=jnp.asarray(np.tile([4.0, 2.0, 1.5], (agents, 1)) if size is None else size, jnp.float32),
        kind=jnp.full(agents, CAR, jnp.int32),
        control=jnp.full(agents, POLICY, jnp.int32),
        traits=jnp.zeros((agents, NUM_TRAITS)),
        route=route_table(
            jnp.asarray(xyz, jnp.float32),
            jnp.asarray(np.tile(angle[:, None], STATIONS)),
            jnp.full((agents, STATIONS), 15.0),
        ),
        goal_m=jnp.full((agents, 1), 200.0),
        num_goals=jnp.ones(agents, jnp.int32),
        goal_radius_m=jnp.full(agents, 2.0),
    )
    present = jnp.ones(agents, bool) if placed is None else jnp.asarray(placed)
    return initial_state(scenario, present, jnp.int32(0), jnp.asarray(speed, jnp.float32), config)
