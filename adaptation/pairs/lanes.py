"""Lane maps of the nuScenes scenes, from the ScenarioNet logs beside the pictures, in the same global frame.

The logs are pickles. They are read by an unpickler that knows numpy arrays and plain containers and refuses
everything else by name, so that a file can hold data but never code.
"""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float

OUTLINE = "boundary"
"""ScenarioNet calls the outlines of the drivable area solid white lines and names them `boundary_N`."""
LOG_FOLDER = "logs/nuscenes_scenarionet"
MAP_DATASETS = ("nuscenes_mini",)
"""Data sets of the camera log whose poses are in the frame of these maps."""

ALLOWED_GLOBALS = {
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}
"""All that a log may name. Lists, tuples, dicts, sets, text and numbers need no name."""


UNREADABLE = (
    pickle.UnpicklingError,
    EOFError,
    OSError,
    zlib.error,
    IndexError,
    KeyError,
    AttributeError,
    TypeError,
)
"""What a broken pickle makes the unpickler raise."""


class PlainUnpickler(pickle.Unpickler):
    """Reads numpy arrays and plain containers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that are allowed."""
        if (module, name) not in ALLOWED_GLOBALS:
            raise ValueError(f"holds {module}.{name}; only numpy arrays and plain containers are read")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_plain_pickle(path: Path) -> Any:
    """The contents of a pickle, gzipped where its name ends in .gz."""
    try:
        contents = path.read_bytes()
        if path.suffix == ".gz":
            contents = gzip.decompress(contents)
        return PlainUnpickler(io.BytesIO(contents)).load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such log") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise ValueError(f"{path}: is not a readable pickle ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class Marking:
    """One painted line."""

    points: Float[np.ndarray, "points 2"]  # m, global frame
    dashed: bool
    yellow: bool


@dataclass(frozen=True)
class LaneMap:
    """What of a scene's map can be drawn on the ground."""

    drivable: shapely.Geometry  # polygons, m, global frame
    markings: tuple[Marking, ...]
    edges: tuple[Float[np.ndarray, "_ 2"], ...]  # borders of the road, m, global frame

    def near(self, centre: Float[np.ndarray, " 2"], radius_m: float) -> LaneMap:
        """Only what lies within `radius_m` of a point."""
        circle = shapely.Point(centre).buffer(radius_m)
        markings = [
            Marking(piece, line.dashed, line.yellow)
            for line in self.markings
            for piece in _pieces_near(line.points, centre, radius_m)
        ]
        edges = [piece for line in self.edges for piece in _pieces_near(line, centre, radius_m)]
        return LaneMap(self.drivable.intersection(circle), tuple(markings), tuple(edges))

    def triangles(self) -> list[Float[np.ndarray, "3 2"]]:
        """The drivable surface cut into triangles."""
        polygons = [part for part in shapely.get_parts(self.drivable) if part.area > 0]
        pieces = shapely.get_parts(shapely.constrained_delaunay_triangles(shapely.MultiPolygon(polygons)))
        return [shapely.get_coordinates(piece)[:3] for piece in pieces]


MAX_SEGMENT_M = 5.0


def _pieces_near(
    points: Float[np.ndarray, "points 2"], centre: Float[np.ndarray, " 2"], radius_m: float
) -> list[Float[np.ndarray, "_ 2"]]:
    """Runs of consecutive points within the radius, after cutting long segments."""
    fine = resample_polyline(points, MAX_SEGMENT_M)
    near = np.linalg.norm(fine - centre, axis=-1) <= radius_m
    cuts = np.flatnonzero(np.diff(near.astype(np.int8))) + 1
    runs = np.split(np.arange(len(fine)), cuts)
    return [fine[run] for run in runs if near[run[0]] and len(run) >= 2]


def resample_polyline(points: Float[np.ndarray, "points 2"], spacing_m: float) -> Float[np.ndarray, "fine 2"]:
    """The same line with points added so that no segment is longer than the spacing."""
    parts = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / spacing_m)))
        share = np.arange(1, count + 1)[:, None] / count
        parts.append(start + share * (end - start))
    return np.concatenate(parts)


def load_lane_map(path: Path) -> LaneMap:
    """The map of one ScenarioNet log; refuses files without map features or with NaN in them."""
    contents = load_plain_pickle(path)
    features = contents.get("map_features") if isinstance(contents, dict) else None
    if not isinstance(features, dict) or not features:
        raise ValueError(f"{path}: map_features is missing or empty; expected lanes and lines by name")
    lanes: list[shapely.Polygon] = []
    outlines: list[np.ndarray] = []
    markings: list[Marking] = []
    for name, feature in features.items():
        kind = str(feature.get("type", "")) if isinstance(feature, dict) else ""
        where = f"{path}: map_features[{name!r}]"
        if kind.startswith("LANE") and "polygon" in feature:
            lanes.append(
                shapely.make_valid(shapely.Polygon(_points(feature["polygon"], 3, f"{where}.polygon")))
            )
        elif kind.startswith("ROAD_LINE"):
            line = _points(feature.get("polyline"), 2, f"{where}.polyline")
            if str(name).startswith(OUTLINE):
                outlines.append(line)
            else:
                markings.append(Marking(line, dashed="BROKEN" in kind, yellow="YELLOW" in kind))
    if not lanes:
        raise ValueError(f"{path}: map_features has no lane with a polygon")
    return LaneMap(_drivable(lanes, outlines), tuple(markings), tuple(outlines))


def _drivable(lanes: list[shapely.Polygon], outlines: list[Float[np.ndarray, "_ 2"]]) -> shapely.Geometry:
    """The area inside the outlines: an outline inside another is a hole. Without outlines, all lanes together."""
    rings = [shapely.make_valid(shapely.Polygon(line)) for line in outlines if len(line) >= 4]
    area: shapely.Geometry = shapely.union_all(lanes)
    for ring in sorted(rings, key=lambda ring: -ring.area):
        inside = any(other is not ring and other.contains(ring) for other in rings)
        area = area.difference(ring) if inside else area.union(ring)
    return area


def _points(value: Any, least: int, where: str) -> Float[np.ndarray, "points 2"]:
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is not a list of points") from error
    if points.ndim != 2 or points.shape[0] < least or points.shape[1] < 2 or not np.isfinite(points).all():
        raise ValueError(f"{where} has shape {points.shape}; expected at least {least} finite points (x, y)")
    return points[:, :2]


def lane_map_of(root: Path, dataset: str, seq: str) -> LaneMap | None:
    """The map of a scene of the camera log, or None where there is none."""
    if dataset not in MAP_DATASETS:
        return None
    found = sorted((root / LOG_FOLDER).glob(f"*_{seq}.pkl*"))
    return load_lane_map(found[0]) if found else None
