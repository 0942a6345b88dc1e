"""What an agent owes to the stop lines it crosses: red lights, stop signs and yield signs.

A line is crossed when the middle of the front edge passes it in its direction, within 1.1 half widths of its middle; or
beside it, where the agent's route crosses it: whoever drives around a line that it owes something to has not avoided it
(policies learn to; see arXiv 2608.30819).

    red light   its light is red when the line is crossed
    stop sign   since the front came within ``HALT_WITHIN_M`` of the line, the agent has not stood still there once
    yield sign  what follows the crossing decides; see `simulator.metrics.at_fault`

A halt counts until the front leaves the zone: whoever crosses the line or backs out stops again at the next sign, or at
the same. Thresholds are those of CARLA's leaderboard (0.1 m/s, 4 m); it measures to the sign's volume, we to the line.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator import traffic_lights
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import on_map
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import SimulatorConfig
from simulator.conventions import RED, STANDSTILL_MPS, STOP, YIELD
from simulator.state import WorldState, nearest_station, route_rows

HALT_WITHIN_M = 4.0
_CANDIDATES = 4
LINE_REACH = 1.1
"""How far a line reaches to either side of its middle, in half widths."""
AROUND_M = 15.0
"""A line on the own route counts as crossed within this distance of its middle."""


@struct.dataclass
class StopLines:
    """What the stop lines of one world saw during one step."""

    red_light: ArrayField  # [agents] bool: ran a red light
    stop_sign: ArrayField  # [agents] bool: ran a stop sign
    yield_line: ArrayField  # [agents] bool: crossed a yield line, rightly or wrongly
    halted: ArrayField  # [agents] bool, for the next step: stood still before the stop sign it is at


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
    was, _ = traffic_lights.line_coordinates(old[:, None], stops, atlas)
    now, aside = traffic_lights.line_coordinates(new[:, None], stops, atlas)
    on_line = aside < LINE_REACH
    around = _on_route(after, stops, atlas, config) & (aside * _half_width(stops, atlas) < AROUND_M)
    crossed = (on_line | around) & (was < 0) & (now >= 0)
    asked = traffic_lights.line_states(before, stops, atlas, config)
    red, sign = asked == RED, asked == STOP
    passes_sign = (crossed & sign).any(axis=1)
    at_sign = (on_line & sign & (now < 0) & (now >= -HALT_WITHIN_M)).any(axis=1)
    stands = jnp.abs(after.speed) < STANDSTILL_MPS
    return StopLines(
        red_light=(crossed & red).any(axis=1) & before.active,
        stop_sign=passes_sign & ~before.halted & before.active,
        yield_line=(crossed & (asked == YIELD)).any(axis=1) & before.active,
        halted=at_sign & (stands | before.halted),
    )


def _half_width(stops: Int[Array, "agents n"], atlas: RoadAtlas) -> Float[Array, "agents n"]:
    return atlas.stop_line[jnp.maximum(stops, 0), 4]


def _on_route(
    state: WorldState, stops: Int[Array, "agents n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Bool[Array, "agents n"]:
    """Whether the own route, where the front is now, lies within the width of each line."""
    scenario = state.scenario
    station = nearest_station(scenario, state.route_m + 0.5 * scenario.size[:, 0])
    place = on_map(scenario, route_rows(scenario, station[:, None])[:, 0, :2], config)
    _, aside = traffic_lights.line_coordinates(place[:, None], stops, atlas)
    return aside < 1.0
