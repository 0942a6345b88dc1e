"""Observation of the road around each agent: lanes, road edges, stop lines, and the next stop line that applies."""

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
from teacher.observation.ego_frame import POSITION_SCALE_M, EgoFrame, Layout, Matrix, stack_columns

LANES_WIDTH, EDGES_WIDTH, EDGE_POINTS_WIDTH = 5, 5, 4
STOPS_WIDTH = 5 + NUM_LINE_STATES
EDGE_UNIT_M = 2.5
"""Half the longest road edge segment."""
_ON_ROAD = (True, False, True)
_LANE_LAYOUT = Layout(pairs=(POSITION_SCALE_M, 1.0), plain=(OBSERVED_LEVEL_GAP_M,), relative=_ON_ROAD)
_EDGE_LAYOUT = Layout(pairs=(POSITION_SCALE_M, EDGE_UNIT_M), plain=(OBSERVED_LEVEL_GAP_M,), relative=_ON_ROAD)
_STOP_LAYOUT = Layout(pairs=(POSITION_SCALE_M, 1.0), plain=(POSITION_SCALE_M,), relative=_ON_ROAD)
_ROUTE_STRIDE = 2  # stations between two points of the route that are checked for the next stop line
_ROUTE_POINTS = 13
NEXT_LINE_WIDTH = NUM_LINE_STATES + 2
NO_LINE_M = 60.0
"""Distance observed where no stop line that requires anything is ahead."""
Mask = Bool[Array, "agents n"]
Rows = Float[Array, "agents n columns"]


@struct.dataclass
class MapFrame:
    """Positions of the agents on the original map of the atlas, and the linear map from there to their ego frames."""

    xy: ArrayField  # [agents, 2] m, map
    z: ArrayField  # [agents] m
    own: ArrayField  # [agents, 5]: each agent's own row of a table of lanes or edges
    matrix: Matrix  # (forward, left) from vectors on the map
    mirror: ArrayField  # [] -1 where the world is a mirrored map, else 1
    # Whether worlds are affine variants of the map, which change the length of directions.
    varied: bool = struct.field(pytree_node=False)

    @classmethod
    def of(cls, state: WorldState, frame: EgoFrame, simulator: SimulatorConfig) -> MapFrame:
        """The map frame of all agents of one world."""
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

    def to_ego_frame(self, layout: Layout, rows: Rows, swapped: Rows, mask: Mask) -> Rows:
        """Rows of a table of the map in the ego frames, see `Layout.to_ego_frame`; the second pair, a direction, has
        length 1."""
        ego = layout.to_ego_frame(rows, swapped, self.own[:, : layout.width], self.matrix, mask)
        if not self.varied:
            return ego
        length = jnp.sqrt(ego[..., 2:3] ** 2 + ego[..., 3:4] ** 2)
        return ego.at[..., 2:4].divide(jnp.maximum(length, 1e-3))


def observe_lanes(
    samples: Int[Array, "agents n"], road: MapFrame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Lane points: x, y, cos, sin, rise (/ OBSERVED_LEVEL_GAP_M), and a mask of the slots that hold one."""
    rows, swapped, mask = _on_level(samples, atlas.sample_pose, atlas.sample_swapped, road)
    return road.to_ego_frame(_LANE_LAYOUT, rows, swapped, mask), mask


def observe_edges(
    segments: Int[Array, "agents n"], road: MapFrame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 5"], Mask]:
    """Road edges: midpoint x, y, half the vector along the edge with the road on its left (/ EDGE_UNIT_M), rise; and a
    mask of the slots that hold one."""
    rows, swapped, mask = _on_level(segments, atlas.edge_line, atlas.edge_swapped, road)
    ego = _EDGE_LAYOUT.to_ego_frame(rows, swapped, road.own, road.matrix, mask)
    return (ego.at[..., 2:4].multiply(road.mirror) if road.varied else ego), mask


def observe_edge_points(
    segments: Int[Array, "agents n"], road: MapFrame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 4"], Mask]:
    """Road edges by their nearest points: x, y, then cos and sin of twice the edge's angle; and a mask."""
    edges, mask = observe_edges(segments, road, atlas)
    x, y, along_x, along_y = (edges[..., column] for column in range(4))
    half_x, half_y = along_x * (EDGE_UNIT_M / POSITION_SCALE_M), along_y * (EDGE_UNIT_M / POSITION_SCALE_M)
    squared = jnp.maximum(half_x**2 + half_y**2, 1e-9)
    share = jnp.clip(-(x * half_x + y * half_y) / squared, -1.0, 1.0)
    double = (half_x**2 - half_y**2) / squared, 2.0 * half_x * half_y / squared
    return stack_columns(x + share * half_x, y + share * half_y, *double, mask=mask), mask


def _on_level(
    index: Int[Array, "agents n"],
    table: Float[Array, "rows 5"],
    swapped: Float[Array, "rows 5"],
    road: MapFrame,
) -> tuple[Rows, Rows, Mask]:
    """Rows of a table and of its copy with swapped pairs, and a mask of those that exist (index -1 does not) on the
    agent's level."""
    there = jnp.maximum(index, 0)
    rows, swapped = (t.at[there].get(mode="promise_in_bounds") for t in (table, swapped))
    return rows, swapped, (index >= 0) & (jnp.abs(rows[..., 4] - road.z[:, None]) < OBSERVED_LEVEL_GAP_M)


def observe_stops(
    stops: Int[Array, "agents n"], states: Int[Array, "agents n"], road: MapFrame, atlas: RoadAtlas
) -> tuple[Float[Array, "agents n 11"], Mask]:
    """Stop lines: x, y, cos, sin, half width (/ POSITION_SCALE_M), then the required signal, one-hot in the order of
    `simulator.conventions` (off, green, yellow, red, stop sign, yield sign)."""
    mask = stops >= 0
    line = atlas.stop_line[jnp.maximum(stops, 0)]
    swapped = line[..., jnp.array(_STOP_LAYOUT.swapped())]
    signal = [jnp.where(mask, states == state, 0.0) for state in range(NUM_LINE_STATES)]
    own = road.own.at[:, 4].set(0.0)
    pose = road.replace(own=own).to_ego_frame(_STOP_LAYOUT, line, swapped, mask)
    return jnp.concatenate([pose, stack_columns(*signal)], axis=-1), mask


def next_line(
    state: WorldState,
    stops: Int[Array, "agents n"],
    states: Int[Array, "agents n"],
    atlas: RoadAtlas,
    simulator: SimulatorConfig,
) -> list[Float[Array, " agents"]]:
    """The nearest stop line ahead on the agent's route whose signal is not off: the signal, one-hot as in
    `observe_stops`; its distance from the front (/ POSITION_SCALE_M); whether the agent has come to a full stop before
    it.

    A line is on the route where the route crosses it in its direction.
    """
    scenario = state.scenario
    stride_m = _ROUTE_STRIDE * ROUTE_SPACING_M
    window = nearest_station(scenario, state.route_m)[:, None] + _ROUTE_STRIDE * jnp.arange(_ROUTE_POINTS)
    window = jnp.clip(window, 0, scenario.route.shape[1] - 1)
    ahead = on_map(scenario, route_rows(scenario, window)[..., :2], simulator)
    front_m = state.route_m + 0.5 * scenario.size[:, 0]
    gap = jnp.full(stops.shape, jnp.inf)
    before = None
    for point in range(_ROUTE_POINTS):  # one pass over [agents, stops] per route point
        past, offset = traffic_lights.line_coordinates(ahead[:, point, None], stops, atlas)
        if before is not None:
            share = before / jnp.minimum(before - past, -1e-3)  # of the way from one route point to the next
            ahead_m = ROUTE_SPACING_M * window[:, point - 1, None] + stride_m * share - front_m[:, None]
            crosses = (before < 0) & (past >= 0) & (offset < 1.0) & (ahead_m > -0.5)
            gap = jnp.minimum(gap, jnp.where(crosses, ahead_m, jnp.inf))
        before = past
    gap = jnp.where((stops >= 0) & (states != OFF), gap, jnp.inf)
    nearest = jnp.argmin(gap, axis=1)
    gap, signal = (jnp.take_along_axis(a, nearest[:, None], axis=1)[:, 0] for a in (gap, states))
    known = jnp.isfinite(gap)
    distance = jnp.where(known, gap, NO_LINE_M) / POSITION_SCALE_M
    signal = jnp.where(known, signal, OFF)
    one_hot = [(signal == state).astype(jnp.float32) for state in range(NUM_LINE_STATES)]
    return [*one_hot, distance, state.has_stopped_at_sign.astype(jnp.float32)]
