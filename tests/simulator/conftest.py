"""Small worlds shared by the simulator's tests."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.rollout import reset_worlds, step_worlds
from simulator.state import WorldState
from tests.worlds import world_on_straight_routes


@pytest.fixture(scope="session")
def towns() -> RoadAtlas:
    """Two towns in one atlas: a flat one and one with bridges."""
    return load_atlas(["Town02", "Town04"])


@pytest.fixture(scope="session")
def small() -> SimulatorConfig:
    """Eight agents at the step the shipped policy uses."""
    return SimulatorConfig(
        timestep_s=0.25, num_agents=8, no_lights_share=0.0, removed_light_share=0.0, always_green_share=0.0
    )


@pytest.fixture(scope="session")
def populated(
    towns: RoadAtlas, small: SimulatorConfig
) -> tuple[SimulatorConfig, WorldState, Callable[[WorldState], Any]]:
    """Six worlds of 24 agents with all controllers: policy, IDM, parked and crashed vehicles.

    The configuration, the initial states, and one step in which all coast: the next states, its events, and the agents
    that overlap another [worlds, agents].
    """
    shares = {"idm_share": 0.3, "parked_share": 0.35, "crashed_share": 0.13}
    config = dataclasses.replace(small, num_agents=24, randomise_dynamics=False, **shares)

    def coast(state: WorldState) -> Any:
        after, events = step_worlds(state, jnp.full(state.yaw.shape, COAST), towns, config)
        hits = jax.vmap(collides)(after.position, after.yaw, after.scenario.size, after.present)
        return after, events, hits

    start = jax.jit(partial(reset_worlds, config=config, num_worlds=6))(jax.random.key(5), towns)
    return config, start, jax.jit(coast)


@pytest.fixture(scope="session")
def open_field() -> Callable[..., WorldState]:
    """Builds a world far from any road: cars of 4 x 2 m at (x + 10 km, y) on straight routes."""

    def build(
        x: list[float], y: list[float], speed: list[float], yaw: list[float] | None = None
    ) -> WorldState:
        config = SimulatorConfig(num_agents=len(x))
        return world_on_straight_routes(10_000.0 + np.array(x), y, yaw or [0.0] * len(x), speed, config)

    return build
