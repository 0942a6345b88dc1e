"""What a privileged driver knows, in its own frame (box centre, x forward, y left).

GIGAFLOW's groups: itself, its conditioning, its route and goals, other agents, lanes, road edges, stop lines with
their lights. Counts are settings; entities beyond a count are the farthest. Distances are scaled to about [-1, 1].

| field        | shape                | columns |
|--------------|----------------------|---------|
| ego          | [agents, 25]         | `_ego` and `next_light`: motion, body, gains, room to the edge, next light |
| conditioning | [agents, TRAITS + 1] | driver traits in [-1, 1], goal radius |
| route        | [agents, ...]        | preview points (x, y, cos, sin), then two goals (x, y, distance left, exists) |
| others       | [agents, n, 18]      | `observe_others`: pose, size, motion, place on own route, closest approach |
| lanes        | [agents, n, 5]       | x, y, cos, sin, offset in height |
| edges        | [agents, n, 4]       | nearest point x, y, cos and sin of twice the angle (edges have no direction) |
| stops        | [agents, n, 9]       | x, y, cos, sin, half width, off, green, yellow, red |
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from simulator import lights
from simulator.atlas import RoadAtlas, table_row
from simulator.config import SimulatorConfig
from simulator.grids import EDGE_CANDIDATES, LANE_CANDIDATES, STOP_CANDIDATES
from simulator.noise import unseen_by_blind
from simulator.step import corner_room
from simulator.world import TRAITS, Leaf, WorldState, nearest_station
from teacher.frame import NEAR_M, Frame, rows
from teacher.observed_agents import OTHERS_WIDTH, SPEED_UNIT_MPS, observe_others
from teacher.observed_road import (
    EDGES_WIDTH,
    LANES_WIDTH,
    STOPS_WIDTH,
    next_light,
    observe_edges,
    observe_lanes,
    observe_stops,
)

PREVIEW_M = (2.0, 4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 60.0)
"""How far ahead on its route a driver looks (our choice: dense where it matters for steering)."""
EGO_WIDTH = 25


@dataclass(frozen=True)
class ObservationConfig:
    """How much of each group a driver sees.

    Attributes:
        others: Nearest agents.
        lanes: Lane points, at most 100.
        edges: Road-edge segments, at most 100.
        stops: Stop lines, at most 8.
        agent_range_m: Agents farther away are not seen (GIGAFLOW: 200 m).
    """

    others: int = 8
    lanes: int = 8
    edges: int = 8
    stops: int = 2
    agent_range_m: float = 80.0

    def __post_init__(self) -> None:
        most_of = {
            "others": 255,
            "lanes": LANE_CANDIDATES,
            "edges": EDGE_CANDIDATES,
            "stops": STOP_CANDIDATES,
        }
        for name, most in most_of.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"observation {name}={getattr(self, name)} must lie between 1 and {most}")
        if self.agent_range_m <= 0:
            raise ValueError(f"observation agent_range_m={self.agent_range_m} must be positive")


OBSERVATIONS = {
    "compact": ObservationConfig(),
    "lean": ObservationConfig(others=20, lanes=60, edges=40, stops=4, agent_range_m=200.0),
    "full": ObservationConfig(others=63, lanes=100, edges=100, stops=4, agent_range_m=200.0),
}
"""Budgets by name: what a small network on a CPU reads, GIGAFLOW's sets, and PufferDrive's counts."""


@struct.dataclass
class Observation:
    """One observation per agent; sets carry a mask of the rows that hold something."""

    ego: Leaf  # [..., 25]
    conditioning: Leaf  # [..., TRAITS + 1]
    route: Leaf  # [..., 4 * previews + 8]
    others: Leaf  # [..., others, 18]
    others_mask: Leaf  # [..., others] bool
    lanes: Leaf  # [..., lanes, 5]
    lanes_mask: Leaf  # [..., lanes] bool
    edges: Leaf  # [..., edges, 4]
    edges_mask: Leaf  # [..., edges] bool
    stops: Leaf  # [..., stops, 9]
    stops_mask: Leaf  # [..., stops] bool


def example_observation(config: ObservationConfig) -> Observation:
    """An empty observation of one agent, [1, ...]: what the network's weights take their shapes from."""
    sets = {
        "others": (config.others, OTHERS_WIDTH),
        "lanes": (config.lanes, LANES_WIDTH),
        "edges": (config.edges, EDGES_WIDTH),
        "stops": (config.stops, STOPS_WIDTH),
    }
    flat = {"ego": EGO_WIDTH, "conditioning": TRAITS + 1, "route": 4 * len(PREVIEW_M) + 8}
    leaves = {name: jnp.zeros((1, width)) for name, width in flat.items()}
    for name, (count, width) in sets.items():
        leaves[name] = jnp.zeros((1, count, width))
        leaves[f"{name}_mask"] = jnp.zeros((1, count), bool)
    return Observation(**leaves)


def observe(
    state: WorldState, atlas: RoadAtlas, simulator: SimulatorConfig, config: ObservationConfig
) -> Observation:
    """Observations of all agents of one world. Rows of inactive agents are meaningless but finite."""
    frame, height = Frame.of(state), state.position[:, 2]
    row = jax.vmap(table_row, (None, None, 0))(atlas, state.map_id, state.position[:, :2])
    candidates = atlas.stop_candidates[row]
    states = lights.light_states(state, candidates, atlas, simulator)
    others, others_mask = observe_others(state, frame, config.others, config.agent_range_m)
    if state.scenario.has_noise:
        others, others_mask = unseen_by_blind(state, others, others_mask)
    lanes, lanes_mask = observe_lanes(atlas.lane_candidates[row][:, : config.lanes], height, frame, atlas)
    edges, edges_mask = observe_edges(atlas.edge_candidates[row][:, : config.edges], height, frame, atlas)
    stops, stops_mask = observe_stops(candidates[:, : config.stops], states[:, : config.stops], frame, atlas)
    light = next_light(state, candidates, states, atlas)
    return Observation(
        ego=rows(*_ego(state, frame, atlas), *light),
        conditioning=jnp.column_stack(
            [2.0 * state.scenario.traits - 1.0, state.scenario.goal_radius_m / 12.0]
        ),
        route=_route(state, frame),
        others=others,
        others_mask=others_mask,
        lanes=lanes,
        lanes_mask=lanes_mask,
        edges=edges,
        edges_mask=edges_mask,
        stops=stops,
        stops_mask=stops_mask,
    )


def _ego(state: WorldState, frame: Frame, atlas: RoadAtlas) -> list[Float[Array, " agents"]]:
    """Motion, body, heading and offset on the route, gains, and the room of the four corners to the road's edge."""
    scenario = state.scenario
    station = nearest_station(scenario, state.route_m[:, None])
    limit = jnp.take_along_axis(scenario.route_limit_mps, station, axis=1)[:, 0]
    route_yaw = jnp.take_along_axis(scenario.route_yaw, station, axis=1)
    heading = frame.turn(jnp.cos(route_yaw), jnp.sin(route_yaw))
    room = corner_room(state, atlas)
    gains = [
        jnp.log(gain)
        for gain in (
            scenario.throttle_gain,
            scenario.steer_gain,
            scenario.acceleration_gain,
            scenario.speed_gain,
        )
    ]
    return [
        state.speed / SPEED_UNIT_MPS,
        state.acceleration / 4.0,
        state.lateral_acceleration / 4.0,
        state.steering / 0.55,
        jnp.clip(state.route_offset_m / 2.0, -3.0, 3.0),
        limit / 20.0,
        (state.speed - limit) / SPEED_UNIT_MPS,
        jnp.minimum(state.stopped_s / 10.0, 2.0),
        scenario.size[:, 0] / 10.0,
        scenario.size[:, 1] / 3.0,
        *(value[:, 0] for value in heading),
        *gains,
        *jnp.clip(room / 2.0, -1.0, 2.0).T,
    ]


def _route(state: WorldState, frame: Frame) -> Float[Array, "agents route"]:
    """Preview points (x, y, cos, sin), then two goals (x, y, distance left along the route), then which goals exist."""
    scenario, agents = state.scenario, state.yaw.shape[0]
    stations = nearest_station(scenario, state.route_m[:, None] + jnp.array(PREVIEW_M))
    xyz = jnp.take_along_axis(scenario.route_xyz, stations[..., None], axis=1)
    yaw = jnp.take_along_axis(scenario.route_yaw, stations, axis=1)
    points = (jnp.clip(v, -4.0, 4.0) for v in frame.point(xyz[..., 0], xyz[..., 1]))
    preview = rows(*points, *frame.turn(jnp.cos(yaw), jnp.sin(yaw)))
    goals = state.goal_index[:, None] + jnp.arange(2)
    exists = goals < scenario.num_goals[:, None]
    goal_m = jnp.take_along_axis(scenario.goal_m, jnp.minimum(goals, scenario.goal_m.shape[1] - 1), axis=1)
    xyz = jnp.take_along_axis(scenario.route_xyz, nearest_station(scenario, goal_m)[..., None], axis=1)
    left = jnp.clip((goal_m - state.route_m[:, None]) / NEAR_M, -1.0, 4.0)
    points = (jnp.clip(v, -4.0, 4.0) for v in frame.point(xyz[..., 0], xyz[..., 1]))
    targets = rows(*points, left, mask=exists)
    flat = [preview.reshape(agents, -1), targets.reshape(agents, -1), exists.astype(jnp.float32)]
    return jnp.concatenate(flat, axis=1)
