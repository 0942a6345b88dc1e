"""The intelligent driver model along a route (Treiber, Hennecke, Helbing 2000, Phys. Rev. E 62, 1805).

With speed v, wanted speed v0, gap s to a leader that moves along the route at v_l:

    s* = s0 + max(0, v T + v (v - v_l) / (2 sqrt(a b)))
    dv/dt = a (1 - (v / v0)^4 - (s* / s)^2),  not below the hardest braking
    v' = max(0, v + dv/dt * dt),  the agent advances (v + v') / 2 * dt along its route, at its lateral offset

Leaders are all present agents on the same level inside the corridor that the agent will sweep, red lights, yellow
lights at which it can stop comfortably, and the end of the route where the agent is to stop there. The leader that
requires the hardest braking counts (mostly the nearest; in rare cases a farther one is more urgent). Our addition: the
wanted speed also respects bends and lower limits ahead, so that it can be reached with half of the comfortable
deceleration.

An agent that overlaps another stands still for as long as it does. Its crash with an agent that stays is therefore
permanent, while a replayed car that drives through it does not leave a wreck. An IDM agent never reverses, never leaves
its route, and is removed at its last goal. Leaders are taken where they are now; their intentions are not predicted.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator import collision, traffic_lights
from simulator.agents.baselines import IDM_BASELINE, driven_by
from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import in_world, on_map
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import ROUTE_SPACING_M, IdmConfig, SimulatorConfig
from simulator.conventions import LEVEL_GAP_M, RED, YELLOW
from simulator.dynamics.bicycle import MAX_SPEED
from simulator.state import IDM, WorldState, nearest_station, route_rows, turns

CORRIDOR_POINT_M = 4.0
"""Distance between the points of a corridor: two stations."""
CORRIDOR_POINTS = 24
"""Points of a corridor: 92 m, the distance in which the model stops from 16 m/s."""
_EXPONENT = 4
_LEAST_GAP_M = 0.1
"""Smaller gaps count as this: the model divides by them."""
_LEAST_WANTED_SPEED_MPS = 0.5


@struct.dataclass
class Corridor:
    """Points of every agent's route ahead, CORRIDOR_POINT_M apart, starting at the nearest station; fields [agents,
    points]."""

    x: ArrayField  # m, world
    y: ArrayField  # m, world
    cos: ArrayField  # of the route's heading
    sin: ArrayField
    arc_m: ArrayField  # arc length along the route
    limit_mps: ArrayField

    @classmethod
    def of(cls, state: WorldState) -> "Corridor":
        """The corridors of one world's agents."""
        scenario = state.scenario
        ahead = state.route_m[:, None] + CORRIDOR_POINT_M * jnp.arange(CORRIDOR_POINTS)
        station = nearest_station(scenario, ahead)
        x, y, cos, sin, _, limit = jnp.moveaxis(route_rows(scenario, station), -1, 0)
        return cls(x=x, y=y, cos=cos, sin=sin, arc_m=station * ROUTE_SPACING_M, limit_mps=limit)


@struct.dataclass
class RoutePosition:
    """Positions relative to the agents' routes; fields [agents, n]."""

    arc_m: ArrayField  # arc length along the route
    lateral_m: ArrayField  # lateral offset from the route, left positive
    cos: ArrayField  # of the route's heading there
    sin: ArrayField
    inside: ArrayField  # bool: between the ends of the corridor


def project_on_corridor(
    corridor: Corridor, x: Float[Array, "#agents n"], y: Float[Array, "#agents n"]
) -> RoutePosition:
    """Projects positions (m, world) on the tangent at the nearest point of each agent's corridor."""
    shape = (corridor.x.shape[0], x.shape[1])
    nearest, best = jnp.zeros(shape, jnp.int32), jnp.full(shape, jnp.inf)
    for number in range(CORRIDOR_POINTS):
        squared = (x - corridor.x[:, number, None]) ** 2 + (y - corridor.y[:, number, None]) ** 2
        nearest = jnp.where(squared < best, number, nearest)
        best = jnp.minimum(squared, best)

    def pick(values: Array) -> Array:
        return jnp.take_along_axis(values, nearest, axis=1)

    cos, sin = pick(corridor.cos), pick(corridor.sin)
    east, north = x - pick(corridor.x), y - pick(corridor.y)
    forward = east * cos + north * sin
    return RoutePosition(
        arc_m=pick(corridor.arc_m) + forward,
        lateral_m=north * cos - east * sin,
        cos=cos,
        sin=sin,
        inside=jnp.abs(forward) <= CORRIDOR_POINT_M,
    )


def advance(
    state: WorldState, next_state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> WorldState:
    """``next_state`` with its IDM agents one step further along their routes; all of them react to ``state``.

    Agents that the model drives as a baseline move in the same way; `simulator.step.step` detects their collisions,
    off-road events and arrivals.
    """
    own = (state.scenario.control == IDM) & state.present
    drives = own | driven_by(state, IDM_BASELINE)
    acceleration = accelerations(state, atlas, config)
    speed = jnp.maximum(state.speed + acceleration * config.timestep_s, 0.0)
    crashed = collision.collides(state.position, state.yaw, state.scenario.size, state.present)
    speed = jnp.where(crashed, 0.0, speed)
    distance = jnp.where(crashed, 0.0, 0.5 * (state.speed + speed) * config.timestep_s)
    end, leaves = route_end(state)
    route_m = jnp.minimum(state.route_m + jnp.maximum(distance, 0.0), jnp.maximum(end, state.route_m))
    position, yaw = pose_on_route(state, route_m)
    stands = route_m == state.route_m  # exactly, without the rounding of the interpolation
    position = jnp.where(stands[:, None], state.position, position)
    yaw = jnp.where(stands, state.yaw, yaw)
    turned = wrap_angle(yaw - state.yaw) / config.timestep_s

    def put(new: Array, old: Array) -> Array:
        return jnp.where(drives.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return next_state.replace(
        position=put(position, next_state.position),
        yaw=put(yaw, next_state.yaw),
        speed=put(speed, next_state.speed),
        acceleration=put((speed - state.speed) / config.timestep_s, next_state.acceleration),
        lateral_acceleration=put(speed * turned, next_state.lateral_acceleration),
        steering=put(jnp.zeros_like(speed), next_state.steering),
        route_m=put(route_m, next_state.route_m),
        present=next_state.present & ~(own & leaves & (route_m >= end)),
    )


def route_end(state: WorldState) -> tuple[Float[Array, " agents"], Bool[Array, " agents"]]:
    """Arc length (m) of the end of each agent's drive, and whether the agent is removed there.

    The end is its last goal. An agent without goals stops at the position of its first goal and stays.
    """
    scenario = state.scenario
    last = jnp.maximum(scenario.num_goals - 1, 0)
    return jnp.take_along_axis(scenario.goal_m, last[:, None], axis=1)[:, 0], scenario.num_goals > 0


def accelerations(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Float[Array, " agents"]:
    """Acceleration (m/s2) of the model for every agent, whatever its controller."""
    idm, speed = config.idm, state.speed
    corridor = Corridor.of(state)
    gain = jnp.minimum(state.scenario.acceleration_gain, 1.5)
    most_mps2 = idm.acceleration_mps2 * gain
    free = (speed / wanted_speed(state, corridor, idm)) ** _EXPONENT
    gap_to_stop = jnp.minimum(_gap_to_light(state, corridor, atlas, config), _gap_to_end(state, idm))
    blocked = _interaction(speed, gap_to_stop, speed, most_mps2, idm)
    gap, closing = _gaps_to_agents(state, corridor, idm)
    others = _interaction(speed[:, None], gap, closing, most_mps2[:, None], idm)
    blocked = jnp.maximum(blocked, others.max(axis=1))
    return jnp.maximum(most_mps2 * (1.0 - free - blocked), -idm.hardest_braking_mps2)


def _interaction(speed: Array, gap: Array, closing: Array, most_mps2: Array, idm: IdmConfig) -> Array:
    """(s* / s)^2 of the model; 0 for an infinite gap. ``closing`` is the speed (m/s) at which the gap shrinks."""
    brake = closing / (2.0 * jnp.sqrt(most_mps2 * idm.deceleration_mps2))
    wanted = idm.jam_distance_m + jnp.maximum(speed * (idm.headway_s + brake), 0.0)
    return (wanted / jnp.maximum(gap, _LEAST_GAP_M)) ** 2


def wanted_speed(state: WorldState, corridor: Corridor, idm: IdmConfig) -> Float[Array, " agents"]:
    """Wanted speed (m/s) on a free road: the least of speed limits and bends, here and ahead, and the agent's top
    speed."""
    bend = jnp.abs(turns(corridor.cos, corridor.sin)) / CORRIDOR_POINT_M  # 1/m, from each point to the next
    bend = jnp.pad(bend, ((0, 0), (0, 1)))
    there = jnp.minimum(corridor.limit_mps, jnp.sqrt(idm.bend_mps2 / jnp.maximum(bend, 1e-4)))
    left = jnp.maximum(corridor.arc_m - state.route_m[:, None], 0.0)
    here = jnp.sqrt(there**2 + idm.deceleration_mps2 * left).min(axis=1)
    return jnp.maximum(jnp.minimum(here, MAX_SPEED * state.scenario.speed_gain), _LEAST_WANTED_SPEED_MPS)


def _gaps_to_agents(
    state: WorldState, corridor: Corridor, idm: IdmConfig
) -> tuple[Float[Array, "agents agents"], Float[Array, "agents agents"]]:
    """Gap (m) from agent i to the box of j along i's route at [i, j], infinite where j is not a leader of i, and the
    speed (m/s) at which it shrinks."""
    size, x, y = state.scenario.size, state.position[:, 0], state.position[:, 1]
    other = project_on_corridor(corridor, x[None], y[None])
    own_cos, own_sin = jnp.cos(state.yaw), jnp.sin(state.yaw)
    cos = own_cos * other.cos + own_sin * other.sin  # of j's heading relative to i's route
    sin = own_sin * other.cos - own_cos * other.sin
    reach = 0.5 * (
        size[:, 0] * jnp.abs(cos) + size[:, 1] * jnp.abs(sin)
    )  # half extent of j's box along i's route
    side_reach = 0.5 * (size[:, 0] * jnp.abs(sin) + size[:, 1] * jnp.abs(cos))  # and across it
    apart = jnp.abs(other.lateral_m - state.route_offset_m[:, None])
    ahead = other.arc_m - state.route_m[:, None]
    level = jnp.abs(state.position[:, 2, None] - state.position[:, 2]) < LEVEL_GAP_M
    leads = other.inside & (apart < 0.5 * size[:, 1, None] + side_reach + idm.margin_m) & (ahead > 0)
    leads = leads & level & state.present & ~jnp.eye(len(x), dtype=bool)
    gap = jnp.where(leads, ahead - 0.5 * size[:, 0, None] - reach, jnp.inf)
    return gap, state.speed[:, None] - state.speed[None] * cos


def _gap_to_light(
    state: WorldState, corridor: Corridor, atlas: RoadAtlas, config: SimulatorConfig
) -> Float[Array, " agents"]:
    """Distance (m) from each agent's front to the nearest stop line ahead at which it has to stop; infinite without
    one."""
    own = on_map(state.scenario, state.position[:, :2], config)
    rows = table_rows(atlas, state.map_id, own)
    stops: Int[Array, "agents stops"] = atlas.stop_candidates[rows]
    line = atlas.stop_line[jnp.maximum(stops, 0)]
    x, y = jnp.moveaxis(in_world(state.scenario, line[..., :2], config), -1, 0)
    cos, sin = jnp.moveaxis(in_world(state.scenario, line[..., 2:4], config), -1, 0)
    half_width = line[..., 4]
    height = atlas.stop_xyz[jnp.maximum(stops, 0), 0, 2]
    at_line = project_on_corridor(corridor, x, y)
    same_way = at_line.cos * cos + at_line.sin * sin > 0.7
    level = jnp.abs(state.position[:, 2, None] - height) < 2 * LEVEL_GAP_M
    on_route = (
        at_line.inside & same_way & level & (jnp.abs(at_line.lateral_m) < 1.1 * half_width) & (stops >= 0)
    )
    gap = at_line.arc_m - state.route_m[:, None] - 0.5 * state.scenario.size[:, 0, None]
    colour = traffic_lights.light_states(state, stops, atlas, config)
    stopping = state.speed[:, None] ** 2 / (2.0 * config.idm.deceleration_mps2)
    holds = (colour == RED) | ((colour == YELLOW) & (gap > stopping))
    return jnp.where(on_route & holds & (gap > 0), gap, jnp.inf).min(axis=1)


def _gap_to_end(state: WorldState, idm: IdmConfig) -> Float[Array, " agents"]:
    """Distance (m) to the end of the route, plus the jam distance, for agents that stop there; infinite for others."""
    end, leaves = route_end(state)
    return jnp.where(leaves, jnp.inf, end - state.route_m + idm.jam_distance_m)


def pose_on_route(
    state: WorldState, route_m: Float[Array, " agents"]
) -> tuple[Float[Array, "agents 3"], Float[Array, " agents"]]:
    """Position (m, world) and yaw (rad) at ``route_m`` along each agent's route, at its lateral offset."""
    scenario = state.scenario
    last = scenario.route.shape[1] - 2
    below = jnp.clip(jnp.floor(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)[:, None]
    share = jnp.clip(route_m / ROUTE_SPACING_M - below[:, 0], 0.0, 1.0)
    pair = jnp.concatenate([below, below + 1], axis=1)
    rows = route_rows(scenario, pair)
    xyz, cos, sin = rows[..., jnp.array([0, 1, 4])], rows[..., 2], rows[..., 3]
    yaw = wrap_angle(jnp.arctan2(sin[:, 0], cos[:, 0]) + share * turns(cos, sin)[:, 0])
    left = jnp.stack([-jnp.sin(yaw), jnp.cos(yaw), jnp.zeros_like(yaw)], axis=-1)
    middle = xyz[:, 0] + share[:, None] * (xyz[:, 1] - xyz[:, 0])
    return middle + state.route_offset_m[:, None] * left, yaw
