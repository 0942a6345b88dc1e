"""A parked car in the middle of a lane, with a lane beside it on which the agents behind can pass.

The lane beside it is a neighbour of either direction, on either side, found from the geometry: most maps do not say
which lane comes the other way. All numbers are our choice; the ranges contain those of the probe `blocked_lane`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import inverse, transformed
from simulator.atlas.nearest_lane import nearest_lane
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.config import SimulatorConfig
from simulator.reset.random_routes import draw_positions, on_lane
from simulator.reset.situations.cast import (
    ANY_WAY,
    CAST_SLOTS,
    DRIVES,
    LEAST_ALONG_M,
    STANDS,
    STRAIGHT_AHEAD,
    Cast,
    no_cast,
    on_lane_only,
)

_TRIES = 10
_BEFORE_M, _BEYOND_M = 18.0, 14.0
"""Least lengths of lane before and beyond the parked car."""
_CHECKED_M = (-12.0, -4.0, 4.0, 12.0)
"""Where, relative to the parked car, the lane beside it is looked for."""
_APART_M = 2.5
"""Least distance between the middles of the two lanes, in metres of the world: two cars of 2.1 m and a gap."""
_ROAD_M = 1.1
"""Least distance from the middles of the lanes to the edge of the road, in metres of the world."""
_PARALLEL = 0.97
"""Least |cosine| of the angle between the two lanes."""
_NEAR_M = 1.0
"""The middle of the lane beside lies at most this far from a lane's width aside."""
_GAP_M, _BRAKING_MPS2 = (9.0, 60.0), 2.0
_STANDING_SHARE = 0.25
_SAME_WAY_M, _ONCOMING_M = (-35.0, 5.0), (20.0, 110.0)
_OTHERS = CAST_SLOTS - 2


@struct.dataclass
class _Place:
    """Where a car could be parked; [tries] unless stated otherwise."""

    lane: ArrayField  # int32
    along_m: ArrayField  # m
    beside: ArrayField  # int32: the lane on which it can be passed
    beside_along_m: ArrayField  # m along that lane, beside the parked car
    beside_m: ArrayField  # m to the middle of that lane, left positive
    oncoming: ArrayField  # bool: that lane goes the other way
    valid: ArrayField  # bool


def blocked_lane(
    key: Key[Array, ""],
    map_id: Int[Array, ""],
    map_matrix: Float[Array, "2 2"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> Cast:
    """A random situation of this kind: the parked car, the agent behind it, and up to three cars on the lane beside.
    The key is consumed. Nobody takes part where no place was found."""
    place_key, gap_key, speed_key, still_key, count_key, others_key = jax.random.split(key, 6)
    places = _places(place_key, map_id, map_matrix, atlas, config)
    best = jnp.argmax(places.valid)
    place: _Place = jax.tree.map(lambda leaf: leaf[best], places)
    farthest = jnp.minimum(_GAP_M[1], place.along_m - LEAST_ALONG_M)
    gap = jax.random.uniform(gap_key, (), minval=_GAP_M[0], maxval=farthest)
    draws = jax.random.uniform(others_key, (_OTHERS,))
    same_way = place.beside_along_m - gap + _SAME_WAY_M[0] + (_SAME_WAY_M[1] - _SAME_WAY_M[0]) * draws
    oncoming = place.beside_along_m - _ONCOMING_M[0] - (_ONCOMING_M[1] - _ONCOMING_M[0]) * draws
    other_along = jnp.where(place.oncoming, oncoming, same_way)
    count = jax.random.randint(count_key, (), 0, _OTHERS)
    other_role = jnp.where(jnp.arange(_OTHERS) < count, DRIVES, 0)
    other_role = on_lane_only(other_role, other_along, atlas.lane_length_m[place.beside])
    role = jnp.concatenate([jnp.array([STANDS, DRIVES]), other_role])
    brakes = jnp.sqrt(2.0 * _BRAKING_MPS2 * jnp.maximum(gap - _GAP_M[0], 0.0)) + 1.0
    still = jax.random.uniform(still_key) < _STANDING_SHARE
    own_mps = jnp.where(still, 0.0, jnp.minimum(brakes, 9.0))
    other_mps = jax.random.uniform(speed_key, (_OTHERS,), minval=3.0, maxval=10.0)
    return no_cast().replace(
        role=jnp.where(place.valid, role, 0).astype(jnp.int32),
        lane=jnp.concatenate([jnp.full(2, place.lane), jnp.full(_OTHERS, place.beside)]).astype(jnp.int32),
        along_m=jnp.concatenate([jnp.array([0.0, -1.0]) * gap + place.along_m, other_along]),
        following=jnp.array([STRAIGHT_AHEAD] * 2 + [ANY_WAY] * _OTHERS, jnp.int32),
        most_mps=jnp.concatenate([jnp.stack([jnp.zeros(()), own_mps]), other_mps]),
        blocked_by=jnp.where(place.valid, jnp.array([-1, 0] + [-1] * _OTHERS), -1).astype(jnp.int32),
        beside_m=jnp.full(CAST_SLOTS, place.beside_m),
    )


def _places(
    key: Array, map_id: Array, map_matrix: Array, atlas: RoadAtlas, config: SimulatorConfig
) -> _Place:
    """Random places on the map, and whether a car can be parked at each."""
    lane_key, along_key, side_key = jax.random.split(key, 3)
    lane, _ = draw_positions(jax.random.uniform(lane_key, (_TRIES,)), map_id, atlas)
    length = atlas.lane_length_m[lane]
    room = jnp.maximum(length - _BEFORE_M - _BEYOND_M, 0.0)
    along = _BEFORE_M + room * jax.random.uniform(along_key, (_TRIES,))
    usable = (length > _BEFORE_M + _BEYOND_M) & (atlas.lane_junction[lane] < 0)
    usable &= (atlas.lane_successors[lane] >= 0).any(axis=-1)
    first = jnp.where(jax.random.bernoulli(side_key, shape=(_TRIES,)), 1.0, -1.0)

    def beside(lane: Array, along: Array, side: Array) -> _Place:
        return _beside(lane, along, side, map_id, map_matrix, atlas, config)

    one, other = (jax.vmap(beside)(lane, along, side) for side in (first, -first))
    chosen: _Place = jax.tree.map(lambda a, b: jnp.where(one.valid, a, b), one, other)
    return chosen.replace(valid=chosen.valid & usable)


def _beside(
    lane: Array,
    along: Array,
    side: Array,
    map_id: Array,
    map_matrix: Array,
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> _Place:
    """One place with the lane at its left (``side`` 1) or right (-1), valid where there is one all along."""
    checked = along + jnp.array(_CHECKED_M)
    share = jnp.clip(checked / jnp.maximum(atlas.lane_length_m[lane], 1e-3), 0.0, 1.0)
    rows = on_lane(jnp.full(len(_CHECKED_M), lane), share, atlas)
    own = rows[:, jnp.array([0, 1, 4])]
    left = jnp.stack([-rows[:, 3], rows[:, 2], jnp.zeros(len(_CHECKED_M))], axis=-1)
    left = left / jnp.maximum(jnp.linalg.norm(left, axis=1, keepdims=True), 1e-3)
    found = jax.vmap(lambda point: nearest_lane(atlas, map_id, point))(
        own + side * atlas.lane_width_m[lane] * left
    )
    cos = rows[:, 2] * jnp.cos(found.yaw) + rows[:, 3] * jnp.sin(found.yaw)
    oncoming = cos < 0.0
    to_left = jnp.where(oncoming, -found.offset_m, found.offset_m)  # of the point, from the lane found
    beside_m = side * atlas.lane_width_m[lane] - to_left
    there = (found.lane >= 0) & (found.lane != lane) & (found.distance_m < _NEAR_M)
    there &= (atlas.lane_junction[jnp.maximum(found.lane, 0)] < 0) & (jnp.abs(cos) > _PARALLEL)
    there &= oncoming == oncoming[1]
    stretch = stretch_aside(rows[:, 2:4], map_matrix)
    there &= jnp.abs(beside_m) * stretch >= _APART_M
    for middle in (own, own + beside_m[:, None] * left):
        there &= _edge_distance(middle, map_id, map_matrix, atlas, config) >= _ROAD_M
    return _Place(
        lane=lane,
        along_m=along,
        beside=jnp.maximum(found.lane[1], 0),
        beside_along_m=0.5 * (found.along_m[1] + found.along_m[2]),
        beside_m=0.5 * (beside_m[1] + beside_m[2]),
        oncoming=oncoming[1],
        valid=there.all() & (found.lane[1] == found.lane[2]),
    )


def stretch_aside(along: Float[Array, "*n 2"], map_matrix: Float[Array, "2 2"]) -> Float[Array, "*n"]:
    """By how much a variant of the map stretches distances at a right angle to lanes of these directions."""
    determinant = map_matrix[0, 0] * map_matrix[1, 1] - map_matrix[0, 1] * map_matrix[1, 0]
    length = jnp.linalg.norm(transformed(map_matrix, along), axis=-1)
    return jnp.abs(determinant) * jnp.linalg.norm(along, axis=-1) / jnp.maximum(length, 1e-3)


def _edge_distance(
    xyz: Float[Array, "n 3"], map_id: Array, map_matrix: Array, atlas: RoadAtlas, config: SimulatorConfig
) -> Float[Array, " n"]:
    """Distances (m, world) to the edge of the drivable area from points of the map (m)."""
    map_inverse = inverse(map_matrix) if config.map_variants > 1 else None
    return jax.vmap(lambda point: drivable_distance(atlas, map_id, point, map_inverse))(xyz)
