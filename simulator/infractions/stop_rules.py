"""What an agent owes to the stop lines it crosses: red lights, stop signs and yield signs.

A line is crossed when the middle of the front edge passes it in its direction, within 1.1 half widths of its middle.

    red light   its light is red when the line is crossed
    stop sign   since the front came within ``HALT_WITHIN_M`` of the line, the agent has not stood still there once
    yield sign  what follows the crossing decides; see `simulator.infractions.fault`

A halt counts until the front leaves the zone: whoever crosses the line or backs out stops again at the next sign, or at
the same. Thresholds are those of CARLA's leaderboard (0.1 m/s, 4 m); it measures to the sign's volume, we to the line.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from simulator import lights
from simulator.atlas import RoadAtlas, table_rows
from simulator.config import STANDSTILL_MPS, SimulatorConfig
from simulator.road_map import StopKind
from simulator.variants import on_map
from simulator.world import Leaf, WorldState

HALT_WITHIN_M = 4.0
_CANDIDATES = 4
LINE_REACH = 1.1
"""How far a line reaches to either side of its middle, in half widths."""


@struct.dataclass
class StopLines:
    """What the stop lines of one world saw during one step."""

    red_light: Leaf  # [agents] bool: ran a red light
    stop_sign: Leaf  # [agents] bool: ran a stop sign
    yield_line: Leaf  # [agents] bool: crossed a yield line, rightly or wrongly
    halted: Leaf  # [agents] bool, for the next step: stood still before the stop sign it is at


def front(state: WorldState) -> Float[Array, "agents 2"]:
    """Middle of each agent's front edge, world metres."""
    heading = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    return state.position[:, :2] + 0.5 * state.scenario.size[:, :1] * heading


def watch_stop_lines(
    before: WorldState, after: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> StopLines:
    """Judges the move from ``before`` to ``after`` at the stop lines around each agent."""
    old, new = (on_map(before.scenario, front(state), config) for state in (before, after))
    rows = table_rows(atlas, before.map_id, old)
    stops = atlas.stop_candidates[rows][:, :_CANDIDATES]
    was, _ = lights.line_coordinates(old[:, None], stops, atlas)
    now, aside = lights.line_coordinates(new[:, None], stops, atlas)
    kind = jnp.where(stops >= 0, atlas.stop_kind[jnp.maximum(stops, 0)], -1)
    on_line = aside < LINE_REACH
    crossed = on_line & (was < 0) & (now >= 0)
    red = lights.light_states(before, stops, atlas, config) == lights.RED
    sign = kind == StopKind.STOP_SIGN
    passes_sign = (crossed & sign).any(axis=1)
    at_sign = (on_line & sign & (now < 0) & (now >= -HALT_WITHIN_M)).any(axis=1)
    stands = jnp.abs(after.speed) < STANDSTILL_MPS
    return StopLines(
        red_light=(crossed & red).any(axis=1) & before.active,
        stop_sign=passes_sign & ~before.halted & before.active,
        yield_line=(crossed & (kind == StopKind.YIELD)).any(axis=1) & before.active,
        halted=at_sign & (stands | before.halted),
    )
