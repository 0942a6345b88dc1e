"""What is around each agent of batched worlds, for the classes of `student.dagger.situations`."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator import traffic_lights
from simulator.atlas.affine_variants import on_map
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import SimulatorConfig
from simulator.conventions import LEVEL_GAP_M, NUM_LINE_STATES, RED, YELLOW
from simulator.state import WorldState
from student.dagger.situations import LIGHT_M, NEAR_M
from teacher.observation.ego_frame import POSITION_SCALE_M
from teacher.observation.road import next_line


@partial(jax.jit, static_argnames="rules")
def surroundings(
    state: WorldState, atlas: RoadAtlas, rules: SimulatorConfig
) -> tuple[Bool[Array, "worlds agents"], Bool[Array, "worlds agents"]]:
    """Whether the next stop line on each agent's route lies within LIGHT_M of its front and shows yellow or red, and
    whether another agent on its level is within NEAR_M, from the sides of the circles around half their lengths."""
    return jax.vmap(lambda world: (_before_red(world, atlas, rules), _near_others(world)))(state)


def _before_red(state: WorldState, atlas: RoadAtlas, rules: SimulatorConfig) -> Bool[Array, " agents"]:
    xy = on_map(state.scenario, state.position[:, :2], rules)
    stops = atlas.stop_candidates[table_rows(atlas, state.map_id, xy)]
    signals = traffic_lights.line_states(state, stops, atlas, rules)
    line = next_line(state, stops, signals, atlas, rules)
    near = POSITION_SCALE_M * line[NUM_LINE_STATES] < LIGHT_M
    return near & (line[RED] + line[YELLOW] > 0)


def _near_others(state: WorldState) -> Bool[Array, " agents"]:
    x, y, z = (state.position[:, axis] for axis in range(3))
    apart = jnp.sqrt((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2)
    half = 0.5 * state.scenario.size[:, 0]
    close = apart - half[:, None] - half < NEAR_M
    others = ~jnp.eye(len(x), dtype=bool) & state.present
    return (close & others & (jnp.abs(z[:, None] - z) < LEVEL_GAP_M)).any(axis=1)
