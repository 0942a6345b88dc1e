"""Affine variants of a map: scaled, sheared and mirrored, with the tables of the original.

GIGAFLOW perturbs its maps by scale, shear and flip into 128 variants; the ranges are our choice. The tables of an atlas
describe the original map: positions in the world are transformed to the original map before a look-up, and results back
to the world. Variant 0 is the original; the matrices of all variants are fixed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from simulator.config import SimulatorConfig
from simulator.roads.road_map import RoadMap
from simulator.state import Scenario

MAX_VARIANTS = 128
SCALE = (0.75, 1.15)
"""Smallest and largest scale: lanes of 3.5 m become 2.6 to 4 m wide; radii change likewise."""
MAX_SHEAR = 0.15
_SEED = 20250206


def variant_matrices(count: int) -> Float[np.ndarray, "count 2 2"]:
    """Matrices world_from_map of variants 0 to ``count`` - 1. Raises ValueError for more than MAX_VARIANTS."""
    if not 1 <= count <= MAX_VARIANTS:
        raise ValueError(f"map_variants={count} must lie between 1 and {MAX_VARIANTS}")
    draw = np.random.default_rng(_SEED).uniform(size=(MAX_VARIANTS, 4))
    scale = SCALE[0] + (SCALE[1] - SCALE[0]) * draw[:, 0]
    shear = MAX_SHEAR * (2.0 * draw[:, 1] - 1.0)
    angle = np.pi * draw[:, 2]
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    lean = np.broadcast_to(np.eye(2), turn.shape).copy()
    lean[:, 0, 1] = shear
    flip = np.where((draw[:, 3] < 0.5)[:, None, None], np.eye(2), np.diag([1.0, -1.0]))
    matrices = scale[:, None, None] * (turn @ lean @ np.swapaxes(turn, 1, 2)) @ flip
    matrices[0] = np.eye(2)
    return matrices[:count].astype(np.float32)


def least_stretch(count: int) -> float:
    """The least factor by which a length of the map changes in any of the first ``count`` variants, in any direction; 1
    without variants."""
    return float(np.linalg.svd(variant_matrices(count), compute_uv=False).min())


def inverse(matrix: Float[Array, "2 2"]) -> Float[Array, "2 2"]:
    """The inverse: map_from_world of a world_from_map."""
    (a, b), (c, d) = matrix
    return jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)


def on_map(scenario: Scenario, xy: Float[Array, "*n 2"], config: SimulatorConfig) -> Float[Array, "*n 2"]:
    """World positions (m) in coordinates of the original map, as the atlas has them; the same without variants."""
    return transformed(scenario.map_inverse, xy) if config.map_variants > 1 else xy


def in_world(scenario: Scenario, xy: Float[Array, "*n 2"], config: SimulatorConfig) -> Float[Array, "*n 2"]:
    """Positions (m) on the original map in world coordinates; unit vectors do not stay unit vectors."""
    return transformed(scenario.map_matrix, xy) if config.map_variants > 1 else xy


def transformed(matrix: Float[Array, "2 2"], xy: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
    """``matrix @ xy``, written out: GPUs may round matrix products to 10 bits."""
    x, y = xy[..., 0], xy[..., 1]
    return jnp.stack([matrix[0, 0] * x + matrix[0, 1] * y, matrix[1, 0] * x + matrix[1, 1] * y], axis=-1)


def variant_map(road_map: RoadMap, matrix: Float[np.ndarray, "2 2"]) -> RoadMap:
    """The map of a variant, for drawing and tests. Traffic on mirrored maps drives on the left."""
    moved: dict[str, Any] = {
        field.name: _moved(getattr(road_map, field.name), matrix)
        for field in dataclasses.fields(road_map)
        if field.name.endswith(("_xyz", "_points"))
    }
    for name in ("point_yaw", "stop_line_yaw"):
        yaw = getattr(road_map, name)
        along = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1) @ matrix.T
        moved[name] = np.arctan2(along[:, 1], along[:, 0]).astype(np.float32)
    lanes = np.repeat(np.arange(road_map.num_lanes), road_map.lane_count)
    steps = np.linalg.norm(np.diff(moved["point_xyz"], axis=0), axis=1)
    steps = np.where(np.diff(lanes) == 0, steps, 0.0)
    moved["lane_length_m"] = np.bincount(lanes[:-1], steps, road_map.num_lanes).astype(np.float32)
    sides = ("point_left_xyz", "point_right_xyz"), ("lane_left", "lane_right")
    if np.linalg.det(matrix) < 0:
        for left, right in sides:
            pair = {left: getattr(road_map, left), right: getattr(road_map, right), **moved}
            moved[left], moved[right] = pair[right], pair[left]
        moved["stop_line_xyz"] = moved["stop_line_xyz"][:, ::-1].copy()
    across = np.linalg.norm(moved["point_left_xyz"] - moved["point_right_xyz"], axis=1)
    moved["lane_width_m"] = (np.bincount(lanes, across) / road_map.lane_count).astype(np.float32)
    return dataclasses.replace(road_map, **moved)


def _moved(xyz: np.ndarray, matrix: Float[np.ndarray, "2 2"]) -> np.ndarray:
    result = xyz.copy()
    result[..., :2] = xyz[..., :2] @ matrix.T
    return result
