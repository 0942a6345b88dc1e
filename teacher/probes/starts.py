"""Initial world states of scripted trials: start positions, goals, controllers and the phase of the lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR
from simulator.reset.initial_state import initial_state, new_scenario
from simulator.roads.polylines import arc_length, directions, interpolated
from simulator.state import PARKED, POLICY, Scenario, WorldState, route_table
from simulator.traffic_lights import JUNCTION_SHIFT
from teacher.probes.road import SPEED_LIMIT_MPS, Line
from teacher.reward import default_traits

GOAL_SPACING_M, LEAST_GOAL_M = 50.0, 15.0
_ABSENT_M = (4.0, 1.8, 1.5)
"""Size of slots without an agent."""


@dataclass(frozen=True)
class Driver:
    """One agent of a trial.

    Attributes:
        path: [points, 2] m, the centreline of its route.
        start_m: Arc length of the centre of its box at the start.
        speed_mps: Its initial speed.
        goals_m: Arc lengths of its goals, increasing; at the last one it leaves the world.
        size_m: Length, width, height.
        parked: Whether it is a parked vehicle.
    """

    path: Line
    start_m: float
    speed_mps: float
    goals_m: tuple[float, ...]
    size_m: tuple[float, float, float]
    parked: bool = False


@dataclass(frozen=True)
class Trial:
    """One scripted start.

    Attributes:
        road: Name of the map.
        drivers: The agents; in probes of one agent, it is the first.
        variant: Name of the probe's variant.
        goal_radius_m: Of all agents.
        cycle_s: Time in the cycle of the lights at the start; at 0, group 0 has just turned green.
        line: The watched stop line (index into the map), -1 for none.
    """

    road: str
    drivers: tuple[Driver, ...]
    variant: str
    goal_radius_m: float = 4.0
    cycle_s: float = 0.0
    line: int = -1


def random_car(generator: np.random.Generator) -> tuple[float, float, float]:
    """Random length, width and height (m) of a car, in the ranges of the simulator's cars."""
    length, width, height = generator.uniform((3.8, 1.7, 1.4), (5.2, 2.1, 1.9))
    return float(length), float(width), float(height)


def goals_to(last_m: float, start_m: float) -> tuple[float, ...]:
    """Arc lengths of goals GOAL_SPACING_M apart, as in training, ending at ``last_m``; none close to the start."""
    count = 1 + max(int((last_m - start_m - LEAST_GOAL_M) // GOAL_SPACING_M), 0)
    return tuple(last_m - GOAL_SPACING_M * back for back in reversed(range(count)))


def start_trials(trials: Sequence[Trial], atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """Initial states of the trials, leaves [trials, ...]. All agents have `default_traits` and dynamics gains of 1.

    Raises ValueError where a trial has more agents, or an agent more goals, than ``config``.
    """
    worlds = len(trials)
    shape = (worlds, config.num_agents)
    fields: dict[str, Any] = {
        "size": np.broadcast_to(np.array(_ABSENT_M), (*shape, 3)).copy(),
        "goal_m": np.zeros((*shape, config.num_goals)),
        "num_goals": np.zeros(shape, np.int32),
        "control": np.full(shape, POLICY, np.int32),
    }
    route = np.zeros((*shape, config.route_stations, 3))
    speed, placed = np.zeros(shape), np.zeros(shape, bool)
    for world, trial in enumerate(trials):
        _check(trial, config)
        for slot, driver in enumerate(trial.drivers):
            goals = np.array(driver.goals_m) - driver.start_m
            fields["size"][world, slot] = driver.size_m
            fields["goal_m"][world, slot] = np.pad(goals, (0, config.num_goals - len(goals)), mode="edge")
            fields["num_goals"][world, slot] = len(goals)
            fields["control"][world, slot] = PARKED if driver.parked else POLICY
            route[world, slot] = _stations(driver, config.route_stations)
            speed[world, slot], placed[world, slot] = driver.speed_mps, True
    scenario = _scenario(trials, fields, route, atlas, config)
    map_id = jnp.array([atlas.names.index(trial.road) for trial in trials], jnp.int32)
    start = jax.vmap(partial(initial_state, config=config))
    return start(scenario, jnp.asarray(placed), map_id, jnp.asarray(speed, jnp.float32))


def _check(trial: Trial, config: SimulatorConfig) -> None:
    goals = max(len(driver.goals_m) for driver in trial.drivers)
    if len(trial.drivers) > config.num_agents or not 1 <= goals <= config.num_goals:
        raise ValueError(
            f"a trial on {trial.road!r} has {len(trial.drivers)} agents with up to {goals} goals; "
            f"expected at most {config.num_agents} agents with 1 to {config.num_goals} goals"
        )


def _stations(driver: Driver, count: int) -> np.ndarray:
    """x, y and heading [count, 3] along the path from the start on; the last point is repeated beyond the path's
    end."""
    arc = arc_length(driver.path)
    yaw = np.unwrap(directions(driver.path))
    places = np.minimum(driver.start_m + ROUTE_SPACING_M * np.arange(count), arc[-1])
    return interpolated(np.column_stack([driver.path, yaw]), arc, places)


def _scenario(
    trials: Sequence[Trial],
    fields: dict[str, Any],
    route: np.ndarray,
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> Scenario:
    worlds, agents = fields["control"].shape
    xyz = np.concatenate([route[..., :2], np.zeros((*route.shape[:-1], 1))], axis=-1)
    yaw, limit = jnp.asarray(route[..., 2], jnp.float32), jnp.full(route.shape[:-1], SPEED_LIMIT_MPS)
    traits = default_traits()
    return new_scenario(
        size=jnp.asarray(fields["size"], jnp.float32),
        kind=jnp.full((worlds, agents), CAR, jnp.int32),
        control=jnp.asarray(fields["control"]),
        traits=jnp.broadcast_to(traits, (worlds, agents, *traits.shape)),
        route=route_table(jnp.asarray(xyz, jnp.float32), yaw, limit),
        goal_m=jnp.asarray(fields["goal_m"], jnp.float32),
        num_goals=jnp.asarray(fields["num_goals"]),
        goal_radius_m=jnp.ones((worlds, agents))
        * jnp.array([trial.goal_radius_m for trial in trials])[:, None],
        light_phase=jnp.asarray(_light_phases(trials, atlas, config), jnp.float32),
    )


def _light_phases(trials: Sequence[Trial], atlas: RoadAtlas, config: SimulatorConfig) -> np.ndarray:
    """`Scenario.light_phase` [trials] at which the lights of each map's junction 0 are at the trial's `cycle_s`."""
    slot = config.green_s + config.yellow_s + config.all_red_s
    first_line = np.asarray(atlas.map_stop_start)
    phases = []
    for trial in trials:
        if trial.line < 0:
            phases.append(0.0)
            continue
        junction = int(atlas.stop_junction[first_line[atlas.names.index(trial.road)] + trial.line])
        cycle = slot * int(atlas.junction_groups[junction])
        phases.append((trial.cycle_s / cycle - JUNCTION_SHIFT * junction) % 1.0)
    return np.array(phases)
