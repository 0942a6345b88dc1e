"""Builders of ground meshes from arrays of points: ribbons, strips, dashes, polygons and zebra crossings.

Points are [n, 3], world metres. Straight stretches become long quads, because rendering time grows with the number of
quads. All builders raise ValueError with the name of the argument, its value and what would be accepted.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import shapely
import torch

from renderer.ground import GroundMesh
from renderer.palette import GROUND_CLASSES, ClassId

Points: TypeAlias = np.ndarray | torch.Tensor | Sequence[Sequence[float | int]]  # [n, 3]

# Largest distance of a dropped station from the edge that replaces it: a tenth of a line's width.
PAINT_TOLERANCE_M = 0.015
ROAD_TOLERANCE_M = 0.05  # the same for the border of the road, which an edge line covers
VERTICAL_STRICTNESS = 2.5  # factor on vertical distances when they are compared with the tolerance
MAX_QUAD_M = 32.0
MIN_BAR_M2 = 0.01  # smaller pieces of a zebra crossing are dropped
# Numbers of stations that are tried as the length of one quad.
SPANS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MAX_MITRE = 2.0  # largest distance of a strip's corner from the line, in half widths


def ribbon_quads(left: Points, right: Points, class_id: int) -> GroundMesh:
    """The surface between two lines [n, 3] with corresponding points."""
    left, right = _points("left", left, 2), _points("right", right, 2)
    if len(left) != len(right):
        raise ValueError(f"ribbon_quads: left has {len(left)} points and right {len(right)}; they must match")
    return _mesh(_ribbon(left, right, _tolerance(class_id)), class_id)


def strip_quads(polyline: Points, width_m: float, class_id: int) -> GroundMesh:
    """A line [n, 3] painted `width_m` wide."""
    polyline = _without_repeats(_points("polyline", polyline, 2))
    _positive("width_m", width_m)
    return _mesh(_strip(polyline, width_m), class_id)


def dashed_quads(polyline: Points, width_m: float, dash_m: float, gap_m: float, class_id: int) -> GroundMesh:
    """A line [n, 3] painted in dashes of `dash_m`, `gap_m` apart; the first dash starts at the first point."""
    polyline = _without_repeats(_points("polyline", polyline, 2))
    for field, value in (("width_m", width_m), ("dash_m", dash_m), ("gap_m", gap_m)):
        _positive(field, value)
    if len(polyline) < 2:
        return GroundMesh.empty()
    station = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))])
    quads = []
    for begin in np.arange(0.0, station[-1], dash_m + gap_m):
        end = min(begin + dash_m, station[-1])
        inside = station[(station > begin + 1e-6) & (station < end - 1e-6)]
        stations = np.concatenate([[begin], inside, [end]])
        dash = np.stack([np.interp(stations, station, polyline[:, axis]) for axis in range(3)], axis=1)
        quads.append(_strip(_without_repeats(dash), width_m))
    return _mesh(np.concatenate(quads), class_id)


def polygon_quads(polygon: Points, class_id: int) -> GroundMesh:
    """The area inside a simple polygon [n, 3], convex or not, of either winding."""
    polygon = _without_repeats(_points("polygon", polygon, 3))
    if len(polygon) > 1 and np.linalg.norm(polygon[0] - polygon[-1]) < 1e-6:
        polygon = polygon[:-1]
    if len(polygon) < 3:
        raise ValueError(f"polygon_quads: polygon has only {len(polygon)} different corners; it needs 3")
    outline = _simplified(polygon, _tolerance(class_id))
    return _mesh(np.array(_convex_quads(outline, _triangulate(outline[:, :2]))), class_id)


def zebra_quads(polygon: Points, bar_m: float, gap_m: float, class_id: int) -> GroundMesh:
    """Zebra crossing: bars of `bar_m`, `gap_m` apart, across the longer axis of a simple polygon [n, 3].

    The first bar starts at the polygon's end. Heights are those of the least-squares plane of the corners.
    """
    corners = _without_repeats(_points("polygon", polygon, 3))
    for field, value in (("bar_m", bar_m), ("gap_m", gap_m)):
        _positive(field, value)
    area = shapely.Polygon(corners[:, :2])
    if not area.is_valid:
        raise ValueError("zebra_quads: the polygon crosses itself; give a simple outline")
    frame = np.array(shapely.minimum_rotated_rectangle(area).exterior.coords)[:3]
    sides = np.diff(frame, axis=0)
    lengths = np.linalg.norm(sides, axis=1)
    along, across = (
        sides[k] / max(lengths[k], 1e-9) for k in ((0, 1) if lengths[0] >= lengths[1] else (1, 0))
    )
    station = corners[:, :2] @ along
    level, *_ = np.linalg.lstsq(np.column_stack([corners[:, :2], np.ones(len(corners))]), corners[:, 2])
    middle, half = corners[:, :2].mean(0) @ across, lengths.max()
    meshes = [GroundMesh.empty()]
    for begin in np.arange(station.min(), station.max(), bar_m + gap_m):
        ends = [
            (begin, middle - half),
            (begin + bar_m, middle - half),
            (begin + bar_m, middle + half),
            (begin, middle + half),
        ]
        bar = area.intersection(shapely.Polygon([far * along + offset * across for far, offset in ends]))
        for part in getattr(bar, "geoms", [bar]):
            if part.geom_type == "Polygon" and part.area > MIN_BAR_M2:
                outline = np.array(part.exterior.coords)[:-1]
                height = np.column_stack([outline, np.ones(len(outline))]) @ level
                meshes.append(polygon_quads(np.column_stack([outline, height]), class_id))
    return GroundMesh.concatenate(meshes)


def _tolerance(class_id: int) -> float:
    """Tolerance of simplification for a ground class, m."""
    return ROAD_TOLERANCE_M if class_id == ClassId.DRIVABLE else PAINT_TOLERANCE_M


def _simplified(polygon: np.ndarray, tolerance_m: float) -> np.ndarray:
    """A polygon [n, 3] without corners that deviate less than the tolerance; itself if the result would self-cross."""
    ring = np.concatenate([polygon, polygon[:1]])
    kept = _kept_stations(np.concatenate([ring, ring], axis=1), tolerance_m)[:-1]
    outline = polygon[kept]
    return outline if len(outline) > 2 and not _crosses_itself(outline[:, :2]) else polygon


def _mesh(quads: np.ndarray, class_id: int) -> GroundMesh:
    """Mesh of quads [m, 4, 3] of one class; raises ValueError if it is no ground class."""
    if class_id not in GROUND_CLASSES:
        raise ValueError(
            f"class_id={class_id} is no ground class; "
            f"{GROUND_CLASSES[0]} (drivable) to {GROUND_CLASSES[-1]} (stop line) are"
        )
    corners = torch.from_numpy(np.ascontiguousarray(quads, np.float32).reshape(-1, 4, 3))
    return GroundMesh(corners, torch.full((len(corners),), int(class_id), dtype=torch.int64))


def _points(field: str, points: Points, least: int) -> np.ndarray:
    """Points as f64 [n, 3]; raises ValueError for another shape, fewer than `least` points or values not finite."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) < least:
        raise ValueError(f"{field} has shape {array.shape}; it must be (n, 3) with n of at least {least}")
    if not np.isfinite(array).all():
        raise ValueError(f"{field}[{int((~np.isfinite(array)).any(1).argmax())}] is not finite")
    return array


def _positive(field: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite length above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{field}={value} must be a length above 0 m")


def _without_repeats(points: np.ndarray) -> np.ndarray:
    """Points [n, 3] without those that repeat the x, y of the point before."""
    step = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1)
    return points[np.concatenate([[True], step > 1e-6])]


def _ribbon(left: np.ndarray, right: np.ndarray, tolerance_m: float) -> np.ndarray:
    """Quads [m, 4, 3] between two lines [n, 3], as few as the tolerance allows."""
    kept = _kept_stations(np.concatenate([left, right], axis=1), tolerance_m)
    begin, end = kept[:-1], kept[1:]
    return np.stack([right[begin], right[end], left[end], left[begin]], axis=1)


def _kept_stations(pairs: np.ndarray, tolerance_m: float) -> np.ndarray:
    """Indices of the stations [n, 6] (left, right) to keep, so that dropped ones deviate at most by the tolerance.

    Greedy: `fits[i]` is the longest tried number of stations from station i on that one quad can span.
    """
    num = len(pairs)
    fits = np.ones(num, int)
    for span in SPANS:
        if span >= num:
            break
        begin = np.arange(num - span)
        chord = (pairs[begin + span] - pairs[begin]).reshape(-1, 2, 3)
        begin = begin[np.linalg.norm(chord, axis=2).max(axis=1) <= MAX_QUAD_M]
        if not len(begin):
            break
        chord = (pairs[begin + span] - pairs[begin]).reshape(-1, 1, 2, 3)
        offset = (pairs[begin[:, None] + np.arange(1, span)] - pairs[begin][:, None]).reshape(
            -1, span - 1, 2, 3
        )
        fits[begin[_off_chord(offset, chord).max(axis=(1, 2)) <= tolerance_m]] = span
    kept = [0]
    while kept[-1] < num - 1:
        kept.append(kept[-1] + int(fits[kept[-1]]))
    return np.array(kept)


def _off_chord(offset: np.ndarray, chord: np.ndarray) -> np.ndarray:
    """Distance [...] of points [..., 3] from chords [..., 3], vertical distances multiplied by VERTICAL_STRICTNESS."""
    share = (offset * chord).sum(-1) / np.maximum((chord * chord).sum(-1), 1e-12)
    away = offset - np.clip(share, 0, 1)[..., None] * chord
    return np.linalg.norm(away * (1, 1, VERTICAL_STRICTNESS), axis=-1)


def _strip(polyline: np.ndarray, width_m: float) -> np.ndarray:
    """Quads [m, 4, 3] of a line [n, 3] of a given width, with mitred corners."""
    if len(polyline) < 2:
        return np.zeros((0, 4, 3))
    along = np.diff(polyline[:, :2], axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    before, after = np.concatenate([along[:1], along]), np.concatenate([along, along[-1:]])
    middle = before + after
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-6)
    reach = np.minimum(1 / np.maximum((middle * after).sum(1), 1e-6), MAX_MITRE) * width_m / 2
    across = np.stack([-middle[:, 1] * reach, middle[:, 0] * reach, np.zeros(len(reach))], axis=1)
    return _ribbon(polyline + across, polyline - across, PAINT_TOLERANCE_M)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the signed area of a triangle [2] x 3 in the plane, positive if counter-clockwise."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _triangulate(corners: np.ndarray) -> list[tuple[int, int, int]]:
    """Ear clipping of a simple polygon [n, 2]: corner indices of counter-clockwise triangles."""
    if _crosses_itself(corners):
        raise ValueError("polygon_quads: the polygon crosses itself; give a simple outline")
    x, y = corners.T
    area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    left = list(range(len(corners)) if area > 0 else reversed(range(len(corners))))
    triangles: list[tuple[int, int, int]] = []
    while len(left) > 3:
        for position in range(len(left)):
            a, b, c = left[position - 1], left[position], left[(position + 1) % len(left)]
            turn = _cross(corners[a], corners[b], corners[c])
            if turn >= -1e-12 and not _contains_any(corners, (a, b, c), left):
                if turn > 1e-12:  # a corner on a straight line adds nothing
                    triangles.append((a, b, c))
                left.pop(position)
                break
        else:
            raise ValueError("polygon_quads: the polygon touches itself; give a simple outline")
    return [*triangles, (left[0], left[1], left[2])]


def _crosses_itself(corners: np.ndarray) -> bool:
    """Whether two sides of a polygon [n, 2] cross."""
    begin, end = corners, np.roll(corners, -1, axis=0)
    along = end - begin

    def side(points: np.ndarray) -> np.ndarray:  # [sides, points], signed area
        offset = points[None] - begin[:, None]
        return along[:, None, 0] * offset[..., 1] - along[:, None, 1] * offset[..., 0]

    apart = side(begin) * side(end) < -1e-12  # the ends of the other side are on different sides of this one
    return bool((apart & apart.T).any())


def _contains_any(corners: np.ndarray, triangle: tuple[int, int, int], others: list[int]) -> bool:
    """Whether one of the corners `others`, except its own, is strictly inside a counter-clockwise triangle."""
    rest = corners[[index for index in others if index not in triangle]]
    a, b, c = corners[list(triangle)]
    inside = np.ones(len(rest), bool)
    for begin, end in ((a, b), (b, c), (c, a)):
        side = (end[0] - begin[0]) * (rest[:, 1] - begin[1]) - (end[1] - begin[1]) * (rest[:, 0] - begin[0])
        inside &= side > 1e-12
    return bool(inside.any())


def _convex_quads(polygon: np.ndarray, triangles: list[tuple[int, int, int]]) -> list[np.ndarray]:
    """Merge consecutive triangles where two form a convex quad; a single triangle repeats its last corner."""
    quads, previous = [], None
    for triangle in triangles:
        joined = _join(polygon[:, :2], previous, triangle) if previous else None
        if joined:
            quads.append(polygon[list(joined)])
            previous = None
            continue
        if previous:
            quads.append(polygon[[*previous, previous[2]]])
        previous = triangle
    if previous:
        quads.append(polygon[[*previous, previous[2]]])
    return quads


def _join(
    corners: np.ndarray, first: tuple[int, int, int], second: tuple[int, int, int]
) -> tuple[int, int, int, int] | None:
    """The convex quad formed by two counter-clockwise triangles, with its diagonal from corner 0 to 2; None if none."""
    shared = set(first) & set(second)
    if len(shared) != 2:
        return None
    own = first.index(next(iter(set(first) - shared)))
    apex, begin, end = (
        first[own],
        first[(own + 1) % 3],
        first[(own + 2) % 3],
    )  # the shared edge runs begin -> end
    other = next(iter(set(second) - shared))
    quad = (begin, other, end, apex)  # its triangles 0-1-2 and 0-2-3 are the two given ones
    turns = [_cross(*(corners[quad[(k + step) % 4]] for step in range(3))) for k in range(4)]
    return quad if min(turns) > 0 else None
