"""What a driver knows of the road around it: lanes, road edges, stop lines and the next light on its route."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator import lights
from simulator.atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M
from simulator.world import WorldState, nearest_station, route_rows
from teacher.frame import NEAR_M, Frame, Layout, rows
from teacher.observed_agents import LEVEL_GAP_M

LANES_WIDTH, EDGES_WIDTH, STOPS_WIDTH = 5, 5, 9
EDGE_UNIT_M = 2.5
"""Half the longest road edge segment."""
_ON_ROAD = (True, False, True)
_LANES = Layout(pairs=(NEAR_M, 1.0), plain=(LEVEL_GAP_M,), relative=_ON_ROAD)
_EDGES = Layout(pairs=(NEAR_M, EDGE_UNIT_M), plain=(LEVEL_GAP_M,), relative=_ON_ROAD)
_LIGHT_STRIDE = 2  # stations between two looks along the route for the next stop line
_LIGHT_LOOKS = 13
NO_LIGHT_M = 60.0
"""Distance given where no lit stop line is ahead."""
Mask = Bool[Array, "agents n"]


def observe_lanes(
    samples: Int[Array, "agents n"], frame: Frame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Lane samples: x, y, cos, sin, rise (/ LEVEL_GAP_M), and which slots hold one."""
    return _observe_road(samples, atlas.sample_pose, atlas.sample_crossed, _LANES, frame)


def observe_edges(
    segments: Int[Array, "agents n"], frame: Frame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Road edges: middle x, y, half the vector along the edge with the road on its left (/ EDGE_UNIT_M), rise."""
    return _observe_road(segments, atlas.edge_line, atlas.edge_crossed, _EDGES, frame)


def _observe_road(
    index: Int[Array, "agents n"],
    table: Float[Array, "rows 5"],
    crossed: Float[Array, "rows 5"],
    layout: Layout,
    frame: Frame,
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Rows of a table on the agent's level, as it sees them; -1 is nothing."""
    there = jnp.maximum(index, 0)
    rows, crossed = (t.at[there].get(mode="promise_in_bounds") for t in (table, crossed))
    mask = (index >= 0) & (jnp.abs(rows[..., 4] - frame.z[:, None]) < LEVEL_GAP_M)
    return layout.seen(rows, crossed, frame.pose(frame.z), frame, mask), mask


def observe_stops(
    stops: Int[Array, "agents n"], states: Int[Array, "agents n"], frame: Frame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 9"], Mask]:
    """Stop lines: x, y, cos, sin, half width (/ NEAR_M), then the light's state one-hot (off, green, yellow, red)."""
    mask = stops >= 0
    x, y, cos, sin, half_width = jnp.moveaxis(atlas.stop_line[jnp.maximum(stops, 0)], -1, 0)
    colours = [(states == colour).astype(jnp.float32) for colour in range(4)]
    columns = [*frame.point(x, y), *frame.turn(cos, sin), half_width / NEAR_M, *colours]
    return rows(*columns, mask=mask), mask


def next_light(
    state: WorldState, stops: Int[Array, "agents n"], states: Int[Array, "agents n"], atlas: RoadAtlas
) -> list[Float[Array, " agents"]]:
    """The nearest lit stop line ahead on the own route: its state one-hot (off, green, yellow, red), and its distance
    from the front (/ NEAR_M). A line is on the route where the route crosses it in its direction."""
    scenario = state.scenario
    stride_m = _LIGHT_STRIDE * ROUTE_SPACING_M
    window = nearest_station(scenario, state.route_m)[:, None] + _LIGHT_STRIDE * jnp.arange(_LIGHT_LOOKS)
    window = jnp.clip(window, 0, scenario.route.shape[1] - 1)
    ahead = route_rows(scenario, window)[..., :2]
    front_m = state.route_m + 0.5 * scenario.size[:, 0]
    gap = jnp.full(stops.shape, jnp.inf)
    before = None
    for look in range(_LIGHT_LOOKS):  # one plain loop over [agents, n] per look
        past, aside = lights.line_coordinates(ahead[:, look, None], stops, atlas)
        if before is not None:
            at_m = ROUTE_SPACING_M * window[:, look - 1, None] + jnp.clip(-before, 0.0, stride_m)
            ahead_m = at_m - front_m[:, None]
            crosses = (before < 0) & (past >= 0) & (aside < 1.0) & (ahead_m > -0.5)
            gap = jnp.minimum(gap, jnp.where(crosses, ahead_m, jnp.inf))
        before = past
    gap = jnp.where((stops >= 0) & (states != lights.OFF), gap, jnp.inf)
    nearest = jnp.argmin(gap, axis=1)
    gap, colour = (jnp.take_along_axis(a, nearest[:, None], axis=1)[:, 0] for a in (gap, states))
    seen = jnp.isfinite(gap)
    distance = jnp.where(seen, gap, NO_LIGHT_M) / NEAR_M
    colour = jnp.where(seen, colour, lights.OFF)
    return [*((colour == number).astype(jnp.float32) for number in range(4)), distance]
