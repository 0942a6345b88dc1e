"""Routes: random walks on the lane graph, sampled every 2 m.

A walk follows successor lanes and sometimes changes to a neighbouring lane. Its cost does not depend on the size of the
map, and goals on it are reachable by construction, so that no shortest-path table is needed.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Key

from simulator.array_field import ArrayField
from simulator.atlas.affine_variants import SCALE, transformed
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.reset.situations.cast import ANY_WAY

ROUTE_LANES = 40
"""Number of lanes of a walk; a route that needs more is cut off."""
_CHANGE_M = 40.0
"""Length of the shortest lane on which a walk may change lanes."""


def draw_positions(
    draw: Float[Array, "*n"], map_id: Int[Array, ""], atlas: RoadAtlas
) -> tuple[Int[Array, "*n"], Float[Array, "*n"]]:
    """Lanes of the map from random numbers in [0, 1), longer lanes more often, and positions on them (m from the lane's
    start)."""
    position = atlas.map_length_before_m[map_id] + draw * atlas.map_length_m[map_id]
    lane = jnp.searchsorted(atlas.lane_cumulative_length_m, position, side="right")
    first = atlas.map_lane_start[map_id]
    lane = jnp.clip(lane, first, first + atlas.map_lane_count[map_id] - 1).astype(jnp.int32)
    left_over = jnp.clip(atlas.lane_cumulative_length_m[lane] - position, 0.0, atlas.lane_length_m[lane])
    return lane, atlas.lane_length_m[lane] - left_over


@struct.dataclass
class Walk:
    """A walk on the lane graph."""

    lane: ArrayField  # [ROUTE_LANES] int32
    blend: ArrayField  # [ROUTE_LANES] int32: the lane it ends on; equal to ``lane`` without a lane change
    end_m: ArrayField  # [ROUTE_LANES] m: walk length at the end of each lane, from the first lane's start
    num_lanes: ArrayField  # [] int32: lanes of the walk; what follows in the arrays is padding
    dead_end: ArrayField  # [] bool: the last lane has no successor


def walk_lanes(
    key: Key[Array, ""],
    first: Int[Array, ""],
    atlas: RoadAtlas,
    config: SimulatorConfig,
    following: Int[Array, ""] | None = None,
) -> Walk:
    """Random walk from lane ``first``; the key is consumed. It ends at a lane without successor, or after
    ROUTE_LANES.

    ``following`` is the lane after the first one, ANY_WAY or STRAIGHT_AHEAD (see `simulator.reset.situations.cast`);
    unless it is ANY_WAY, the walk does not change lanes on the first one.
    """

    def hop(lane: Array, draw: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        ended = lane < 0
        here = jnp.maximum(lane, 0)
        left, right = atlas.lane_left[here], atlas.lane_right[here]
        either = jnp.where(draw[0] < 0.5, left, right)
        side = jnp.where((left >= 0) & (right >= 0), either, jnp.maximum(left, right))
        change = (draw[1] < config.lane_change_probability) & (side >= 0)
        blend = jnp.where(change & (atlas.lane_length_m[here] >= _CHANGE_M), side, here)
        successor = _pick(draw[2], atlas.lane_successors[blend])
        length = jnp.where(ended, 0.0, atlas.lane_length_m[here])
        return jnp.where(ended, -1, successor), (here, blend, length, ended)

    # All random numbers at once: drawing inside the loop costs more than the rest of it.
    draws = jax.random.uniform(key, (ROUTE_LANES, 3))
    if following is None:
        after, (lane, blend, length, ended) = jax.lax.scan(hop, first, draws)
    else:
        draws = draws.at[0, 1].set(jnp.where(following == ANY_WAY, draws[0, 1], 1.0))
        second, one = hop(first, draws[0])
        second = jnp.where(following >= 0, following, second)
        after, rest = jax.lax.scan(hop, second, draws[1:])
        lane, blend, length, ended = (
            jnp.concatenate([jnp.asarray(a)[None], b]) for a, b in zip(one, rest, strict=True)
        )
    return Walk(lane, blend, jnp.cumsum(length), (~ended).sum(dtype=jnp.int32), after < 0)


def _pick(draw: Float[Array, ""], options: Int[Array, " n"]) -> Int[Array, ""]:
    """One of the non-negative ``options`` (they come first), by a random number in [0, 1); -1 where there is none."""
    count = (options >= 0).sum()
    index = jnp.floor(draw * count).astype(jnp.int32)
    return options[jnp.minimum(index, jnp.maximum(count - 1, 0))]


def on_lane(lane: Int[Array, "*n"], share: Float[Array, "*n"], atlas: RoadAtlas) -> Float[Array, "*n 6"]:
    """Rows of `state.route_table` at ``share`` in [0, 1] of a lane's length; the direction is not normalised."""
    last = atlas.lane_count[lane] - 1
    position = share * last
    below = jnp.minimum(jnp.floor(position).astype(jnp.int32), last - 1)
    weight = (position - below)[..., None]
    index = atlas.lane_start[lane] + below
    before, after = (atlas.point_row.at[i].get(mode="promise_in_bounds") for i in (index, index + 1))
    return before * (1.0 - weight) + after * weight


def route_along(
    walk: Walk,
    start_m: Float[Array, ""],
    end_gap_m: Float[Array, ""],
    shift_m: Float[Array, ""],
    map_matrix: Float[Array, "2 2"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> tuple[Float[Array, "stations 6"], Float[Array, ""]]:
    """Samples a walk every 2 m from ``start_m`` on its first lane: rows of `state.route_table`, and the route's
    length (m).

    At a dead end the length ends ``end_gap_m`` before the road does, and stations beyond the road are at its end.
    ``shift_m`` is the lateral offset to the right of the lane's middle, for cyclists and pedestrians.
    """
    ahead_m = ROUTE_SPACING_M * jnp.arange(config.route_stations, dtype=jnp.float32)
    left_m = walk.end_m[-1] - start_m
    end_gap_m = jnp.where(walk.dead_end, end_gap_m, 0.0)
    if config.map_variants == 1:
        return _rows_along(walk, start_m + ahead_m, shift_m, atlas), jnp.minimum(
            left_m - end_gap_m, ahead_m[-1]
        )
    # Stations 2 m apart in the world are not so on the map: find them there from how much the route is stretched.
    many = 2.0 * ROUTE_SPACING_M * jnp.arange(config.route_stations, dtype=jnp.float32) / SCALE[0]
    along = transformed(map_matrix, _rows_along(walk, start_m + many, shift_m, atlas)[:, 2:4])
    stretch = jnp.sqrt(along[:, 0] ** 2 + along[:, 1] ** 2)
    world_m = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.5 * (stretch[1:] + stretch[:-1]) * jnp.diff(many))])
    rows = _rows_along(walk, start_m + jnp.interp(ahead_m, world_m, many), shift_m, atlas)
    xy, along = (transformed(map_matrix, pair) for pair in (rows[:, :2], rows[:, 2:4]))
    along = along * jax.lax.rsqrt((along**2).sum(axis=1, keepdims=True))
    return (
        jnp.concatenate([xy, along, rows[:, 4:]], axis=1),
        jnp.minimum(jnp.interp(left_m, many, world_m) - end_gap_m, ahead_m[-1]),
    )


def _rows_along(
    walk: Walk, position: Float[Array, " n"], shift_m: Float[Array, ""], atlas: RoadAtlas
) -> Float[Array, "n 6"]:
    """Rows of `state.route_table` on the map, ``position`` (m) along the walk from the start of its first lane."""
    hop = jnp.minimum(
        jnp.searchsorted(walk.end_m, position, side="right", method="compare_all"), walk.num_lanes - 1
    )
    start_m = jnp.where(hop > 0, walk.end_m[hop - 1], 0.0)
    length = jnp.maximum(walk.end_m[hop] - start_m, 1e-3)
    share = jnp.clip((position - start_m) / length, 0.0, 1.0)
    ramp = jnp.clip((share - 0.2) / 0.6, 0.0, 1.0)
    weight = (ramp * ramp * (3 - 2 * ramp))[:, None]
    rows = (
        on_lane(walk.lane[hop], share, atlas) * (1.0 - weight)
        + on_lane(walk.blend[hop], share, atlas) * weight
    )
    direction = jax.lax.rsqrt(jnp.maximum(rows[:, 2] ** 2 + rows[:, 3] ** 2, 1e-6))[:, None]
    rows = rows * jnp.where(_IS_DIRECTION, direction, 1.0)
    to_right = rows[:, jnp.array([3, 2, 0, 0, 0, 0])] * jnp.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    return rows + shift_m * to_right


_IS_DIRECTION = np.array([False, False, True, True, False, False])
"""Columns of a route's rows that hold its direction."""
