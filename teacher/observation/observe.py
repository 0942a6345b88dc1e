"""The privileged observation, in each agent's ego frame (box centre, x forward, y left).

GIGAFLOW's groups: ego state, conditioning, route and goals, other agents, lanes, road edges, stop lines with their
lights. `ObservationConfig` sets the counts; the nearest objects are kept. Values are scaled to about [-1, 1].

| field        | shape                 | columns |
|--------------|-----------------------|---------|
| ego          | [agents, 28]          | `_ego` and `next_line`: motion, size, gains, road edge, next stop line |
| conditioning | [agents, NUM_TRAITS + 1]  | traits in [-1, 1], goal radius |
| route        | [agents, ...]         | `_route`: points ahead, goals (x, y, cos, sin), distances left, which exist |
| others       | [agents, n, 12 or 18] | `observe_others`: pose, motion, size; 6 more where derived |
| lanes        | [agents, n, 5]        | x, y, cos, sin, offset in height |
| edges        | [agents, n, 5 or 4]   | midpoint, half the edge, rise; derived: nearest point, twice the angle |
| stops        | [agents, n, 11]       | x, y, cos, sin, half width, off, green, yellow, red, stop sign, yield sign |
| critic_time  | [agents, 1] or None   | remaining share of the episode; only the critic reads it |
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from simulator import traffic_lights
from simulator.agents.faulty_agents import hide_others_from_blind
from simulator.array_field import ArrayField
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import SimulatorConfig
from simulator.conventions import NUM_TRAITS
from simulator.roads.query_grids import EDGE_CANDIDATES, LANE_CANDIDATES, STOP_CANDIDATES
from simulator.state import WorldState, nearest_station, route_rows
from teacher.observation.agents import DERIVED_WIDTH, OTHERS_WIDTH, SPEED_SCALE_MPS, observe_others
from teacher.observation.dropout import knows_goals, without_dropped
from teacher.observation.ego_frame import POSITION_SCALE_M, EgoFrame, Layout, stack_columns
from teacher.observation.occlusion import View
from teacher.observation.road import (
    EDGE_POINTS_WIDTH,
    EDGES_WIDTH,
    LANES_WIDTH,
    NEXT_LINE_WIDTH,
    STOPS_WIDTH,
    MapFrame,
    next_line,
    observe_edge_points,
    observe_edges,
    observe_lanes,
    observe_stops,
)

PREVIEW_M = (2.0, 4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 60.0)
"""Distances ahead at which the route is observed (our choice: dense where it matters for steering)."""
EGO_WIDTH = 20 + NEXT_LINE_WIDTH
_STATION_LAYOUT = Layout(pairs=(POSITION_SCALE_M, 1.0), plain=(), relative=(True, False))


@dataclass(frozen=True)
class ObservationConfig:
    """How many objects of each group an agent observes, and which of them are hidden.

    Attributes:
        others: Nearest agents.
        lanes: Lane points, at most 100.
        edges: Road-edge segments, at most 100.
        stops: Stop lines, at most 8.
        agent_range_m: Agents farther away are not observed (GIGAFLOW: 200 m).
        derived: Add derived features, for networks of a few ten thousand weights (our choice): others' positions
            relative to the own route and their closest approach, and road edges by their nearest points.
        hide_occluded: Leave out agents that other boxes occlude from a camera on the agent's roof.
        lane_dropout, edge_dropout: Share of lane points and road edges that are masked, drawn anew in every step
            (GIGAFLOW: 0.5 and 0.4); in training only.
        goal_dropout: Share of agents that do not observe their goals for a whole episode, only the route ahead
            (SPACeR); in training only.
        critic_time: The critic observes the remaining share of the episode.
    """

    others: int = 8
    lanes: int = 8
    edges: int = 8
    stops: int = 2
    agent_range_m: float = 80.0
    derived: bool = True
    hide_occluded: bool = False
    lane_dropout: float = 0.0
    edge_dropout: float = 0.0
    goal_dropout: float = 0.0
    critic_time: bool = False

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
        for name in _DROPOUTS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"observation {name}={getattr(self, name)} must lie in [0, 1)")

    def without_dropout(self) -> "ObservationConfig":
        """A copy without random masking, for driving rather than training."""
        return replace(self, lane_dropout=0.0, edge_dropout=0.0, goal_dropout=0.0)


_DROPOUTS = ("lane_dropout", "edge_dropout", "goal_dropout")
OBSERVATIONS = {
    "compact": ObservationConfig(),
    "lean": ObservationConfig(others=20, lanes=80, edges=40, stops=4, agent_range_m=200.0, derived=False),
    "full": ObservationConfig(others=63, lanes=100, edges=100, stops=4, agent_range_m=200.0, derived=False),
}
"""Configurations by name: for small networks on a CPU, GIGAFLOW's sets, and PufferDrive's counts."""


@struct.dataclass
class Observation:
    """One observation per agent. Beside each set is a mask of the rows that hold an object; the others are 0."""

    ego: ArrayField  # [..., 28]
    conditioning: ArrayField  # [..., NUM_TRAITS + 1]
    route: ArrayField  # [..., 4 * previews + 12]
    others: ArrayField  # [..., others, 12 or 18]
    others_mask: ArrayField  # [..., others] bool
    lanes: ArrayField  # [..., lanes, 5]
    lanes_mask: ArrayField  # [..., lanes] bool
    edges: ArrayField  # [..., edges, 5 or 4]
    edges_mask: ArrayField  # [..., edges] bool
    stops: ArrayField  # [..., stops, 11]
    stops_mask: ArrayField  # [..., stops] bool
    critic_time: ArrayField | None = None  # [..., 1], with ObservationConfig.critic_time


def example_observation(config: ObservationConfig) -> Observation:
    """An observation of zeros for one agent, leaves [1, ...], from which networks are initialised."""
    sets = {
        "others": (config.others, OTHERS_WIDTH + config.derived * DERIVED_WIDTH),
        "lanes": (config.lanes, LANES_WIDTH),
        "edges": (config.edges, EDGE_POINTS_WIDTH if config.derived else EDGES_WIDTH),
        "stops": (config.stops, STOPS_WIDTH),
    }
    flat = {"ego": EGO_WIDTH, "conditioning": NUM_TRAITS + 1, "route": 4 * (len(PREVIEW_M) + 2) + 4}
    leaves = {name: jnp.zeros((1, width)) for name, width in flat.items()}
    if config.critic_time:
        leaves["critic_time"] = jnp.zeros((1, 1))
    for name, (count, width) in sets.items():
        leaves[name] = jnp.zeros((1, count, width))
        leaves[f"{name}_mask"] = jnp.zeros((1, count), bool)
    return Observation(**leaves)


def observe(
    state: WorldState,
    atlas: RoadAtlas,
    simulator: SimulatorConfig,
    config: ObservationConfig,
    view: View | None = None,
) -> Observation:
    """Observations of all agents of one world, leaves [agents, ...]. Rows of inactive agents are finite, without
    meaning. With ``hide_occluded`` agents outside of ``view`` are hidden, too."""
    frame = EgoFrame.of(state)
    road = MapFrame.of(state, frame, simulator)
    row = table_rows(atlas, state.map_id, road.xy)
    candidates = atlas.stop_candidates[row]
    states = traffic_lights.line_states(state, candidates, atlas, simulator)
    others, others_mask = observe_others(
        state, frame, config.others, config.agent_range_m, config.derived, config.hide_occluded, view
    )
    if state.scenario.has_faults:
        others, others_mask = hide_others_from_blind(state, others, others_mask)
    kept = without_dropped(state, atlas.lane_candidates[row][:, : config.lanes], config.lane_dropout, salt=1)
    lanes, lanes_mask = observe_lanes(kept, road, atlas)
    edge_features = observe_edge_points if config.derived else observe_edges
    kept = without_dropped(state, atlas.edge_candidates[row][:, : config.edges], config.edge_dropout, salt=2)
    edges, edges_mask = edge_features(kept, road, atlas)
    stops, stops_mask = observe_stops(candidates[:, : config.stops], states[:, : config.stops], road, atlas)
    line = next_line(state, candidates, states, atlas, simulator)
    return Observation(
        ego=stack_columns(*_ego(state, frame, atlas, simulator), *line),
        conditioning=jnp.column_stack(
            [2.0 * state.scenario.traits - 1.0, state.scenario.goal_radius_m / 12.0]
        ),
        route=_route(state, frame, config.goal_dropout),
        others=others,
        others_mask=others_mask,
        lanes=lanes,
        lanes_mask=lanes_mask,
        edges=edges,
        edges_mask=edges_mask,
        stops=stops,
        stops_mask=stops_mask,
        critic_time=_time_left(state, simulator) if config.critic_time else None,
    )


def _time_left(state: WorldState, simulator: SimulatorConfig) -> Float[Array, "agents 1"]:
    """Remaining share of the episode."""
    left = 1.0 - state.step / simulator.episode_steps
    return jnp.broadcast_to(left, (state.yaw.shape[0], 1)).astype(jnp.float32)


def _ego(
    state: WorldState, frame: EgoFrame, atlas: RoadAtlas, simulator: SimulatorConfig
) -> list[Float[Array, " agents"]]:
    """Motion, size, heading and lateral offset on the route, dynamics gains, and the signed distances of the four
    corners to the road edge; each [agents], scaled."""
    scenario = state.scenario
    here = route_rows(scenario, nearest_station(scenario, state.route_m[:, None]))[:, 0]
    limit = here[:, 5]
    heading = frame.turn(here[:, 2:3], here[:, 3:4])
    edge_m = corner_edge_distance(state, atlas, simulator)
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
        state.speed / SPEED_SCALE_MPS,
        state.acceleration / 4.0,
        state.lateral_acceleration / 4.0,
        state.steering / 0.55,
        jnp.clip(state.route_offset_m / 2.0, -3.0, 3.0),
        limit / 20.0,
        (state.speed - limit) / SPEED_SCALE_MPS,
        jnp.minimum(state.stopped_s / 10.0, 2.0),
        scenario.size[:, 0] / 10.0,
        scenario.size[:, 1] / 3.0,
        *(value[:, 0] for value in heading),
        *gains,
        *jnp.clip(edge_m / 2.0, -1.0, 2.0).T,
    ]


def _route(state: WorldState, frame: EgoFrame, goal_dropout: float) -> Float[Array, "agents route"]:
    """Route points ahead and the next two goals (x, y, cos, sin each), the arc lengths left to the goals
    (/ POSITION_SCALE_M), and whether the goals exist (and are observed)."""
    scenario, agents = state.scenario, state.yaw.shape[0]
    goals = state.goal_index[:, None] + jnp.arange(2)
    exists = goals < scenario.num_goals[:, None]
    if goal_dropout > 0:
        exists = exists & knows_goals(state, goal_dropout)[:, None]
    goal_m = jnp.take_along_axis(scenario.goal_m, jnp.minimum(goals, scenario.goal_m.shape[1] - 1), axis=1)
    at_m = jnp.concatenate([state.route_m[:, None] + jnp.array(PREVIEW_M), goal_m], axis=1)
    station = route_rows(scenario, nearest_station(scenario, at_m))[..., :4]
    # The same as picking the columns `_STATION_LAYOUT.swapped()`; without scalars, reversing the pairs is cheaper.
    swapped = station.reshape(agents, -1, 2, 2)[..., ::-1].reshape(station.shape)
    shown = jnp.concatenate([jnp.ones((agents, len(PREVIEW_M)), bool), exists], axis=1)
    ego = jnp.clip(
        _STATION_LAYOUT.to_ego_frame(station, swapped, frame.pose(), frame.matrix, shown), -4.0, 4.0
    )
    left = jnp.clip((goal_m - state.route_m[:, None]) / POSITION_SCALE_M, -1.0, 4.0)
    left = jnp.where(exists, left, 0.0)
    return jnp.concatenate([ego.reshape(agents, -1), left, exists.astype(jnp.float32)], axis=1)


def observe_worlds(
    worlds: WorldState,
    atlas: RoadAtlas,
    simulator: SimulatorConfig,
    config: ObservationConfig,
    view: View | None = None,
) -> Observation:
    """`observe` of every world; leaves [worlds, agents, ...]."""
    return jax.vmap(lambda world: observe(world, atlas, simulator, config, view))(worlds)
