"""Rolls out a batch of trials and records what the judges need of every step."""

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
from simulator.rollout import PolicyFn, rollout, step_fn_of
from simulator.state import WorldState
from simulator.traffic_lights import light_states
from teacher.probes.starts import Trial


class Trace(NamedTuple):
    """Recorded states; leaves [steps + 1, trials, agents], JAX or numpy. The first row is the initial state."""

    x: Any  # m, world, centre of the box
    y: Any  # m
    yaw: Any  # rad
    speed: Any  # m/s
    present: Any  # bool: occupies space; agents that have arrived do not
    active: Any  # bool: moves
    touching: Any  # bool: its box overlaps another's
    offroads: Any  # int32, off-road events so far
    red_lights: Any  # int32, red lights run so far
    stop_signs: Any  # int32, stop signs run so far
    colour: Any  # [steps + 1, trials] int32, `simulator.traffic_lights`: of the watched stop line


@dataclass(frozen=True)
class ProbeRun:
    """The finished trials of one probe: the input of its judge.

    Attributes:
        trials: The scripted starts.
        roads: The maps by name.
        trace: The recorded states, leaves numpy arrays.
        timestep_s: Time between two rows of the trace.
    """

    trials: Sequence[Trial]
    roads: Mapping[str, RoadMap]
    trace: Trace
    timestep_s: float

    @cached_property
    def time_s(self) -> Float[np.ndarray, " rows"]:
        """Time of every row of the trace, s after the start."""
        return self.timestep_s * np.arange(len(self.trace.x))

    @cached_property
    def drives(self) -> Bool[np.ndarray, "trials agents"]:
        """Mask of the agents that have goals: all but parked ones and empty slots."""
        result = np.zeros(self.trace.x.shape[1:], bool)
        for row, trial in zip(result, self.trials, strict=True):
            row[: len(trial.drivers)] = [not driver.parked for driver in trial.drivers]
        return result

    @cached_property
    def through(self) -> Bool[np.ndarray, "trials agents"]:
        """Mask of the agents that have reached their last goal (and left the world) by the end."""
        return self.drives & ~self.trace.present[-1]


def record(
    key: Key[Array, ""],
    worlds: WorldState,
    lines: Int[Array, " trials"],
    policy_fn: PolicyFn,
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[WorldState, Trace]:
    """Drives the worlds for `config.episode_steps` steps and returns the final states and the trace. The key is
    consumed.

    ``lines`` are the stop lines (indices into the atlas) whose signals are recorded, -1 for none. To be jitted by the
    caller.
    """

    # One key per step index, so that the first steps do not depend on the number of steps.
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(config.episode_steps))
    final, rows = rollout(
        policy_fn,
        step_fn_of(atlas, config),
        worlds,
        keys,
        record=lambda step: _row(step.next_state, lines, atlas, config),
    )
    first = _row(worlds, lines, atlas, config)
    return final, jax.tree.map(lambda row, rest: jnp.concatenate([row[None], rest]), first, rows)


def _row(state: WorldState, lines: Array, atlas: RoadAtlas, config: SimulatorConfig) -> Trace:
    """One row of the trace."""
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


def watched_lines(trials: Sequence[Trial], atlas: RoadAtlas) -> Int[np.ndarray, " trials"]:
    """The watched stop line of each trial as an index into the atlas, -1 for none."""
    first = np.asarray(atlas.map_stop_start)
    rows = [-1 if t.line < 0 else int(first[atlas.names.index(t.road)]) + t.line for t in trials]
    return np.array(rows, np.int32)
