"""Traffic lights: fixed-time phases per junction, shifted by a random phase per world; or the states of a log.

Approaches of a junction are split into phase groups (opposing approaches share one). Groups take turns: green,
yellow, then all red. As in GIGAFLOW some episodes have no lights, some junctions have theirs switched off and some
stay green, so that a policy cannot rely on them. Timings and the golden-ratio shift are our choice.

`line_states` gives the required signal of every stop line, of lights and signs alike.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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

    Worlds made from a log show the logged states.
    """
    signal = line_states(state, stops, atlas, config)
    return jnp.where(signal <= RED, signal, OFF)


def line_states(
    state: WorldState, stops: Int[Array, "*n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Int[Array, "*n"]:
    """Required signal at stop lines ``stops`` now: OFF, GREEN, YELLOW, RED, STOP or YIELD; OFF for negative indices."""
    safe = jnp.maximum(stops, 0)
    kind = jnp.where(stops >= 0, atlas.stop_kind[safe], StopKind.TRAFFIC_LIGHT)
    if state.scenario.log is not None:
        signal = log_light_states(state, stops, atlas.map_stop_start[state.map_id])
    else:
        signal = _scheduled(state, safe, atlas, config)
        lit = (stops >= 0) & (atlas.stop_junction[safe] >= 0)
        signal = jnp.where(lit & state.scenario.lights_on, signal, OFF)
    signal = jnp.where(kind == StopKind.STOP_SIGN, STOP, jnp.where(kind == StopKind.YIELD, YIELD, signal))
    return signal.astype(jnp.int32)


def log_light_states(
    state: WorldState, stops: Int[Array, "*n"], first_stop: Int[Array, ""]
) -> Int[Array, "*n"]:
    """Logged light states at stop lines of the atlas, OFF for negative indices; ``first_stop`` is the first stop line
    of the world's own map."""
    light_state = state.scenario.log.light_state
    own = jnp.clip(stops - first_stop, 0, light_state.shape[0] - 1)
    now = jnp.minimum(state.step, state.scenario.log.last_step)
    return jnp.where(stops >= 0, light_state[:, now][own], OFF)


def _scheduled(
    state: WorldState, stops: Int[Array, "*n"], atlas: RoadAtlas, config: SimulatorConfig
) -> Int[Array, "*n"]:
    """State of the lights at each line by the fixed-time program of its junction; STOP where the junction has an
    all-way stop in this episode."""
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
    # A hash-based random number per junction and episode decides on exceptions: off, always green, or signs instead.
    draw = _fraction(17.31 * phase + 0.381966 * junction)
    share = config.removed_light_share
    colour = jnp.where(draw < share + config.always_green_share + config.all_way_stop_share, STOP, colour)
    colour = jnp.where(draw < share + config.always_green_share, GREEN, colour)
    return jnp.where(draw < share, OFF, colour)


def line_coordinates(
    xy: Float[Array, "*#n 2"], stops: Int[Array, "*#n"], atlas: RoadAtlas
) -> tuple[Float[Array, "*#n"], Float[Array, "*#n"]]:
    """Coordinates relative to stop lines: metres past the line (negative before it), and the lateral distance from its
    middle divided by its half width."""
    x, y, cos, sin, half_width = jnp.moveaxis(atlas.stop_line[jnp.maximum(stops, 0)], -1, 0)
    east, north = xy[..., 0] - x, xy[..., 1] - y
    return east * cos + north * sin, jnp.abs(north * cos - east * sin) / half_width
