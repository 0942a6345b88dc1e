"""What is painted on the ground, as meshes for the renderer: of whole maps, and of single edges and markings.

Torch and NumPy only: nothing here loads JAX, so that real camera frames are drawn by the same code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import shapely
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree

from gigapixel.run_folder.atomic import write_bytes
from gigapixel.run_folder.cache import load_or_build
from renderer import (
    ClassId,
    GroundLibrary,
    GroundMesh,
    dashed_quads,
    ground_quads,
    polygon_quads,
    ribbon_quads,
    strip_quads,
    zebra_quads,
)
from simulator.conventions import LEVEL_GAP_M
from simulator.roads.road_map import MarkingType, RoadMap
from simulator.roads.sources.map_cache import cache_folder

logger = logging.getLogger(__name__)

MARKING_WIDTH_M = 0.15
DOUBLE_GAP_M = 0.20  # between the centres of the two lines of a double marking
DASH_M, DASH_GAP_M = 3.0, 6.0
EDGE_WIDTH_M = 0.25
STOP_LINE_WIDTH_M = 0.5
_SEAM_M = 0.04
_LEAST_TRIANGLE_M2 = 1e-3
ZEBRA_M = 0.5  # width of a crosswalk's bars and of the gaps between them


def ground_mesh(road_map: RoadMap) -> GroundMesh:
    """The ground of one map in world metres: lanes and other asphalt, edges, markings, crosswalks and stop lines."""
    meshes = _asphalt(road_map)
    meshes += edge_meshes(road_map.pieces("edge"))
    markings = zip(road_map.pieces("marking"), road_map.marking_type, strict=True)
    meshes += marking_meshes((line, MarkingType(int(kind))) for line, kind in markings)
    for ring in road_map.pieces("crosswalk"):
        zebra = partial(zebra_quads, ring, ZEBRA_M, ZEBRA_M, ClassId.CROSSWALK)
        meshes.append(_unless_crossed(zebra, "crosswalk", road_map.name))
    meshes += [strip_quads(ends, STOP_LINE_WIDTH_M, ClassId.STOP_LINE) for ends in road_map.stop_line_xyz]
    return GroundMesh.concatenate(meshes)


def edge_meshes(edges: Iterable[Float[np.ndarray, "_ 3"]]) -> list[GroundMesh]:
    """Road edges (polylines, m) as strips EDGE_WIDTH_M wide, one mesh per edge."""
    return [strip_quads(edge, EDGE_WIDTH_M, ClassId.ROAD_EDGE) for edge in edges]


def marking_meshes(markings: Iterable[tuple[Float[np.ndarray, "_ 3"], MarkingType]]) -> list[GroundMesh]:
    """Painted lines (polylines, m) in their colour and pattern: solid, dashed or double."""
    meshes = []
    for line, kind in markings:
        pattern, _, colour = kind.name.partition("_")
        class_id = ClassId.MARKING_YELLOW if colour == "YELLOW" else ClassId.MARKING_WHITE
        if pattern == "DASHED":
            meshes.append(dashed_quads(line, MARKING_WIDTH_M, DASH_M, DASH_GAP_M, class_id))
        elif pattern == "DOUBLE":
            along = np.gradient(line[:, :2].astype(np.float64), axis=0)
            along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
            left = np.stack([-along[:, 1], along[:, 0], np.zeros(len(line))], axis=1)
            offset = left * DOUBLE_GAP_M / 2
            meshes += [strip_quads(line + side * offset, MARKING_WIDTH_M, class_id) for side in (1, -1)]
        else:
            meshes.append(strip_quads(line, MARKING_WIDTH_M, class_id))
    return meshes


def ground_library(maps: Sequence[RoadMap]) -> GroundLibrary:
    """The ground of several maps, in the order of an atlas made of the same list, on the CPU."""
    return GroundLibrary([_cached_ground(road_map) for road_map in maps])


def _cached_ground(road_map: RoadMap) -> GroundMesh:
    """`ground_mesh`, kept in the map cache, because it takes seconds for a large town.

    The entry is named by a digest of the map's arrays and of the code that makes the mesh, so that it is never stale.
    """
    digest = hashlib.sha256(
        b"".join(Path(source).read_bytes() for source in (__file__, ground_quads.__file__))
    )
    for field in fields(road_map):
        value = getattr(road_map, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
            digest.update(f"{field.name}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    entry = cache_folder() / f"ground-{digest.hexdigest()[:32]}.pt"
    return load_or_build(entry, _read_mesh, lambda: ground_mesh(road_map), _write_mesh)


def _read_mesh(entry: Path) -> GroundMesh:
    held = torch.load(entry, weights_only=True)
    mesh = GroundMesh(held["quads"], held["class_id"])
    mesh.validate()
    return mesh


def _write_mesh(entry: Path, mesh: GroundMesh) -> None:
    content = io.BytesIO()  # torch itself reports a full disk as RuntimeError
    torch.save({"quads": mesh.quads, "class_id": mesh.class_id}, content)
    write_bytes(entry, content.getbuffer())


def _asphalt(road_map: RoadMap) -> list[GroundMesh]:
    """Every lane as a ribbon between its boundaries, which follows slopes, and what else is drivable beside them.

    A map lists the outlines of its lanes among its drivable polygons, or, as recorded scenes do, one surface for all
    of them: of that, what lies beside the lanes is filled.
    """
    lanes = _lanes_by_corners(road_map)
    rings = road_map.pieces("drivable")
    keys = [_key(ring[0], ring[-1], ring[(len(ring) - 1) // 2], ring[len(ring) // 2]) for ring in rings]
    within = [_outline(road_map, points) for key, points in lanes.items() if key not in keys]
    meshes = [_lane_ribbon(road_map, points) for points in lanes.values()]
    return meshes + [_filled(ring, within) for ring, key in zip(rings, keys, strict=True) if key not in lanes]


def _lanes_by_corners(road_map: RoadMap) -> dict[bytes, slice]:
    """The points of every lane, by its corners in the order of its outline: along the left side, back on the right."""
    lanes = {}
    for start, count in zip(road_map.lane_start, road_map.lane_count, strict=True):
        points = slice(start, start + count)
        left, right = road_map.point_left_xyz[points], road_map.point_right_xyz[points]
        lanes[_key(left[0], right[0], left[-1], right[-1])] = points
    return lanes


def _key(*corners: Float[np.ndarray, "3"]) -> bytes:
    return np.stack(corners).astype(np.float32).tobytes()


def _outline(road_map: RoadMap, lane: slice) -> Float[np.ndarray, "_ 3"]:
    return np.concatenate([road_map.point_left_xyz[lane], road_map.point_right_xyz[lane][::-1]])


def _lane_ribbon(road_map: RoadMap, lane: slice) -> GroundMesh:
    """Neighbours are simplified independently, so each is widened by the tolerance, to leave no gap between them."""
    left, right = road_map.point_left_xyz[lane], road_map.point_right_xyz[lane]
    across = left - right
    widening = across * (
        ground_quads.ROAD_TOLERANCE_M / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 0.1)
    )
    return ribbon_quads(left + widening, right - widening, ClassId.DRIVABLE)


def _filled(ring: Float[np.ndarray, "points 3"], lanes: Sequence[Float[np.ndarray, "_ 3"]]) -> GroundMesh:
    """The drivable area inside a ring, without the outlines of lanes in it.

    Cut into triangles where lanes lie in it, or where it touches or crosses itself; their corners are at the height of
    the nearest corners of the ring and of lanes.
    """
    inside = [lane for lane in lanes if _on_level(lane, ring)]
    if not inside:
        with contextlib.suppress(ValueError):
            return polygon_quads(ring, ClassId.DRIVABLE)
    area = shapely.make_valid(shapely.Polygon(ring[:, :2]))
    covered = shapely.union_all([shapely.make_valid(shapely.Polygon(lane[:, :2])) for lane in inside])
    # Without the seams of lanes that touch, which ribbons cover, and then a little into the lanes.
    gaps = shapely.difference(area, covered).buffer(-_SEAM_M / 2, join_style="mitre")
    beside = shapely.simplify(gaps.buffer(2 * _SEAM_M, join_style="mitre"), _SEAM_M)
    triangles = shapely.get_parts(shapely.constrained_delaunay_triangles(beside))
    corners = [shapely.get_coordinates(part)[:3] for part in triangles if part.area > _LEAST_TRIANGLE_M2]
    if not corners:
        return GroundMesh.empty()
    known = np.concatenate([ring, *inside])
    distance, nearest = cKDTree(known[:, :2]).query(np.concatenate(corners), k=2)
    weight = 1.0 / np.maximum(distance, 1e-3)
    height = (known[nearest, 2] * weight).sum(axis=1) / weight.sum(axis=1)
    solid = np.column_stack([np.concatenate(corners), height]).reshape(-1, 3, 3)
    return GroundMesh.concatenate([polygon_quads(part, ClassId.DRIVABLE) for part in solid])


def _on_level(lane: Float[np.ndarray, "_ 3"], ring: Float[np.ndarray, "_ 3"]) -> bool:
    """Whether a lane may lie on a surface: not above or below it."""
    return bool(ring[:, 2].min() - LEVEL_GAP_M < np.median(lane[:, 2]) < ring[:, 2].max() + LEVEL_GAP_M)


def _unless_crossed(build: Callable[[], GroundMesh], what: str, name: str) -> GroundMesh:
    """The mesh that `build` returns, or an empty one, with a message in the log, for an outline that crosses itself."""
    try:
        return build()
    except ValueError as error:
        logger.debug("map %s: a %s is not drawn: %s", name, what, error)
        return GroundMesh.empty()
