"""What a privileged driver knows, in its own frame (box centre, x forward, y left).

GIGAFLOW's groups: itself, its conditioning, its route and goals, other agents, lanes, road edges, stop lines with
their lights. Counts are settings; entities beyond a count are the farthest. Distances are scaled to about [-1, 1].

| field        | shape                | columns |
|--------------|----------------------|---------|
| ego          | [agents, EGO]        | see `_ego`: motion, body, gains, room to the road edge, next light |
| conditioning | [agents, TRAITS + 1] | driver traits in [-1, 1], goal radius |
| route        | [agents, ...]        | preview points (x, y, cos, sin), then two goals (x, y, distance left, exists) |
| others       | [agents, n, 18]      | see `_others`: pose, size, motion, place on the own route, closest approach |
| lanes        | [agents, n, 5]       | x, y, cos, sin, offset in height |
| edges        | [agents, n, 4]       | nearest point x, y, cos and sin of twice the angle (edges have no direction) |
| stops        | [agents, n, 9]       | x, y, cos, sin, half width, off, green, yellow, red |
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator import collision, lights
from simulator.atlas import RoadAtlas, coarse_cell, drivable_distance
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.world import TRAITS, Leaf, WorldState

PREVIEW_M = (2.0, 4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 60.0)
"""How far ahead on its route a driver looks (our choice: dense where it matters for steering)."""
NEAR_M = 30.0
"""Unit of length for positions."""
SPEED_UNIT_MPS = 10.0
CONFLICT_M = tuple(4.0 * i for i in range(16))
"""Where on the route ahead other agents are looked for."""
_LIGHT_STRIDE = 2  # stations between two looks along the route for the next stop line
LEVEL_GAP_M = 4.0
"""Lane points and agents farther above or below belong to another level of the road."""


@dataclass(frozen=True)
class ObservationConfig:
    """How much of each group a driver sees.

    Attributes:
        others: Nearest agents.
        lanes: Lane points, at most 16.
        edges: Road-edge segments, at most 16.
        stops: Stop lines, at most 8.
        agent_range_m: Agents farther away are not seen (GIGAFLOW: 200 m).
    """

    others: int = 8
    lanes: int = 8
    edges: int = 8
    stops: int = 2
    agent_range_m: float = 80.0

    def __post_init__(self) -> None:
        for name, most in (("others", 150), ("lanes", 16), ("edges", 16), ("stops", 8)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"observation {name}={getattr(self, name)} must lie between 1 and {most}")
        if self.agent_range_m <= 0:
            raise ValueError(f"observation agent_range_m={self.agent_range_m} must be positive")


@struct.dataclass
class Observation:
    """One observation per agent; sets carry a mask of the rows that hold something."""

    ego: Leaf  # [..., EGO]
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
        "others": (config.others, 18),
        "lanes": (config.lanes, 5),
        "edges": (config.edges, 4),
        "stops": (config.stops, 9),
    }
    flat = {"ego": 25, "conditioning": TRAITS + 1, "route": 4 * len(PREVIEW_M) + 8}
    leaves = {name: jnp.zeros((1, width)) for name, width in flat.items()}
    for name, (count, width) in sets.items():
        leaves[name] = jnp.zeros((1, count, width))
        leaves[f"{name}_mask"] = jnp.zeros((1, count), bool)
    return Observation(**leaves)


@struct.dataclass
class _Frame:
    """One agent's own frame."""

    xy: Leaf  # [2] m, world
    yaw: Leaf  # [] rad

    def point(self, xy: Array) -> Array:
        """World points [..., 2] seen from here, in units of NEAR_M."""
        return self.turn(xy - self.xy) / NEAR_M

    def turn(self, vector: Array) -> Array:
        """World vectors [..., 2] in this frame."""
        cos, sin = jnp.cos(self.yaw), jnp.sin(self.yaw)
        return jnp.stack(
            [vector[..., 0] * cos + vector[..., 1] * sin, -vector[..., 0] * sin + vector[..., 1] * cos],
            axis=-1,
        )

    def direction(self, yaw: Array) -> Array:
        """World yaws [...] as (cos, sin) [..., 2] in this frame."""
        return jnp.stack([jnp.cos(yaw - self.yaw), jnp.sin(yaw - self.yaw)], axis=-1)


def observe(
    state: WorldState, atlas: RoadAtlas, simulator: SimulatorConfig, config: ObservationConfig
) -> Observation:
    """Observations of all agents of one world. Rows of inactive agents are meaningless but finite."""
    agents = jnp.arange(state.yaw.shape[0])
    return jax.vmap(_observe_agent, (0, None, None, None, None))(agents, state, atlas, simulator, config)


def _observe_agent(
    agent: Int[Array, ""],
    state: WorldState,
    atlas: RoadAtlas,
    simulator: SimulatorConfig,
    config: ObservationConfig,
) -> Observation:
    frame = _Frame(xy=state.position[agent, :2], yaw=state.yaw[agent])
    height = state.position[agent, 2]
    cell = coarse_cell(atlas, state.map_id, frame.xy)
    others, others_mask = _others(agent, frame, state, config)
    lanes, lanes_mask = _lanes(frame, height, atlas.lane_point_candidates[cell, : config.lanes], atlas)
    edges, edges_mask = _edges(frame, atlas.edge_candidates[cell, : config.edges], atlas)
    candidates = atlas.stop_candidates[cell]
    states = lights.light_states(state, candidates, atlas, simulator)
    stops, stops_mask = _stops(frame, candidates[: config.stops], states[: config.stops], atlas)
    traits = 2.0 * state.scenario.traits[agent] - 1.0
    radius = state.scenario.goal_radius_m[agent] / 12.0
    return Observation(
        ego=_ego(agent, frame, state, atlas, candidates, states),
        conditioning=jnp.append(traits, radius),
        route=_route(agent, frame, state),
        others=others,
        others_mask=others_mask,
        lanes=lanes,
        lanes_mask=lanes_mask,
        edges=edges,
        edges_mask=edges_mask,
        stops=stops,
        stops_mask=stops_mask,
    )


def _station(route_m: Array, state: WorldState) -> Array:
    last = state.scenario.route_xyz.shape[1] - 1
    return jnp.clip(jnp.round(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)


def _ego(
    agent: Array, frame: _Frame, state: WorldState, atlas: RoadAtlas, stops: Array, states: Array
) -> Float[Array, " ego"]:
    scenario = state.scenario
    station = _station(state.route_m[agent], state)
    limit = scenario.route_limit_mps[agent, station]
    heading = frame.direction(scenario.route_yaw[agent, station])
    speed = state.speed[agent]
    size = scenario.size[agent]
    corners = collision.corners(frame.xy, frame.yaw, size)
    room = jax.vmap(drivable_distance, (None, None, 0))(atlas, state.map_id, corners)
    gains = jnp.stack(
        [
            scenario.throttle_gain[agent],
            scenario.steer_gain[agent],
            scenario.acceleration_gain[agent],
            scenario.speed_gain[agent],
        ]
    )
    motion = jnp.stack(
        [
            speed / SPEED_UNIT_MPS,
            state.acceleration[agent] / 4.0,
            state.lateral_acceleration[agent] / 4.0,
            state.steering[agent] / 0.55,
            jnp.clip(state.route_offset_m[agent] / 2.0, -3.0, 3.0),
            limit / 20.0,
            (speed - limit) / SPEED_UNIT_MPS,
            jnp.minimum(state.stopped_s[agent] / 10.0, 2.0),
            size[0] / 10.0,
            size[1] / 3.0,
        ]
    )
    light = _next_light(agent, state, stops, states, atlas)
    return jnp.concatenate([motion, heading, jnp.log(gains), jnp.clip(room / 2.0, -1.0, 2.0), light])


def _next_light(
    agent: Array, state: WorldState, stops: Array, states: Array, atlas: RoadAtlas
) -> Float[Array, " 5"]:
    """Distance from the front to the nearest lit stop line ahead on the own route, and its state one-hot (off,
    green, yellow, red). A line is on the route where the route crosses it in its direction."""
    scenario = state.scenario
    station = _station(state.route_m[agent], state)
    window = jnp.clip(station + _LIGHT_STRIDE * jnp.arange(13), 0, scenario.route_xyz.shape[1] - 1)
    ahead = scenario.route_xyz[agent, window, :2]
    past, aside = lights.line_coordinates(ahead[:, None], stops[None], atlas)  # [stations, stops]
    crosses = (past[:-1] < 0) & (past[1:] >= 0) & (aside[1:] < 1.0) & (stops >= 0)
    stride_m = _LIGHT_STRIDE * ROUTE_SPACING_M
    at_m = ROUTE_SPACING_M * window[:-1, None] + jnp.clip(-past[:-1], 0.0, stride_m)
    gap = at_m - state.route_m[agent] - 0.5 * scenario.size[agent, 0]
    gap = jnp.where(crosses & (gap > -0.5) & (states != lights.OFF), gap, jnp.inf).min(axis=0)
    nearest = jnp.argmin(gap)
    seen = jnp.isfinite(gap[nearest])
    colour = jnp.where(seen, states[nearest], lights.OFF)
    distance = jnp.where(seen, gap[nearest], 60.0) / NEAR_M
    return jnp.append(jax.nn.one_hot(colour, 4), distance)


def _route(agent: Array, frame: _Frame, state: WorldState) -> Float[Array, " route"]:
    scenario = state.scenario
    here = state.route_m[agent]
    stations = _station(here + jnp.array(PREVIEW_M), state)
    points = frame.point(scenario.route_xyz[agent, stations, :2])
    directions = frame.direction(scenario.route_yaw[agent, stations])
    goals = state.goal_index[agent] + jnp.arange(2)
    exists = goals < scenario.num_goals[agent]
    goal_m = scenario.goal_m[agent, jnp.minimum(goals, scenario.goal_m.shape[1] - 1)]
    goal_xy = frame.point(scenario.route_xyz[agent, _station(goal_m, state), :2])
    left = jnp.clip((goal_m - here) / NEAR_M, -1.0, 4.0)
    targets = jnp.concatenate([jnp.clip(goal_xy, -4.0, 4.0), left[:, None]], axis=-1) * exists[:, None]
    preview = jnp.concatenate([jnp.clip(points, -4.0, 4.0), directions], axis=-1)
    return jnp.concatenate([preview.ravel(), targets.ravel(), exists.astype(jnp.float32)])


def _others(agent: Array, frame: _Frame, state: WorldState, config: ObservationConfig) -> tuple[Array, Array]:
    """The nearest agents: x, y, cos, sin, length, width, relative velocity x, y, speed, standing, acceleration, yaw
    rate, then `_on_route` (4) and `_closest_approach` (2). What the last six say follows from the rest and the route;
    given outright, a network of a few ten thousand weights learns to yield."""
    offset = state.position - state.position[agent]
    distance = jnp.linalg.norm(offset[:, :2], axis=-1)
    seen = state.present & (jnp.arange(distance.shape[0]) != agent) & (distance < config.agent_range_m)
    seen = seen & (jnp.abs(offset[:, 2]) < LEVEL_GAP_M)
    count = min(config.others, distance.shape[0])
    _, index = jax.lax.top_k(jnp.where(seen, -distance, -jnp.inf), count)
    index = jnp.pad(index, (0, config.others - count))
    mask = seen[index] & (jnp.arange(config.others) < count)
    velocity = state.speed[:, None] * jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw)], axis=-1)
    relative = velocity[index] - velocity[agent]
    size, speed = state.scenario.size[index], state.speed[index]
    yaw_rate = state.lateral_acceleration[index] / jnp.maximum(jnp.abs(speed), 1.0)
    columns = [
        frame.point(state.position[index, :2]),
        frame.direction(state.yaw[index]),
        size[:, :1] / 10.0,
        size[:, 1:2] / 3.0,
        frame.turn(relative) / SPEED_UNIT_MPS,
        speed[:, None] / SPEED_UNIT_MPS,
        jnp.minimum(state.stopped_s[index, None] / 10.0, 1.0),
        state.acceleration[index, None] / 4.0,
        jnp.clip(yaw_rate, -1.0, 1.0)[:, None],
        _on_route(agent, state, index),
        _closest_approach(offset[index, :2], relative),
    ]
    return jnp.concatenate(columns, axis=-1) * mask[:, None], mask


def _on_route(agent: Array, state: WorldState, others: Int[Array, " others"]) -> Float[Array, "others 4"]:
    """Where others are relative to the own route ahead: distance along it (/ NEAR_M), offset to its left (/ 5 m, at
    most 2), cos and sin of their heading against it, all at the nearest of the points CONFLICT_M ahead."""
    scenario = state.scenario
    stations = _station(state.route_m[agent] + jnp.array(CONFLICT_M), state)
    gap = state.position[others, None, :2] - scenario.route_xyz[agent, stations, :2]  # [others, points, 2]
    nearest = jnp.argmin(jnp.sum(gap**2, axis=-1), axis=-1)
    yaw = scenario.route_yaw[agent, stations[nearest]]
    gap = jnp.take_along_axis(gap, nearest[:, None, None], axis=1)[:, 0]
    left = gap[:, 1] * jnp.cos(yaw) - gap[:, 0] * jnp.sin(yaw)
    turned = state.yaw[others] - yaw
    columns = [
        jnp.array(CONFLICT_M)[nearest] / NEAR_M,
        jnp.clip(left / 5.0, -2.0, 2.0),
        jnp.cos(turned),
        jnp.sin(turned),
    ]
    return jnp.stack(columns, axis=-1)


def _closest_approach(
    offset: Float[Array, "others 2"], relative: Float[Array, "others 2"]
) -> Float[Array, "others 2"]:
    """If both kept their velocities: time until the centres are nearest (/ 4 s, at most 2), and their distance then
    (/ 10 m, at most 2)."""
    closing = -jnp.sum(offset * relative, axis=-1) / jnp.maximum(jnp.sum(relative**2, axis=-1), 0.01)
    time = jnp.clip(closing, 0.0, 8.0)
    distance = jnp.linalg.norm(offset + time[:, None] * relative, axis=-1)
    return jnp.stack([time / 4.0, jnp.minimum(distance / 10.0, 2.0)], axis=-1)


def _lanes(frame: _Frame, height: Array, points: Array, atlas: RoadAtlas) -> tuple[Array, Array]:
    safe = jnp.maximum(points, 0)
    rise = atlas.point_xyz[safe, 2] - height
    mask = (points >= 0) & (jnp.abs(rise) < LEVEL_GAP_M)
    columns = [
        frame.point(atlas.point_xyz[safe, :2]),
        frame.direction(atlas.point_yaw[safe]),
        rise[:, None] / LEVEL_GAP_M,
    ]
    return jnp.concatenate(columns, axis=-1) * mask[:, None], mask


def _edges(frame: _Frame, segments: Array, atlas: RoadAtlas) -> tuple[Array, Array]:
    mask = segments >= 0
    ends = atlas.edge_segments[jnp.maximum(segments, 0)]
    start, along = ends[:, :2], ends[:, 2:] - ends[:, :2]
    share = jnp.sum((frame.xy - start) * along, axis=-1) / jnp.maximum(jnp.sum(along**2, axis=-1), 1e-6)
    nearest = start + jnp.clip(share, 0.0, 1.0)[:, None] * along
    angle = 2.0 * (jnp.arctan2(along[:, 1], along[:, 0]) - frame.yaw)
    columns = [frame.point(nearest), jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]]
    return jnp.concatenate(columns, axis=-1) * mask[:, None], mask


def _stops(frame: _Frame, stops: Array, states: Array, atlas: RoadAtlas) -> tuple[Array, Array]:
    mask = stops >= 0
    safe = jnp.maximum(stops, 0)
    ends = atlas.stop_xyz[safe][..., :2]
    half_width = 0.5 * jnp.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    columns = [
        frame.point(ends.mean(axis=1)),
        frame.direction(atlas.stop_yaw[safe]),
        half_width[:, None] / NEAR_M,
        jax.nn.one_hot(states, 4),
    ]
    return jnp.concatenate(columns, axis=-1) * mask[:, None], mask
