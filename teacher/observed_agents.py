"""What a driver knows of the other agents around it."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simulator.neighbours import nearest_others
from simulator.world import Leaf, WorldState, nearest_station
from teacher.frame import NEAR_M, Column, Frame, rows

OTHERS_WIDTH = 18
CONFLICT_M = tuple(4.0 * i for i in range(16))
"""Where on the route ahead other agents are looked for: evenly from the agent itself on, a power of two of places."""
SPEED_UNIT_MPS = 10.0
LEVEL_GAP_M = 4.0
"""Agents and road farther above or below belong to another level."""


@struct.dataclass
class _Motion:
    """How agents move, fields [agents]; with an index [agents, n], those of the agents picked, [agents, n]."""

    x: Leaf  # m, world
    y: Leaf  # m, world
    cos: Leaf  # of the yaw
    sin: Leaf
    east: Leaf  # m/s
    north: Leaf  # m/s
    speed: Leaf  # m/s
    acceleration: Leaf  # m/s2
    yaw_rate: Leaf  # rad/s, at most 1 either way
    standing: Leaf  # s / 10, at most 1
    length: Leaf  # m
    width: Leaf  # m

    @classmethod
    def of(cls, state: WorldState, frame: Frame) -> "_Motion":
        turn = state.lateral_acceleration / jnp.maximum(jnp.abs(state.speed), 1.0)
        return cls(
            x=frame.x,
            y=frame.y,
            cos=frame.cos,
            sin=frame.sin,
            east=state.speed * frame.cos,
            north=state.speed * frame.sin,
            speed=state.speed,
            acceleration=state.acceleration,
            yaw_rate=jnp.clip(turn, -1.0, 1.0),
            standing=jnp.minimum(state.stopped_s / 10.0, 1.0),
            length=state.scenario.size[:, 0],
            width=state.scenario.size[:, 1],
        )

    def pick(self, index: Int[Array, "agents n"]) -> "_Motion":
        table = jnp.stack([getattr(self, name) for name in self.__dataclass_fields__], axis=1)
        return _Motion(*jnp.moveaxis(table[index], -1, 0))


def observe_others(
    state: WorldState, frame: Frame, count: int, range_m: float
) -> tuple[Float[Array, "agents count 18"], Bool[Array, "agents count"]]:
    """The nearest agents, and which slots hold one.

    Columns: x, y, cos, sin, length, width, relative velocity x, y, speed, standing, acceleration, yaw rate, then
    `_on_route` (4) and `_closest_approach` (2). What the last six say follows from the rest and the route; given
    outright, a network of a few ten thousand weights learns to yield.
    """
    motion = _Motion.of(state, frame)
    squared = (motion.x[:, None] - motion.x) ** 2 + (motion.y[:, None] - motion.y) ** 2
    rise = jnp.abs(state.position[:, 2][:, None] - state.position[:, 2])
    seen = state.present & (squared < range_m**2) & (rise < LEVEL_GAP_M)
    index, mask = nearest_others(state.position[:, :2], seen, count)
    other = motion.pick(index)
    east, north = other.east - motion.east[:, None], other.north - motion.north[:, None]
    columns = [
        *frame.point(other.x, other.y),
        *frame.turn(other.cos, other.sin),
        other.length / 10.0,
        other.width / 3.0,
        *(v / SPEED_UNIT_MPS for v in frame.turn(east, north)),
        other.speed / SPEED_UNIT_MPS,
        other.standing,
        other.acceleration / 4.0,
        other.yaw_rate,
        *_on_route(state, other),
        *_closest_approach(other.x - frame.x[:, None], other.y - frame.y[:, None], east, north),
    ]
    return rows(*columns, mask=mask), mask


def _on_route(state: WorldState, other: _Motion) -> tuple[Column, ...]:
    """Where others are relative to the own route ahead: distance along it (/ NEAR_M), offset to its left (/ 5 m, at
    most 2), cos and sin of their heading against it, all at the nearest of the points CONFLICT_M ahead."""
    scenario = state.scenario
    station = nearest_station(scenario, state.route_m[:, None] + jnp.array(CONFLICT_M))
    point = jnp.take_along_axis(scenario.route_xyz, station[..., None], axis=1)
    yaw = jnp.take_along_axis(scenario.route_yaw, station, axis=1)
    x, y, cos, sin = point[..., 0], point[..., 1], jnp.cos(yaw), jnp.sin(yaw)
    # The number of a point in the lowest bits of its distance: the smallest then says which point is nearest, in one
    # pass over plain integers. 2e-6 of the squared distance is not missed.
    nearest = jnp.full(other.x.shape, jnp.iinfo(jnp.int32).max)
    for number in range(len(CONFLICT_M)):
        squared = (other.x - x[:, number, None]) ** 2 + (other.y - y[:, number, None]) ** 2
        bits = jax.lax.bitcast_convert_type(squared, jnp.int32)
        nearest = jnp.minimum(nearest, (bits & -len(CONFLICT_M)) | number)
    place = nearest & (len(CONFLICT_M) - 1)
    x, y, cos, sin = (jnp.take_along_axis(column, place, axis=1) for column in (x, y, cos, sin))
    gap_x, gap_y = other.x - x, other.y - y
    along = place * ((CONFLICT_M[1] - CONFLICT_M[0]) / NEAR_M)
    left = jnp.clip((gap_y * cos - gap_x * sin) / 5.0, -2.0, 2.0)
    return along, left, other.cos * cos + other.sin * sin, other.sin * cos - other.cos * sin


def _closest_approach(x: Column, y: Column, east: Column, north: Column) -> tuple[Column, Column]:
    """If both kept their velocities: time until the centres are nearest (/ 4 s, at most 2), and their distance then
    (/ 10 m, at most 2). Offsets (m) and relative velocities (m/s) in any frame."""
    closing = -(x * east + y * north) / jnp.maximum(east**2 + north**2, 0.01)
    time = jnp.clip(closing, 0.0, 8.0)
    distance = jnp.sqrt((x + time * east) ** 2 + (y + time * north) ** 2)
    return time / 4.0, jnp.minimum(distance / 10.0, 2.0)
