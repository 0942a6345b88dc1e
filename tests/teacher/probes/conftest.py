"""Scripted drivers for probes: they follow their route at a given offset and speed, and wait where they are told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.dynamics.bicycle import ACTIONS
from simulator.state import IDM, PARKED, WorldState, nearest_station, route_rows
from teacher.probes.catalogue import (
    AGENTS,
    GOALS,
    PROBES,
    draw_trials,
    probe_atlas,
    probe_simulator,
)
from teacher.probes.drive import ProbeRun, Trace, record, watched_lines
from teacher.probes.maps import roads
from teacher.probes.starts import Trial, start_trials

TRIALS = 3
FAR_M = 1e6
RAMP_M = 14.0
CONFIG = probe_simulator(SimulatorConfig(num_agents=AGENTS, num_goals=GOALS))


@dataclass
class Script:
    """What every agent does; arrays [trials, agents], `aside_m` [trials, agents, stations].

    Agents drive at `speed_mps`, `aside_m` left of their route; before `until_s` they stop with their front at `hold_m`
    (metres along the route).
    """

    speed_mps: Any
    hold_m: Any
    until_s: Any
    aside_m: Any

    @classmethod
    def of(cls, speed_mps: float = 7.0) -> Script:
        """All agents drive at one speed."""
        shape = (TRIALS, AGENTS)
        aside = np.zeros((*shape, CONFIG.route_stations))
        return cls(np.full(shape, speed_mps), np.full(shape, FAR_M), np.zeros(shape), aside)

    def hold(self, agent: int, at_m: Sequence[float] | float, until_s: Sequence[float] | float) -> Script:
        """An agent stops with its front at a place until a moment."""
        self.hold_m[:, agent], self.until_s[:, agent] = at_m, until_s
        return self

    def stand(self, agent: int, until_s: float) -> Script:
        """An agent brakes at once and stands until a moment."""
        return self.hold(agent, -FAR_M, until_s)

    def swerve(self, agent: int, start_m: Any, end_m: Any, aside_m: float) -> Script:
        """An agent drives beside its route between two places, and gets there and back over RAMP_M."""
        along = ROUTE_SPACING_M * np.arange(self.aside_m.shape[2])
        to_start, to_end = np.reshape(start_m, (-1, 1)) - along, along - np.reshape(end_m, (-1, 1))
        away_m = np.maximum(np.maximum(to_start, to_end), 0.0)
        self.aside_m[:, agent] = aside_m * np.clip(1.0 - away_m / RAMP_M, 0.0, 1.0)
        return self


def follow(state: WorldState, script: Script) -> jax.Array:
    """Actions [trials, agents] that follow the script: pure pursuit, and speeds that can be braked from in time."""

    def one(state: WorldState, speed: Any, hold: Any, until: Any, aside: Any) -> jax.Array:
        scenario, dt = state.scenario, CONFIG.timestep_s
        look_m = jnp.maximum(4.0, state.speed)
        station = nearest_station(scenario, state.route_m + look_m)[:, None]
        x, y, cos, sin, _, _ = jnp.moveaxis(route_rows(scenario, station)[:, 0], -1, 0)
        left = jnp.take_along_axis(aside, station, axis=1)[:, 0]
        east, north = x - left * sin - state.position[:, 0], y + left * cos - state.position[:, 1]
        own_cos, own_sin = jnp.cos(state.yaw), jnp.sin(state.yaw)
        ahead, beside = east * own_cos + north * own_sin, north * own_cos - east * own_sin
        ahead = ahead + 0.3 * scenario.size[:, 0]
        lateral = state.speed**2 * 2.0 * beside / jnp.maximum(ahead**2 + beside**2, 1.0)
        room = jnp.maximum(hold - 0.5 * scenario.size[:, 0] - state.route_m, 0.0)
        wanted = jnp.where(room < 0.3, 0.0, jnp.minimum(speed, jnp.sqrt(3.0 * room)))
        wanted = jnp.where(state.step * dt < until, wanted, speed)
        lateral = jnp.clip(lateral, -3.0, 3.0)
        push = jnp.clip((wanted - state.speed) / 0.4, -4.5, 2.5)
        jerks = jnp.asarray(ACTIONS)
        error = (state.acceleration[:, None] + jerks[:, 0] * dt - push[:, None]) ** 2
        error += (state.lateral_acceleration[:, None] + jerks[:, 1] * dt - lateral[:, None]) ** 2
        return jnp.argmin(error, axis=1).astype(jnp.int32)

    return jax.vmap(one)(
        state,
        *(
            jnp.asarray(v, jnp.float32)
            for v in (script.speed_mps, script.hold_m, script.until_s, script.aside_m)
        ),
    )


@cache
def _compiled() -> Callable[..., Trace]:
    def drive(worlds: WorldState, lines: Any, script: tuple, atlas: Any) -> Trace:
        choose = lambda state, key: follow(state, Script(*script))  # noqa: E731
        return record(jax.random.key(0), worlds, lines, choose, atlas, CONFIG)[1]

    return jax.jit(drive)


@pytest.fixture(scope="session")
def drive_script() -> Callable[..., ProbeRun]:
    """Drives trials of a probe by a script; with ``idm`` the intelligent driver model drives instead."""

    def run(name: str, trials: Sequence[Trial], script: Script, idm: bool = False) -> ProbeRun:
        atlas = probe_atlas()
        worlds = start_trials(trials, atlas, CONFIG)
        if idm:
            control = jnp.where(worlds.scenario.control == PARKED, PARKED, IDM)
            scenario = worlds.scenario.replace(control=control, has_idm=True)
            worlds = worlds.replace(scenario=scenario, active=jnp.zeros_like(worlds.active))
        values = (script.speed_mps, script.hold_m, script.until_s, script.aside_m)
        trace = _compiled()(worlds, watched_lines(trials, atlas), values, atlas)
        rows = round(PROBES[name].seconds / CONFIG.timestep_s) + 1
        return ProbeRun(
            trials, roads(), Trace(*(np.asarray(leaf)[:rows] for leaf in trace)), CONFIG.timestep_s
        )

    return run


@pytest.fixture(scope="session")
def script() -> Callable[..., Script]:
    """A script in which all agents drive at one speed, to be changed by its methods."""
    return Script.of


@pytest.fixture(scope="session")
def random_trials() -> Callable[..., list[Trial]]:
    """Trials as the command draws them."""
    return lambda name, seed=0: draw_trials(PROBES[name], TRIALS, seed)
