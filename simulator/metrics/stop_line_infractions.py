"""Infractions at stop lines: red lights, stop signs and yield signs.

A line is crossed when the middle of the front edge passes it in its direction, within 1.1 half widths of its middle.
Passing beside it counts too where the agent's route crosses it: driving around a line does not avoid the infraction
(policies learn to; see arXiv 2608.30819).

    red light   the light is red when the line is crossed
    stop sign   the agent has not come to a full stop since its front came within ``STOP_WITHIN_M`` of the line
    yield sign  depends on what follows the crossing; see `simulator.metrics.driving_quality`

A full stop counts until the front leaves that zone: an agent that crosses the line or reverses out of the zone has to
stop again at the next sign, or at the same. Thresholds are those of CARLA's leaderboard (0.1 m/s, 4 m), which measures
to the sign's trigger volume; we measure to the line.
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

STOP_WITHIN_M = 4.0
"""A full stop counts with the front within this distance before the line."""
_CANDIDATES = 4
"""Number of stop lines that are tested: the nearest to the agent's cell."""
LINE_REACH = 1.1
"""Lateral extent of a line to either side of its middle, in half widths."""
AROUND_M = 15.0
"""A line on the agent's own route counts as crossed within this lateral distance of its middle."""


@struct.dataclass
class StopLineEvents:
    """Stop-line events of one world in one step."""

    red_light: ArrayField  # [agents] bool: ran a red light
    stop_sign: ArrayField  # [agents] bool: ran a stop sign
    yield_line: ArrayField  # [agents] bool: crossed a yield line, which need not be an infraction
    has_stopped_at_sign: ArrayField  # [agents] bool, for the next step: full stop before the sign ahead


def front_centre(state: WorldState) -> Float[Array, "agents 2"]:
    """Middle of each agent's front edge (m, world)."""
    heading = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    return state.position[:, :2] + 0.5 * state.scenario.size[:, :1] * heading


def detect_stop_line_infractions(
    state: WorldState, next_state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> StopLineEvents:
    """Stop-line events of the motion from ``state`` to ``next_state``; signals are those of ``state``."""
    old, new = (on_map(state.scenario, front_centre(one), config) for one in (state, next_state))
    rows = table_rows(atlas, state.map_id, old)
    stops = atlas.stop_candidates[rows][:, :_CANDIDATES]
    was, _ = traffic_lights.line_coordinates(old[:, None], stops, atlas)
    now, lateral = traffic_lights.line_coordinates(new[:, None], stops, atlas)
    on_line = lateral < LINE_REACH
    around = _on_route(next_state, stops, atlas, config) & (lateral * _half_width(stops, atlas) < AROUND_M)
    crossed = (on_line | around) & (was < 0) & (now >= 0)
    signal = traffic_lights.line_states(state, stops, atlas, config)
    red, sign = signal == RED, signal == STOP
    passes_sign = (crossed & sign).any(axis=1)
    at_sign = (on_line & sign & (now < 0) & (now >= -STOP_WITHIN_M)).any(axis=1)
    stands = jnp.abs(next_state.speed) < STANDSTILL_MPS
    return StopLineEvents(
        red_light=(crossed & red).any(axis=1) & state.active,
        stop_sign=passes_sign & ~state.has_stopped_at_sign & state.active,
        yield_line=(crossed & (signal == YIELD)).any(axis=1) & state.active,
        has_stopped_at_sign=at_sign & (stands | state.has_stopped_at_sign),
    )


def _half_width(stops: Int[Array, "agents n"], atlas: RoadAtlas) -> Float[Array, "agents n"]:
    return atlas.stop_line[jnp.maximum(stops, 0), 4]


def _on_route(
    state: WorldState, stops: Int[Array, "agents n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Bool[Array, "agents n"]:
    """Whether the point of each agent's route at its front lies within the width of each line."""
    scenario = state.scenario
    station = nearest_station(scenario, state.route_m + 0.5 * scenario.size[:, 0])
    position = on_map(scenario, route_rows(scenario, station[:, None])[:, 0, :2], config)
    _, lateral = traffic_lights.line_coordinates(position[:, None], stops, atlas)
    return lateral < 1.0
