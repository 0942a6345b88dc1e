"""Drive a batch of trials and keep what judges need to see of every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import SimulatorConfig
from simulator.roads.road_map import RoadMap
from simulator.rollout import Choose, step_worlds
from simulator.state import WorldState
from simulator.traffic_lights import light_states
from teacher.probes.starts import Trial


class Trace(NamedTuple):
    """What happened; leaves [steps + 1, trials, agents], JAX or numpy; the first row is the start."""

    x: Any  # m, world, centre of the box
    y: Any  # m
    yaw: Any  # rad
    speed: Any  # m/s
    present: Any  # bool: occupies space; who has arrived does not
    active: Any  # bool: is driven
    touching: Any  # bool: its box overlaps another's
    offroads: Any  # int32, departures so far
    red_lights: Any  # int32, red lights run so far
    stop_signs: Any  # int32, stop signs run so far
    colour: Any  # [steps + 1, trials] int32, `simulator.traffic_lights`: of the watched stop line


@dataclass(frozen=True)
class Run:
    """Trials of one probe, driven; what a judge judges.

    Attributes:
        trials: What was started.
        roads: The maps by name.
        trace: What happened, leaves numpy arrays.
        timestep_s: Time between two rows of it.
    """

    trials: Sequence[Trial]
    roads: Mapping[str, RoadMap]
    trace: Trace
    timestep_s: float

    @cached_property
    def time_s(self) -> Float[np.ndarray, " rows"]:
        """Time of every row of the trace."""
        return self.timestep_s * np.arange(len(self.trace.x))

    @cached_property
    def drives(self) -> Bool[np.ndarray, "trials agents"]:
        """Who is there to get somewhere: everybody but the parked and empty slots."""
        result = np.zeros(self.trace.x.shape[1:], bool)
        for row, trial in zip(result, self.trials, strict=True):
            row[: len(trial.drivers)] = [not driver.parked for driver in trial.drivers]
        return result

    @cached_property
    def through(self) -> Bool[np.ndarray, "trials agents"]:
        """Who has left the world at its last goal by the end."""
        return self.drives & ~self.trace.present[-1]


def record(
    key: Key[Array, ""],
    worlds: WorldState,
    lines: Int[Array, " trials"],
    choose: Choose,
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[WorldState, Trace]:
    """Drives the worlds for `config.episode_steps` steps; the key is consumed.

    ``lines`` are stop lines of the atlas whose lights are to be kept, -1 for none. To be compiled by the caller.
    """

    def one(state: WorldState, step_key: Array) -> tuple[WorldState, Trace]:
        following, _ = step_worlds(state, choose(state, step_key), atlas, config)
        return following, _row(following, lines, atlas, config)

    # By number, so that a longer drive begins like a shorter one.
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(config.episode_steps))
    final, rows = jax.lax.scan(one, worlds, keys)
    first = _row(worlds, lines, atlas, config)
    return final, jax.tree.map(lambda row, rest: jnp.concatenate([row[None], rest]), first, rows)


def _row(state: WorldState, lines: Array, atlas: RoadAtlas, config: SimulatorConfig) -> Trace:
    touching = jax.vmap(collides)(state.position, state.yaw, state.scenario.size, state.present)
    colour = jax.vmap(lambda world, line: light_states(world, line[None], atlas, config)[0])(state, lines)
    return Trace(
        x=state.position[..., 0],
        y=state.position[..., 1],
        yaw=state.yaw,
        speed=state.speed,
        present=state.present,
        active=state.active,
        touching=touching,
        offroads=state.offroads,
        red_lights=state.red_lights,
        stop_signs=state.stop_signs,
        colour=colour,
    )


def lines_of(trials: Sequence[Trial], atlas: RoadAtlas) -> Int[np.ndarray, " trials"]:
    """The stop line that each trial watches as an index into the atlas, -1 for none."""
    first = np.asarray(atlas.map_stop_start)
    rows = [-1 if t.line < 0 else int(first[atlas.names.index(t.road)]) + t.line for t in trials]
    return np.array(rows, np.int32)
