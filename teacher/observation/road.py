"""What a driver knows of the road around it: lanes, road edges, stop lines and the next one that it owes something."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator import traffic_lights
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import on_map
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import NUM_LINE_STATES, OBSERVED_LEVEL_GAP_M, OFF
from simulator.state import WorldState, nearest_station, route_rows
from teacher.observation.ego_frame import NEAR_M, Frame, Layout, Matrix, rows

LANES_WIDTH, EDGES_WIDTH, EDGE_POINTS_WIDTH = 5, 5, 4
STOPS_WIDTH = 5 + NUM_LINE_STATES
EDGE_UNIT_M = 2.5
"""Half the longest road edge segment."""
_ON_ROAD = (True, False, True)
_LANES = Layout(pairs=(NEAR_M, 1.0), plain=(OBSERVED_LEVEL_GAP_M,), relative=_ON_ROAD)
_EDGES = Layout(pairs=(NEAR_M, EDGE_UNIT_M), plain=(OBSERVED_LEVEL_GAP_M,), relative=_ON_ROAD)
_STOPS = Layout(pairs=(NEAR_M, 1.0), plain=(NEAR_M,), relative=_ON_ROAD)
_LIGHT_STRIDE = 2  # stations between two looks along the route for the next stop line
_LIGHT_LOOKS = 13
NEXT_LINE_WIDTH = NUM_LINE_STATES + 2
NO_LINE_M = 60.0
"""Distance given where no stop line that asks for anything is ahead."""
Mask = Bool[Array, "agents n"]
Seen = Float[Array, "agents n columns"]


@struct.dataclass
class Road:
    """Where agents are on the town as the atlas knows it, and how vectors there look to them."""

    xy: ArrayField  # [agents, 2] m, map
    z: ArrayField  # [agents] m
    own: ArrayField  # [agents, 5]: own row of a table of lanes or edges
    matrix: Matrix  # (forward, left) from vectors on the map
    mirror: ArrayField  # [] -1 where the world is a mirrored town
    varied: bool = struct.field(
        pytree_node=False
    )  # worlds are affine variants: directions change their length

    @classmethod
    def of(cls, state: WorldState, frame: Frame, simulator: SimulatorConfig) -> Road:
        """For all agents of one world."""
        if simulator.map_variants == 1:
            mirror = jnp.ones(())
            return cls(
                state.position[:, :2], frame.z, frame.pose(frame.z), frame.matrix, mirror, varied=False
            )
        xy, matrix = on_map(state.scenario, state.position[:, :2], simulator), state.scenario.map_matrix
        nothing = jnp.zeros_like(frame.z)
        own = jnp.stack([xy[:, 0], xy[:, 1], nothing, nothing, frame.z], axis=1)
        mirror = jnp.sign(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
        return cls(xy, frame.z, own, frame.from_map(state.scenario), mirror, varied=True)

    def seen(self, layout: Layout, rows: Seen, crossed: Seen, mask: Mask) -> Seen:
        """Rows of a table of the map as each agent sees them; the second pair is a direction of length 1."""
        seen = layout.seen(rows, crossed, self.own[:, : layout.width], self.matrix, mask)
        if not self.varied:
            return seen
        length = jnp.sqrt(seen[..., 2:3] ** 2 + seen[..., 3:4] ** 2)
        return seen.at[..., 2:4].divide(jnp.maximum(length, 1e-3))


def observe_lanes(
    samples: Int[Array, "agents n"], road: Road, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Lane samples: x, y, cos, sin, rise (/ OBSERVED_LEVEL_GAP_M), and which slots hold one."""
    rows, crossed, mask = _on_level(samples, atlas.sample_pose, atlas.sample_crossed, road)
    return road.seen(_LANES, rows, crossed, mask), mask


def observe_edges(
    segments: Int[Array, "agents n"], road: Road, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Road edges: middle x, y, half the vector along the edge with the road on its left (/ EDGE_UNIT_M), rise."""
    rows, crossed, mask = _on_level(segments, atlas.edge_line, atlas.edge_crossed, road)
    seen = _EDGES.seen(rows, crossed, road.own, road.matrix, mask)
    return (seen.at[..., 2:4].multiply(road.mirror) if road.varied else seen), mask


def observe_edge_points(
    segments: Int[Array, "agents n"], road: Road, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 4"], Mask]:
    """Road edges by their nearest points: x, y, then cos and sin of twice the edge's angle."""
    edges, mask = observe_edges(segments, road, atlas)
    x, y, along_x, along_y = (edges[..., column] for column in range(4))
    half_x, half_y = along_x * (EDGE_UNIT_M / NEAR_M), along_y * (EDGE_UNIT_M / NEAR_M)
    squared = jnp.maximum(half_x**2 + half_y**2, 1e-9)
    share = jnp.clip(-(x * half_x + y * half_y) / squared, -1.0, 1.0)
    double = (half_x**2 - half_y**2) / squared, 2.0 * half_x * half_y / squared
    return rows(x + share * half_x, y + share * half_y, *double, mask=mask), mask


def _on_level(
    index: Int[Array, "agents n"], table: Float[Array, "rows 5"], crossed: Float[Array, "rows 5"], road: Road
) -> tuple[Seen, Seen, Mask]:
    """Rows of a table and of its crossed twin, and which of them are there and on the agent's level; -1 is nothing."""
    there = jnp.maximum(index, 0)
    rows, crossed = (t.at[there].get(mode="promise_in_bounds") for t in (table, crossed))
    return rows, crossed, (index >= 0) & (jnp.abs(rows[..., 4] - road.z[:, None]) < OBSERVED_LEVEL_GAP_M)


def observe_stops(
    stops: Int[Array, "agents n"], states: Int[Array, "agents n"], road: Road, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 11"], Mask]:
    """Stop lines: x, y, cos, sin, half width (/ NEAR_M), then what the line asks for, one-hot in the order of
    `simulator.traffic_lights` (off, green, yellow, red, stop sign, yield sign)."""
    mask = stops >= 0
    line = atlas.stop_line[jnp.maximum(stops, 0)]
    crossed = line[..., jnp.array(_STOPS.crossed())]
    asked = [jnp.where(mask, states == what, 0.0) for what in range(NUM_LINE_STATES)]
    own = road.own.at[:, 4].set(0.0)
    place = road.replace(own=own).seen(_STOPS, line, crossed, mask)
    return jnp.concatenate([place, rows(*asked)], axis=-1), mask


def next_line(
    state: WorldState,
    stops: Int[Array, "agents n"],
    states: Int[Array, "agents n"],
    atlas: RoadAtlas,
    simulator: SimulatorConfig,
) -> list[Float[Array, " agents"]]:
    """The nearest stop line ahead on the own route that asks for anything: what, one-hot as in `observe_stops`; its
    distance from the front (/ NEAR_M); whether the agent has halted before it. A line is on the route where the route
    crosses it in its direction."""
    scenario = state.scenario
    stride_m = _LIGHT_STRIDE * ROUTE_SPACING_M
    window = nearest_station(scenario, state.route_m)[:, None] + _LIGHT_STRIDE * jnp.arange(_LIGHT_LOOKS)
    window = jnp.clip(window, 0, scenario.route.shape[1] - 1)
    ahead = on_map(scenario, route_rows(scenario, window)[..., :2], simulator)
    front_m = state.route_m + 0.5 * scenario.size[:, 0]
    gap = jnp.full(stops.shape, jnp.inf)
    before = None
    for look in range(_LIGHT_LOOKS):  # one plain loop over [agents, n] per look
        past, aside = traffic_lights.line_coordinates(ahead[:, look, None], stops, atlas)
        if before is not None:
            share = before / jnp.minimum(before - past, -1e-3)  # of the way from one look to the next
            ahead_m = ROUTE_SPACING_M * window[:, look - 1, None] + stride_m * share - front_m[:, None]
            crosses = (before < 0) & (past >= 0) & (aside < 1.0) & (ahead_m > -0.5)
            gap = jnp.minimum(gap, jnp.where(crosses, ahead_m, jnp.inf))
        before = past
    gap = jnp.where((stops >= 0) & (states != OFF), gap, jnp.inf)
    nearest = jnp.argmin(gap, axis=1)
    gap, asked = (jnp.take_along_axis(a, nearest[:, None], axis=1)[:, 0] for a in (gap, states))
    seen = jnp.isfinite(gap)
    distance = jnp.where(seen, gap, NO_LINE_M) / NEAR_M
    asked = jnp.where(seen, asked, OFF)
    one_hot = [(asked == what).astype(jnp.float32) for what in range(NUM_LINE_STATES)]
    return [*one_hot, distance, state.halted.astype(jnp.float32)]
