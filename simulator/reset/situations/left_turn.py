"""A turn across the way of oncoming cars, without traffic lights.

It is a turn to the left where traffic keeps right; on mirrored variants of a map it becomes one to the right. All
numbers are our choice; the ranges contain those of the probe `unprotected_turn`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.reset.situations.cast import CAST_SLOTS, LEAST_ALONG_M, Cast, no_cast
from simulator.reset.situations.lane_ends import end_points, of_map, random_lanes, row_of_cars, turn_of

_TRIES = 8
_TURN_RAD = (0.9, 2.3)
_STRAIGHT_RAD = 0.45
_OPPOSITE = -0.85
"""Greatest cosine of the angle between the directions in which the two approach."""
_OWN_M, _FIRST_M, _GAP_M = (2.0, 40.0), (5.0, 45.0), (6.0, 30.0)
_OWN_MPS, _ONCOMING_MPS = (0.0, 8.0), (4.0, 10.0)
_OWN = 2
"""Cars on the approach from which is turned; of these the first turns, and the second follows it."""


def left_turn(key: Key[Array, ""], map_id: Int[Array, ""], atlas: RoadAtlas) -> Cast:
    """A random situation of this kind: one or two cars that turn and up to four that come the other way, straight on.
    The key is consumed. Nobody takes part where the map has no such turn."""
    turn_key, other_key, own_key, oncoming_key, speed_key = jax.random.split(key, 5)
    turn, before = turn_of(atlas), atlas.lane_predecessors[:, 0]
    long_enough = atlas.lane_length_m[jnp.maximum(before, 0)] > 2.0 * LEAST_ALONG_M
    through = of_map(map_id, atlas) & (atlas.lane_junction >= 0) & (before >= 0) & long_enough
    turns_left = through & (turn > _TURN_RAD[0]) & (turn < _TURN_RAD[1])
    own, exists = random_lanes(turn_key, turns_left, _TRIES)
    straight = through & (jnp.abs(turn) < _STRAIGHT_RAD)
    crossed = jax.vmap(lambda lane: straight & _crosses(lane, atlas))(own)
    valid = exists & crossed.any(axis=1)
    best = jnp.argmax(valid)
    other = random_lanes(other_key, crossed[best], 1)[0][0]
    own_lane = own[best]
    own_role, own_along = row_of_cars(own_key, before[own_lane], _OWN, _OWN_M, _GAP_M, atlas)
    role, along = row_of_cars(oncoming_key, before[other], CAST_SLOTS - _OWN, _FIRST_M, _GAP_M, atlas)
    counts = jnp.array([_OWN, CAST_SLOTS - _OWN])

    def both(one: Array, two: Array) -> Array:
        return jnp.repeat(jnp.stack([one, two]), counts, total_repeat_length=CAST_SLOTS)

    draw = jax.random.uniform(speed_key, (CAST_SLOTS,))
    least, most = (both(jnp.array(_OWN_MPS[end]), jnp.array(_ONCOMING_MPS[end])) for end in (0, 1))
    return no_cast().replace(
        role=jnp.where(valid[best], jnp.concatenate([own_role, role]), 0),
        lane=both(before[own_lane], before[other]),
        along_m=jnp.concatenate([own_along, along]),
        following=both(own_lane, other),
        most_mps=least + (most - least) * draw,
        lights_off=valid[best],
    )


def _crosses(lane: Int[Array, ""], atlas: RoadAtlas) -> Bool[Array, " lanes"]:
    """Lanes of the same junction that begin opposite to ``lane`` and whose chord crosses its chord."""
    start, end, yaw, _ = end_points(atlas)

    def side(point: Array, a: Array, b: Array) -> Array:
        along, away = b - a, point - a
        return jnp.sign(along[..., 0] * away[..., 1] - along[..., 1] * away[..., 0])

    apart = side(start[lane], start, end) != side(end[lane], start, end)
    apart &= side(start, start[lane], end[lane]) != side(end, start[lane], end[lane])
    opposite = jnp.cos(yaw - yaw[lane]) < _OPPOSITE
    return (atlas.lane_junction == atlas.lane_junction[lane]) & opposite & apart
