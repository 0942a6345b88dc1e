"""Traffic lights: fixed-time phases per junction, shifted by a random phase per world.

Approaches of a junction are split into phase groups (opposing approaches share one). Groups take turns: green,
yellow, then all red. As in GIGAFLOW some episodes have no lights, some junctions have theirs switched off and some
stay green, so that a policy cannot rely on them. Timings and the golden-ratio shift are our own choice.

`line_states` tells what every stop line asks for, lights and signs alike.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from simulator.agents.log_replay import logged_lights
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import GREEN, OFF, RED, STOP, YELLOW, YIELD
from simulator.roads.road_map import StopKind
from simulator.state import WorldState

JUNCTION_SHIFT = 0.618034
"""Share of a cycle by which each junction is ahead of the one before it: (5^0.5 - 1) / 2."""


def _fraction(value: Array) -> Array:
    return value - jnp.floor(value)


def light_states(
    state: WorldState, stops: Int[Array, "*n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Int[Array, "*n"]:
    """State (OFF, GREEN, YELLOW, RED) of the lights at stop lines ``stops``; OFF at signs and negative indices.

    Worlds made of recorded traffic show the recorded states.
    """
    asked = line_states(state, stops, atlas, config)
    return jnp.where(asked <= RED, asked, OFF)


def line_states(
    state: WorldState, stops: Int[Array, "*n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Int[Array, "*n"]:
    """What stop lines ``stops`` ask for now, one of NUM_LINE_STATES; OFF for negative indices."""
    safe = jnp.maximum(stops, 0)
    kind = jnp.where(stops >= 0, atlas.stop_kind[safe], StopKind.TRAFFIC_LIGHT)
    if state.scenario.logged is not None:
        asked = logged_lights(state, stops, atlas.map_stop_start[state.map_id])
    else:
        asked = _scheduled(state, safe, atlas, config)
        lit = (stops >= 0) & (atlas.stop_junction[safe] >= 0)
        asked = jnp.where(lit & state.scenario.lights_on, asked, OFF)
    asked = jnp.where(kind == StopKind.STOP_SIGN, STOP, jnp.where(kind == StopKind.YIELD, YIELD, asked))
    return asked.astype(jnp.int32)


def _scheduled(
    state: WorldState, stops: Int[Array, "*n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Int[Array, "*n"]:
    """What the fixed-time program of each line's junction shows."""
    junction = jnp.maximum(atlas.stop_junction[stops], 0)
    groups = jnp.maximum(atlas.junction_groups[junction], 1)
    slot = config.green_s + config.yellow_s + config.all_red_s
    cycle = slot * groups
    phase = state.scenario.light_phase
    time_s = state.step * config.timestep_s + _fraction(phase + JUNCTION_SHIFT * junction) * cycle
    within = jnp.mod(time_s, cycle)
    turn = jnp.floor(within / slot).astype(jnp.int32)
    since = within - turn * slot
    colour = jnp.where(
        since < config.green_s, GREEN, jnp.where(since < config.green_s + config.yellow_s, YELLOW, RED)
    )
    colour = jnp.where(turn == atlas.stop_group[stops], colour, RED)
    # One number per junction and episode decides what is unusual about it: off, always green, or signs instead.
    lot = _fraction(17.31 * phase + 0.381966 * junction)
    share = config.removed_light_share
    colour = jnp.where(lot < share + config.always_green_share + config.all_way_stop_share, STOP, colour)
    colour = jnp.where(lot < share + config.always_green_share, GREEN, colour)
    return jnp.where(lot < share, OFF, colour)


def line_coordinates(
    xy: Float[Array, "*#n 2"], stops: Int[Array, "*#n"], atlas: RoadAtlas
) -> tuple[Float[Array, "*#n"], Float[Array, "*#n"]]:
    """Position relative to stop lines: metres past the line, and metres from its middle over its half width."""
    x, y, cos, sin, half_width = jnp.moveaxis(atlas.stop_line[jnp.maximum(stops, 0)], -1, 0)
    right, up = xy[..., 0] - x, xy[..., 1] - y
    return right * cos + up * sin, jnp.abs(up * cos - right * sin) / half_width
