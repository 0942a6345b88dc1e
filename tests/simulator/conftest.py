"""Small worlds shared by the simulator's tests."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import COAST, NUM_TRAITS
from simulator.reset.spawn import first_state
from simulator.roads.sources.map_cache import load_atlas
from simulator.rollout import reset_worlds, step_worlds
from simulator.state import Scenario, WorldState, route_table


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
    """Six worlds of 24 agents of all parts: drivers by policy and by IDM, parked and crashed vehicles.

    The configuration, the first states, and one step in which all coast: the next states, its events, and who
    overlaps whom [worlds, agents].
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
    """Builds a world far from any road: cars of 4 x 2 m on straight routes of 200 m from (x, y) at an angle."""

    def build(
        x: list[float], y: list[float], speed: list[float], yaw: list[float] | None = None
    ) -> WorldState:
        agents, stations = len(x), 101
        angle = jnp.asarray(yaw if yaw is not None else [0.0] * agents, jnp.float32)
        start = jnp.stack(
            [10_000.0 + jnp.asarray(x), jnp.asarray(y, jnp.float32), jnp.zeros(agents)], axis=-1
        )
        heading = jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros(agents)], axis=-1)
        along = ROUTE_SPACING_M * jnp.arange(stations)
        one, none = jnp.ones(agents), jnp.zeros(agents, jnp.int32)
        scenario = Scenario(
            size=jnp.tile(jnp.array([4.0, 2.0, 1.5]), (agents, 1)),
            kind=none,
            throttle_gain=one,
            steer_gain=one,
            acceleration_gain=one,
            speed_gain=one,
            traits=jnp.zeros((agents, NUM_TRAITS)),
            route=route_table(
                start[:, None] + along[None, :, None] * heading[:, None],
                jnp.tile(angle[:, None], (1, stations)),
                jnp.full((agents, stations), 15.0),
            ),
            goal_m=jnp.full((agents, 1), 200.0),
            num_goals=none + 1,
            goal_radius_m=2.0 * one,
            light_phase=jnp.zeros(()),
            lights_on=jnp.asarray(True),
            map_matrix=jnp.eye(2),
            map_inverse=jnp.eye(2),
            control=none,
            noise=none,
        )
        config = SimulatorConfig(num_agents=agents)
        first = jnp.zeros((), jnp.int32)
        return first_state(scenario, jnp.ones(agents, bool), first, jnp.asarray(speed), config)

    return build
