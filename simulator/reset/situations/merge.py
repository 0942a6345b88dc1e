"""Two lanes become one, with cars on both.

Lanes that run side by side before they merge are preferred; where a map has none, the two ways may meet in a junction.
All numbers are our choice; the ranges contain those of the probe `bottleneck`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.reset.situations.cast import CAST_SLOTS, LEAST_ALONG_M, Cast, no_cast
from simulator.reset.situations.lane_ends import end_points, of_map, random_lanes, row_of_cars

_SIDE_BY_SIDE = 0.8
"""Least cosine of the angle between two lanes, where they begin, that run side by side."""
_LONG_M = 35.0
"""On a lane of this length outside junctions the cars start on the lane itself, else on the one before it."""
_FIRST_M, _GAP_M, _SPEED_MPS = (2.0, 30.0), (4.0, 12.0), (0.0, 9.0)
_EACH = CAST_SLOTS // 2


def merge(key: Key[Array, ""], map_id: Int[Array, ""], atlas: RoadAtlas) -> Cast:
    """A random situation of this kind: one to three cars on each of two lanes that lead into the same one. The key is
    consumed. Nobody takes part where no lane of the map is entered from two others."""
    lane_key, one_key, two_key, speed_key = jax.random.split(key, 4)
    if atlas.lane_predecessors.shape[1] < 2:
        return no_cast()
    one, two = (jnp.maximum(atlas.lane_predecessors[:, side], 0) for side in (0, 1))
    start, _, yaw, _ = end_points(atlas)
    exists = of_map(map_id, atlas) & (atlas.lane_predecessors[:, :2] >= 0).all(axis=1) & (one != two)
    # A way that forks and joins again starts twice at one point.
    exists &= jnp.linalg.norm(start[one] - start[two], axis=1) > 1.0
    feeders = [_feeder(side, atlas) for side in (one, two)]
    exists &= feeders[0] != feeders[1]
    for feeder in feeders:
        exists &= atlas.lane_length_m[feeder] > 2.0 * LEAST_ALONG_M
    beside = jnp.cos(yaw[one] - yaw[two]) > _SIDE_BY_SIDE
    chosen, valid = random_lanes(lane_key, exists, 1, rank=beside * 2.0)
    target = chosen[0]
    rows = [
        row_of_cars(row_key, feeder[target], _EACH, _FIRST_M, _GAP_M, atlas)
        for row_key, feeder in zip((one_key, two_key), feeders, strict=True)
    ]
    lane = jnp.stack([feeder[target] for feeder in feeders])
    side = jnp.stack([one[target], two[target]])
    following = jnp.where(lane == side, target, side)
    least, most = _SPEED_MPS
    return no_cast().replace(
        role=jnp.where(valid[0], jnp.concatenate([role for role, _ in rows]), 0),
        lane=jnp.repeat(lane, _EACH),
        along_m=jnp.concatenate([along for _, along in rows]),
        following=jnp.repeat(following, _EACH),
        most_mps=jax.random.uniform(speed_key, (CAST_SLOTS,), minval=least, maxval=most),
        lights_off=valid[0],
    )


def _feeder(lane: Array, atlas: RoadAtlas) -> Array:
    """For each lane the one on which its cars start: itself, or the one before it."""
    before = atlas.lane_predecessors[lane, 0]
    itself = (atlas.lane_junction[lane] < 0) & (atlas.lane_length_m[lane] >= _LONG_M)
    return jnp.where(itself | (before < 0), lane, before)
