"""The intelligent driver model along a route (Treiber, Hennecke, Helbing 2000, Phys. Rev. E 62, 1805).

With speed v, wanted speed v0, gap s to a leader that moves along the route at v_l:

    s* = s0 + max(0, v T + v (v - v_l) / (2 sqrt(a b)))
    dv/dt = a (1 - (v / v0)^4 - (s* / s)^2),  not below the hardest braking
    v' = max(0, v + dv/dt * dt),  the agent advances (v + v') / 2 * dt along its route, at its lateral offset

Leaders are all present agents on the same level inside the corridor that the agent will sweep, red lights, yellow ones
at which it can stop comfortably, and the end of the route where the agent is to stay there; the one that asks for the
hardest braking counts (the nearest, but for rare cases in which a farther one is more urgent). Ours: the wanted speed
also respects bends and lower limits ahead, so that it can be reached by half of the comfortable deceleration.

An agent that overlaps another stands still for as long as it does: its crash with an agent that stays is for good, and
a recorded car that drives through it, blind as it is, does not leave a wreck behind. It never backs up, never leaves
its route, and vanishes at its last goal. A leader is where it is now; nobody's intentions are guessed.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator import collision, traffic_lights
from simulator.agents.baselines import IDM_BASELINE, driven_by
from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import in_world, on_map
from simulator.atlas.road_atlas import RoadAtlas, table_rows
from simulator.config import ROUTE_SPACING_M, IdmConfig, SimulatorConfig
from simulator.conventions import LEVEL_GAP_M, RED, YELLOW
from simulator.dynamics.bicycle import MAX_SPEED, wrap_angle
from simulator.state import IDM, WorldState, nearest_station, route_rows, turns

POINT_M = 4.0
"""Distance between the points of a corridor, two stations."""
POINTS = 24
"""Points of a corridor: 92 m, what it takes to stop from 16 m/s by the model."""
_EXPONENT = 4
_NEAREST_M = 0.1
"""Gaps count as at least this: the model divides by them."""
_SLOWEST_MPS = 0.5
"""Least wanted speed."""


@struct.dataclass
class Corridor:
    """Points of every agent's route ahead, POINT_M apart from the nearest station on; fields [agents, points]."""

    x: ArrayField  # m, world
    y: ArrayField  # m, world
    cos: ArrayField  # of the route's heading
    sin: ArrayField
    along: ArrayField  # m along the route
    limit: ArrayField  # m/s

    @classmethod
    def of(cls, state: WorldState) -> "Corridor":
        scenario = state.scenario
        ahead = state.route_m[:, None] + POINT_M * jnp.arange(POINTS)
        station = nearest_station(scenario, ahead)
        x, y, cos, sin, _, limit = jnp.moveaxis(route_rows(scenario, station), -1, 0)
        return cls(x=x, y=y, cos=cos, sin=sin, along=station * ROUTE_SPACING_M, limit=limit)


@struct.dataclass
class Place:
    """Where places are in the agents' corridors; fields [agents, n]."""

    along: ArrayField  # m along the route
    aside: ArrayField  # m left of the route
    cos: ArrayField  # of the route's heading there
    sin: ArrayField
    inside: ArrayField  # bool: between the corridor's ends


def locate(corridor: Corridor, x: Float[Array, "#agents n"], y: Float[Array, "#agents n"]) -> Place:
    """Projects places (m, world) on the nearest point of each agent's corridor."""
    shape = (corridor.x.shape[0], x.shape[1])
    nearest, best = jnp.zeros(shape, jnp.int32), jnp.full(shape, jnp.inf)
    for number in range(POINTS):
        squared = (x - corridor.x[:, number, None]) ** 2 + (y - corridor.y[:, number, None]) ** 2
        nearest = jnp.where(squared < best, number, nearest)
        best = jnp.minimum(squared, best)

    def pick(values: Array) -> Array:
        return jnp.take_along_axis(values, nearest, axis=1)

    cos, sin = pick(corridor.cos), pick(corridor.sin)
    right, up = x - pick(corridor.x), y - pick(corridor.y)
    forward = right * cos + up * sin
    return Place(
        along=pick(corridor.along) + forward,
        aside=up * cos - right * sin,
        cos=cos,
        sin=sin,
        inside=jnp.abs(forward) <= POINT_M,
    )


def drive(before: WorldState, moved: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """``moved`` with its IDM agents one step further along their routes; all of them react to ``before``.

    Those that the model drives as a baseline move alike; what becomes of them is for `step` to judge.
    """
    own = (before.scenario.control == IDM) & before.present
    drives = own | driven_by(before, IDM_BASELINE)
    acceleration = accelerations(before, atlas, config)
    speed = jnp.maximum(before.speed + acceleration * config.timestep_s, 0.0)
    crashed = collision.collides(before.position, before.yaw, before.scenario.size, before.present)
    speed = jnp.where(crashed, 0.0, speed)
    advance = jnp.where(crashed, 0.0, 0.5 * (before.speed + speed) * config.timestep_s)
    end, leaves = route_end(before)
    route_m = jnp.minimum(before.route_m + jnp.maximum(advance, 0.0), jnp.maximum(end, before.route_m))
    position, yaw = pose_on_route(before, route_m)
    stands = route_m == before.route_m  # not a hair's breadth away by interpolation
    position = jnp.where(stands[:, None], before.position, position)
    yaw = jnp.where(stands, before.yaw, yaw)
    turned = wrap_angle(yaw - before.yaw) / config.timestep_s

    def put(new: Array, old: Array) -> Array:
        return jnp.where(drives.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return moved.replace(
        position=put(position, moved.position),
        yaw=put(yaw, moved.yaw),
        speed=put(speed, moved.speed),
        acceleration=put((speed - before.speed) / config.timestep_s, moved.acceleration),
        lateral_acceleration=put(speed * turned, moved.lateral_acceleration),
        steering=put(jnp.zeros_like(speed), moved.steering),
        route_m=put(route_m, moved.route_m),
        present=moved.present & ~(own & leaves & (route_m >= end)),
    )


def route_end(state: WorldState) -> tuple[Float[Array, " agents"], Bool[Array, " agents"]]:
    """Where each agent's drive ends (m along its route), and whether it vanishes there.

    That is its last goal. An agent without goals stands at its first goal's place instead of vanishing.
    """
    scenario = state.scenario
    last = jnp.maximum(scenario.num_goals - 1, 0)
    return jnp.take_along_axis(scenario.goal_m, last[:, None], axis=1)[:, 0], scenario.num_goals > 0


def accelerations(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> Float[Array, " agents"]:
    """What the model asks of every agent (m/s2), whoever drives it."""
    rules, speed = config.idm, state.speed
    corridor = Corridor.of(state)
    gain = jnp.minimum(state.scenario.acceleration_gain, 1.5)
    strongest = rules.acceleration_mps2 * gain
    free = (speed / wanted_speed(state, corridor, rules)) ** _EXPONENT
    standing = jnp.minimum(_gap_to_light(state, corridor, atlas, config), _gap_to_end(state, rules))
    blocked = _urgency(speed, standing, speed, strongest, rules)
    gap, closing = _gaps_to_agents(state, corridor, rules)
    others = _urgency(speed[:, None], gap, closing, strongest[:, None], rules)
    blocked = jnp.maximum(blocked, others.max(axis=1))
    return jnp.maximum(strongest * (1.0 - free - blocked), -rules.hardest_braking_mps2)


def _urgency(speed: Array, gap: Array, closing: Array, strongest: Array, rules: IdmConfig) -> Array:
    """(s* / s)^2; zero for a gap of infinity. ``closing`` is how much faster than the leader the agent is (m/s)."""
    brake = closing / (2.0 * jnp.sqrt(strongest * rules.deceleration_mps2))
    wanted = rules.jam_distance_m + jnp.maximum(speed * (rules.headway_s + brake), 0.0)
    return (wanted / jnp.maximum(gap, _NEAREST_M)) ** 2


def wanted_speed(state: WorldState, corridor: Corridor, rules: IdmConfig) -> Float[Array, " agents"]:
    """The speed (m/s) to drive at on a free road: limits and bends, here and ahead, and what the body can do."""
    bend = jnp.abs(turns(corridor.cos, corridor.sin)) / POINT_M  # 1/m, from each point to the next
    bend = jnp.pad(bend, ((0, 0), (0, 1)))
    there = jnp.minimum(corridor.limit, jnp.sqrt(rules.bend_mps2 / jnp.maximum(bend, 1e-4)))
    left = jnp.maximum(corridor.along - state.route_m[:, None], 0.0)
    here = jnp.sqrt(there**2 + rules.deceleration_mps2 * left).min(axis=1)
    return jnp.maximum(jnp.minimum(here, MAX_SPEED * state.scenario.speed_gain), _SLOWEST_MPS)


def _gaps_to_agents(
    state: WorldState, corridor: Corridor, rules: IdmConfig
) -> tuple[Float[Array, "agents agents"], Float[Array, "agents agents"]]:
    """Gap (m, infinite for those that are no leader) between agents' boxes, and how fast it closes (m/s)."""
    size, x, y = state.scenario.size, state.position[:, 0], state.position[:, 1]
    place = locate(corridor, x[None], y[None])
    own_cos, own_sin = jnp.cos(state.yaw), jnp.sin(state.yaw)
    cos = own_cos * place.cos + own_sin * place.sin  # of j's heading against i's route
    sin = own_sin * place.cos - own_cos * place.sin
    reach = 0.5 * (size[:, 0] * jnp.abs(cos) + size[:, 1] * jnp.abs(sin))  # half of j's box along i's route
    spread = 0.5 * (size[:, 0] * jnp.abs(sin) + size[:, 1] * jnp.abs(cos))  # and across it
    apart = jnp.abs(place.aside - state.route_offset_m[:, None])
    ahead = place.along - state.route_m[:, None]
    level = jnp.abs(state.position[:, 2, None] - state.position[:, 2]) < LEVEL_GAP_M
    leads = place.inside & (apart < 0.5 * size[:, 1, None] + spread + rules.margin_m) & (ahead > 0)
    leads = leads & level & state.present & ~jnp.eye(len(x), dtype=bool)
    gap = jnp.where(leads, ahead - 0.5 * size[:, 0, None] - reach, jnp.inf)
    return gap, state.speed[:, None] - state.speed[None] * cos


def _gap_to_light(
    state: WorldState, corridor: Corridor, atlas: RoadAtlas, config: SimulatorConfig
) -> Float[Array, " agents"]:
    """Room (m) between each agent's front and the nearest stop line ahead at which it has to stop, else infinite."""
    own = on_map(state.scenario, state.position[:, :2], config)
    rows = table_rows(atlas, state.map_id, own)
    stops: Int[Array, "agents stops"] = atlas.stop_candidates[rows]
    line = atlas.stop_line[jnp.maximum(stops, 0)]
    x, y = jnp.moveaxis(in_world(state.scenario, line[..., :2], config), -1, 0)
    cos, sin = jnp.moveaxis(in_world(state.scenario, line[..., 2:4], config), -1, 0)
    half_width = line[..., 4]
    height = atlas.stop_xyz[jnp.maximum(stops, 0), 0, 2]
    place = locate(corridor, x, y)
    same_way = place.cos * cos + place.sin * sin > 0.7
    level = jnp.abs(state.position[:, 2, None] - height) < 2 * LEVEL_GAP_M
    on_route = place.inside & same_way & level & (jnp.abs(place.aside) < 1.1 * half_width) & (stops >= 0)
    gap = place.along - state.route_m[:, None] - 0.5 * state.scenario.size[:, 0, None]
    colour = traffic_lights.light_states(state, stops, atlas, config)
    stopping = state.speed[:, None] ** 2 / (2.0 * config.idm.deceleration_mps2)
    holds = (colour == RED) | ((colour == YELLOW) & (gap > stopping))
    return jnp.where(on_route & holds & (gap > 0), gap, jnp.inf).min(axis=1)


def _gap_to_end(state: WorldState, rules: IdmConfig) -> Float[Array, " agents"]:
    """Room (m) to the end of the route for agents that are to stand there, else infinite."""
    end, leaves = route_end(state)
    return jnp.where(leaves, jnp.inf, end - state.route_m + rules.jam_distance_m)


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
