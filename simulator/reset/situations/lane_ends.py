"""What the situations at junctions need of an atlas: directions of lanes at their ends, and rows of cars on lanes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.angles import wrap_angle
from simulator.atlas.road_atlas import RoadAtlas
from simulator.reset.situations.cast import DRIVES, LEAST_ALONG_M, on_lane_only

CAR_M = 5.2
"""Length of the longest car."""


def of_map(map_id: Int[Array, ""], atlas: RoadAtlas) -> Bool[Array, " lanes"]:
    """Which lanes belong to the map."""
    number = jnp.arange(atlas.lane_start.shape[0])
    first = atlas.map_lane_start[map_id]
    return (number >= first) & (number < first + atlas.map_lane_count[map_id])


def end_points(
    atlas: RoadAtlas,
) -> tuple[Float[Array, "lanes 2"], Float[Array, "lanes 2"], Float[Array, " lanes"], Float[Array, " lanes"]]:
    """Start and end (m, map), and the travel directions (rad) there, of every lane."""
    first, last = atlas.lane_start, atlas.lane_start + atlas.lane_count - 1
    xy, yaw = atlas.point_xyz[:, :2], atlas.point_yaw
    return xy[first], xy[last], yaw[first], yaw[last]


def turn_of(atlas: RoadAtlas) -> Float[Array, " lanes"]:
    """The angle (rad, left positive) from the start to the end of every lane, less than half a turn."""
    _, _, before, after = end_points(atlas)
    return wrap_angle(after - before)


def random_lanes(
    key: Key[Array, ""], which: Bool[Array, " lanes"], count: int, rank: Float[Array, " lanes"] | float = 0.0
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """Up to ``count`` different lanes of ``which``, in random order (those with a greater ``rank`` first), and a mask
    of the entries that hold one. The key is consumed."""
    count = min(count, which.shape[0])
    score = jnp.where(which, jax.random.uniform(key, which.shape) + rank, -jnp.inf)
    best, lane = jax.lax.top_k(score, count)
    return lane.astype(jnp.int32), jnp.isfinite(best)


def row_of_cars(
    key: Key[Array, ""],
    lane: Int[Array, ""],
    count: int,
    first_m: tuple[float, float],
    gap_m: tuple[float, float],
    atlas: RoadAtlas,
) -> tuple[Int[Array, " count"], Float[Array, " count"]]:
    """Roles and places (m) of up to ``count`` cars, at least one, before the end of a lane: the front of the first is
    ``first_m`` before it, and the others follow with ``gap_m`` in between. The key is consumed.

    On a lane that is too short for it, the first starts nearer to the end; the others are left out there.
    """
    first_key, gap_key, count_key = jax.random.split(key, 3)
    length = atlas.lane_length_m[lane]
    first = jax.random.uniform(first_key, (), minval=first_m[0], maxval=first_m[1]) + 0.5 * CAR_M
    first = jnp.clip(first, LEAST_ALONG_M, jnp.maximum(length - LEAST_ALONG_M, LEAST_ALONG_M))
    gaps = jax.random.uniform(gap_key, (count - 1,), minval=gap_m[0], maxval=gap_m[1]) + CAR_M
    along = length - first - jnp.concatenate([jnp.zeros(1), jnp.cumsum(gaps)])
    number = jax.random.randint(count_key, (), 1, count + 1)
    role = jnp.where(jnp.arange(count) < number, DRIVES, 0)
    return on_lane_only(role, along, length).astype(jnp.int32), along
