"""The public query for the nearest lane of a position on its level, and the position in that lane's Frenet frame.

A query reads the lane samples of its cell (`simulator.roads.query_grids`) and measures the piece of centreline around
each, so that its cost is independent of the size of the map. The step itself does not use it: the metrics need all
lanes under an agent, see `simulator.metrics.lane_use`.
"""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.angles import wrap_angle
from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas, table_row
from simulator.conventions import LEVEL_GAP_M

_SEGMENTS_PER_SAMPLE = np.arange(-4, 4)  # of NumPy: JAX would start, before the number of devices can be set
"""Segments of centreline around a sample that are measured: samples are about 6 m apart, points up to 2 m."""


@struct.dataclass
class LanePosition:
    """A position relative to its nearest lane (Frenet). All fields []."""

    lane: ArrayField  # int32: lane of the atlas; -1 for none near on this level: distance_m is inf and the rest 0
    along_m: ArrayField  # m, arc length from the start of the lane, in [0, its length]
    offset_m: ArrayField  # m, lateral offset from the centreline, positive to the left
    yaw: ArrayField  # rad, travel direction of the lane there
    distance_m: ArrayField  # m to the centreline in the plane; above |offset_m| beyond the lane's ends


def nearest_lane(atlas: RoadAtlas, map_id: Int[Array, ""], xyz: Float[Array, " 3"]) -> LanePosition:
    """The lane whose centreline is nearest in the plane to one point (m, world), on the point's level.

    Lanes whose height at the nearest point differs by LEVEL_GAP_M or more are on another level. Of lanes that are
    equally near (the turns of a junction start at one point) always the same one is returned. Lanes shorter than a
    metre are not considered, and cells more than 25 m from every road have no lanes. Points off the grid use its
    nearest cell.
    """
    samples = atlas.lane_candidates[table_row(atlas, map_id, xyz[:2])]
    lane = atlas.sample_lane[samples]
    first, last = atlas.lane_start[lane], atlas.lane_start[lane] + atlas.lane_count[lane] - 1
    point = jnp.clip(
        atlas.sample_point[samples][:, None] + _SEGMENTS_PER_SAMPLE, first[:, None], last[:, None] - 1
    )
    start, end = atlas.point_xyz[point], atlas.point_xyz[point + 1]  # [candidates, pieces, 3]
    piece, away = end[..., :2] - start[..., :2], xyz[:2] - start[..., :2]
    share = jnp.sum(away * piece, axis=-1) / jnp.maximum(jnp.sum(piece**2, axis=-1), 1e-9)
    share = jnp.clip(share, 0.0, 1.0)
    squared = jnp.sum((away - share[..., None] * piece) ** 2, axis=-1)
    height = start[..., 2] + share * (end[..., 2] - start[..., 2])
    here = (jnp.abs(height - xyz[2]) < LEVEL_GAP_M) & (samples >= 0)[:, None]
    squared = jnp.where(here, squared, jnp.inf).reshape(-1)
    best = jnp.argmin(squared)
    return _place(atlas, xyz, point.reshape(-1)[best], share.reshape(-1)[best], squared[best])


def _place(
    atlas: RoadAtlas,
    xyz: Float[Array, " 3"],
    point: Int[Array, ""],
    share: Float[Array, ""],
    squared: Float[Array, ""],
) -> LanePosition:
    """The position at `share` of the segment that starts at `point`, `squared` m2 away; inf means that there is
    none."""
    lane = atlas.point_lane[point]
    spacing = atlas.lane_length_m[lane] / (atlas.lane_count[lane] - 1)
    yaw = atlas.point_yaw[point]
    yaw = wrap_angle(yaw + share * wrap_angle(atlas.point_yaw[point + 1] - yaw))
    start, end = atlas.point_xyz[point], atlas.point_xyz[point + 1]
    away = (xyz - start - share * (end - start))[:2]
    found = jnp.isfinite(squared)
    return LanePosition(
        lane=jnp.where(found, lane, -1),
        along_m=jnp.where(found, (point - atlas.lane_start[lane] + share) * spacing, 0.0),
        offset_m=jnp.where(found, away[1] * jnp.cos(yaw) - away[0] * jnp.sin(yaw), 0.0),
        yaw=jnp.where(found, yaw, 0.0),
        distance_m=jnp.sqrt(squared),
    )
