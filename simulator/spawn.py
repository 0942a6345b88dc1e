"""How an episode begins: routes on the lane graph, goals along them, bodies, and places without overlap.

A route is a walk on the lane graph (successor lanes, now and then a change to a neighbouring lane), sampled every
2 m. Goals lie on it, so each can be reached by construction and no shortest-path table is needed: the cost does not
depend on the size of the map. Body sizes and dynamics gains follow GIGAFLOW; the shares of kinds are our choice.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.dynamics import wrap_angle
from simulator.infractions.conduct import blank_conduct
from simulator.world import CAR, CYCLIST, PEDESTRIAN, TRAITS, TRUCK, Leaf, Scenario, WorldState

ROUTE_LANES = 40
"""Lanes a walk may visit; the rest of a route that needs more is cut off."""
PLACE_TRIES = 12
"""Random places tried per agent before it is left out of the world."""
SPAWN_GAP_M = 4.0
METRES_PER_AGENT = 15.0
"""Road an agent needs; a town that has less per agent is refused."""

# Least and greatest length, width and height of each kind, metres (our choice within GIGAFLOW's 0.8 to 7 x 0.8 to 3).
_LEAST = {CAR: (3.8, 1.7, 1.4), TRUCK: (6.0, 2.2, 2.6), CYCLIST: (1.6, 0.8, 1.6), PEDESTRIAN: (0.8, 0.8, 1.6)}
_GREATEST = {
    CAR: (5.2, 2.1, 1.9),
    TRUCK: (9.0, 2.6, 3.6),
    CYCLIST: (1.9, 0.8, 1.9),
    PEDESTRIAN: (0.8, 0.8, 1.9),
}
# Speed caps relative to dynamics.MAX_SPEED: a pedestrian tops out at 2 m/s, a cyclist at 7 m/s.
_SPEED_SCALE = (1.0, 0.8, 0.35, 0.1)


@struct.dataclass
class _Bodies:
    """Sizes and dynamics of a world's agents."""

    kind: Leaf  # [agents] int32
    size: Leaf  # [agents, 3] m
    throttle_gain: Leaf  # [agents]
    steer_gain: Leaf  # [agents]
    acceleration_gain: Leaf  # [agents]
    speed_gain: Leaf  # [agents]


@struct.dataclass
class _Walk:
    """A walk on the lane graph."""

    lane: Leaf  # [ROUTE_LANES] int32
    blend: Leaf  # [ROUTE_LANES] int32: the lane it ends on; equal to ``lane`` without a lane change
    end_m: Leaf  # [ROUTE_LANES] m: walk length at the end of each lane, from the first lane's start


def check_capacity(atlas: RoadAtlas, num_agents: int) -> None:
    """Raises ValueError when a town has too little road for ``num_agents``."""
    for name, length in zip(atlas.names, atlas.map_length_m.tolist(), strict=True):
        room = int(length / METRES_PER_AGENT)
        if num_agents > room:
            raise ValueError(
                f"num_agents={num_agents} is more than the {length:.0f} m of lanes in {name} can hold; "
                f"at most {room} agents fit there"
            )


def _mixed_uniform(key: Array, shape: tuple[int, ...], bound: float) -> Array:
    """GIGAFLOW's X(a): half uniform on [1/a, 1], half uniform on [1, a]."""
    side_key, value_key = jax.random.split(key)
    low = jax.random.bernoulli(side_key, shape=shape)
    uniform = jax.random.uniform(value_key, shape)
    return jnp.where(low, 1 / bound + (1 - 1 / bound) * uniform, 1 + (bound - 1) * uniform)


def _sample_bodies(key: Array, config: SimulatorConfig) -> _Bodies:
    keys = jax.random.split(key, 6)
    agents = (config.num_agents,)
    bounds = jnp.cumsum(jnp.array(config.kind_shares))[:-1]
    kind = jnp.searchsorted(bounds, jax.random.uniform(keys[0], agents), side="right").astype(jnp.int32)
    least = jnp.array([_LEAST[k] for k in range(4)])[kind]
    greatest = jnp.array([_GREATEST[k] for k in range(4)])[kind]
    size = least + (greatest - least) * jax.random.uniform(keys[1], (config.num_agents, 3))
    gains = [jnp.ones(agents)] * 4
    if config.randomise_dynamics:
        pairs = zip(keys[2:6], (1.25, 1.25, 1.5, 1.5), strict=True)
        gains = [_mixed_uniform(k, agents, bound) for k, bound in pairs]
    throttle, steer, acceleration, speed = gains
    return _Bodies(kind, size, throttle, steer, acceleration, speed * jnp.array(_SPEED_SCALE)[kind])


def _pick(key: Array, options: Int[Array, " n"]) -> Int[Array, ""]:
    """One of the non-negative ``options`` at random (they come first); -1 when there is none."""
    count = (options >= 0).sum()
    index = jnp.floor(jax.random.uniform(key) * count).astype(jnp.int32)
    return options[jnp.minimum(index, jnp.maximum(count - 1, 0))]


def walk_lanes(key: Array, first: Int[Array, ""], atlas: RoadAtlas, config: SimulatorConfig) -> _Walk:
    """Random walk from lane ``first``. Where a lane has no successor the walk stays on it with zero length."""

    def hop(lane: Array, hop_key: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        change_key, side_key, next_key = jax.random.split(hop_key, 3)
        ended = lane < 0
        here = jnp.maximum(lane, 0)
        sides = jnp.stack([atlas.lane_left[here], atlas.lane_right[here]])
        side = _pick(side_key, jnp.sort(sides, descending=True))
        wants = jax.random.uniform(change_key) < config.lane_change_probability
        change = wants & (side >= 0) & (atlas.lane_length_m[here] >= 40.0)
        blend = jnp.where(change, side, here)
        following = _pick(next_key, atlas.lane_successors[blend])
        length = jnp.where(ended, 0.0, atlas.lane_length_m[here])
        return jnp.where(ended, -1, following), (here, blend, length)

    _, (lane, blend, length) = jax.lax.scan(hop, first, jax.random.split(key, ROUTE_LANES))
    return _Walk(lane, blend, jnp.cumsum(length))


def _on_lane(lane: Array, share: Array, atlas: RoadAtlas) -> tuple[Array, Array]:
    """Position [..., 3] and yaw [...] at ``share`` in [0, 1] of a lane's length."""
    place = share * (atlas.lane_count[lane] - 1)
    below = jnp.minimum(jnp.floor(place).astype(jnp.int32), atlas.lane_count[lane] - 2)
    weight = place - below
    index = atlas.lane_start[lane] + below
    xyz = atlas.point_xyz[index] * (1 - weight)[..., None] + atlas.point_xyz[index + 1] * weight[..., None]
    yaw = atlas.point_yaw[index]
    return xyz, wrap_angle(yaw + weight * wrap_angle(atlas.point_yaw[index + 1] - yaw))


def route_along(
    walk: _Walk,
    start_m: Float[Array, ""],
    shift_m: Float[Array, ""],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[Array, Array, Array, Array]:
    """Samples a walk every 2 m from ``start_m`` on its first lane.

    Returns xyz [stations, 3], yaw [stations], speed limit [stations] and the route's length (m). ``shift_m`` moves
    the route to the right of the lane's middle, where cyclists and pedestrians go.
    """
    place = start_m + ROUTE_SPACING_M * jnp.arange(config.route_stations)
    hop = jnp.minimum(jnp.searchsorted(walk.end_m, place, side="right"), ROUTE_LANES - 1)
    begin = jnp.where(hop > 0, walk.end_m[hop - 1], 0.0)
    length = jnp.maximum(walk.end_m[hop] - begin, 1e-3)
    share = jnp.clip((place - begin) / length, 0.0, 1.0)
    xyz, yaw = _on_lane(walk.lane[hop], share, atlas)
    blend_xyz, _ = _on_lane(walk.blend[hop], share, atlas)
    ramp = jnp.clip((share - 0.2) / 0.6, 0.0, 1.0)
    weight = (ramp * ramp * (3 - 2 * ramp))[:, None]
    xyz = xyz * (1 - weight) + blend_xyz * weight
    right = jnp.stack([jnp.sin(yaw), -jnp.cos(yaw), jnp.zeros_like(yaw)], axis=-1)
    xyz = xyz + shift_m * right
    limit = atlas.lane_speed_limit_mps[walk.lane[hop]]
    room = jnp.minimum(walk.end_m[-1] - start_m, ROUTE_SPACING_M * (config.route_stations - 1))
    return xyz, yaw, limit, room


def _draw_place(key: Array, map_id: Array, atlas: RoadAtlas) -> tuple[Array, Array]:
    """A lane of the town, longer lanes more often, and a place on it (m from its start)."""
    place = jax.random.uniform(key) * atlas.map_length_m[map_id]
    place = atlas.map_length_before_m[map_id] + place
    lane = jnp.searchsorted(atlas.lane_cumulative_length_m, place, side="right")
    first = atlas.map_lane_start[map_id]
    lane = jnp.clip(lane, first, first + atlas.map_lane_count[map_id] - 1).astype(jnp.int32)
    left_over = jnp.clip(atlas.lane_cumulative_length_m[lane] - place, 0.0, atlas.lane_length_m[lane])
    return lane, atlas.lane_length_m[lane] - left_over


def _shift_for(kind: Array, width: Array, lane: Array, atlas: RoadAtlas) -> Array:
    """How far right of the lane's middle an agent's route runs (m)."""
    slow = (kind == CYCLIST) | (kind == PEDESTRIAN)
    return jnp.where(slow, jnp.maximum(0.5 * atlas.lane_width_m[lane] - 0.5 * width - 0.5, 0.0), 0.0)


def _place_agents(key: Array, bodies: _Bodies, map_id: Array, atlas: RoadAtlas) -> tuple[Array, Array, Array]:
    """Places agents one after the other where their circumscribed circles keep a gap.

    Returns lane [agents], metres along it [agents], placed [agents] bool. An agent that finds no free place in
    ``PLACE_TRIES`` tries is left out.
    """
    agents = bodies.kind.shape[0]
    radius = 0.5 * jnp.linalg.norm(bodies.size[:, :2], axis=-1)

    def place_one(
        taken: tuple[Array, Array], inputs: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], tuple]:
        xy, placed = taken
        index, agent_key = inputs
        lane, along = jax.vmap(_draw_place, (0, None, None))(
            jax.random.split(agent_key, PLACE_TRIES), map_id, atlas
        )
        share = along / jnp.maximum(atlas.lane_length_m[lane], 1e-3)
        candidates, _ = _on_lane(lane, share, atlas)
        gap = jnp.linalg.norm(candidates[:, None, :2] - xy[None], axis=-1) - radius[None] - radius[index]
        free = ((gap > SPAWN_GAP_M) | ~placed[None]).all(axis=1) & (atlas.lane_junction[lane] < 0)
        best = jnp.argmax(free)
        taken = (xy.at[index].set(candidates[best, :2]), placed.at[index].set(free[best]))
        return taken, (lane[best], along[best])

    start = (jnp.zeros((agents, 2)), jnp.zeros(agents, bool))
    (_, placed), (lane, along) = jax.lax.scan(
        place_one, start, (jnp.arange(agents), jax.random.split(key, agents))
    )
    return lane, along, placed


def _sample_goals(
    key: Array, bodies: _Bodies, length_m: Array, config: SimulatorConfig
) -> tuple[Array, Array]:
    """Arc lengths [agents, goals] of the goals and how many of them lie on the route."""
    low, high = config.goal_spacing_m
    pace = jnp.clip(bodies.speed_gain, 0.15, 1.0)[:, None]  # slow agents get nearer goals
    spacing = jax.random.uniform(key, (config.num_agents, config.num_goals), minval=low, maxval=high) * pace
    goal_m = jnp.cumsum(spacing, axis=1)
    return goal_m, (goal_m <= length_m[:, None]).sum(axis=1).astype(jnp.int32)


def reset(key: Array, atlas: RoadAtlas, map_id: Int[Array, ""], config: SimulatorConfig) -> WorldState:
    """A new episode in town ``map_id`` of the atlas. The key is consumed.

    Agents start on lanes outside junctions, heading along their route, at a random speed below the limit that they
    can hold through the first bend.
    """
    keys = jax.random.split(key, 9)
    agents = config.num_agents
    bodies = _sample_bodies(keys[0], config)
    lane, along, placed = _place_agents(keys[1], bodies, map_id, atlas)
    walks = jax.vmap(walk_lanes, (0, 0, None, None))(jax.random.split(keys[2], agents), lane, atlas, config)
    shift = _shift_for(bodies.kind, bodies.size[:, 1], lane, atlas)
    routes: Callable = jax.vmap(route_along, (0, 0, 0, None, None))
    route_xyz, route_yaw, limit, length = routes(walks, along, shift, atlas, config)
    goal_m, num_goals = _sample_goals(keys[3], bodies, length, config)
    least, greatest = config.goal_radius_m
    scenario = Scenario(
        size=bodies.size,
        kind=bodies.kind,
        throttle_gain=bodies.throttle_gain,
        steer_gain=bodies.steer_gain,
        acceleration_gain=bodies.acceleration_gain,
        speed_gain=bodies.speed_gain,
        traits=jax.random.uniform(keys[4], (agents, TRAITS)),
        route_xyz=route_xyz,
        route_yaw=route_yaw,
        route_limit_mps=limit,
        goal_m=goal_m,
        num_goals=num_goals,
        goal_radius_m=jax.random.uniform(keys[5], (agents,), minval=least, maxval=greatest),
        light_phase=jax.random.uniform(keys[6]),
        lights_on=jax.random.uniform(keys[7]) >= config.no_lights_share,
    )
    cap = jnp.minimum(0.6 * limit[:, 0], 12.0 * bodies.speed_gain)
    cap = jnp.minimum(cap, _bend_speed(route_yaw))
    placed = placed & (num_goals > 0)
    state = _first_state(scenario, placed, map_id, cap * jax.random.uniform(keys[8], (agents,)))
    return state.replace(conduct=blank_conduct(config)) if config.detailed_metrics else state


def _bend_speed(route_yaw: Float[Array, "agents stations"]) -> Float[Array, " agents"]:
    """Speed (m/s) at which the sharpest bend of the first 20 m takes a lateral acceleration of 2 m/s2.

    Nobody starts faster, or a crash in the first seconds could not be avoided.
    """
    bend = jnp.abs(wrap_angle(jnp.diff(route_yaw[:, :11], axis=1))).max(axis=1) / ROUTE_SPACING_M
    return jnp.sqrt(2.0 / jnp.maximum(bend, 1e-3))


def _first_state(scenario: Scenario, placed: Array, map_id: Array, speed: Array) -> WorldState:
    agents = placed.shape[0]
    zeros, none = jnp.zeros(agents), jnp.zeros(agents, jnp.int32)
    return WorldState(
        step=jnp.zeros((), jnp.int32),
        map_id=jnp.asarray(map_id, jnp.int32),
        position=scenario.route_xyz[:, 0],
        yaw=scenario.route_yaw[:, 0],
        speed=speed,
        acceleration=zeros,
        lateral_acceleration=zeros,
        steering=zeros,
        route_m=zeros,
        route_offset_m=zeros,
        goal_index=none,
        active=placed,
        present=placed,
        spawned=placed,
        stopped_s=zeros,
        collisions=none,
        offroads=none,
        red_lights=none,
        stop_signs=none,
        halted=jnp.zeros(agents, bool),
        distance_m=zeros,
        best_route_m=zeros,
        scenario=scenario,
    )
