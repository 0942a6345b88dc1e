"""Lane maps of the nuScenes scenes, from the ScenarioNet logs beside the images, in the same global frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from jaxtyping import Float

from simulator.logs.readers.nuscenes import OUTLINE, feature_line, nuscenes_map
from simulator.logs.readers.safe_pickle import load_plain_pickle
from simulator.roads.road_map import MarkingType

LOG_FOLDER = "logs/nuscenes_scenarionet"
MAP_DATASETS = ("nuscenes_mini",)
"""Data sets of the camera log whose poses are in the frame of these maps."""
CROP_SEGMENT_M = 5.0
"""Lines are cut into segments of at most this length before the distant ones are dropped."""


@dataclass(frozen=True)
class LaneMap:
    """The parts of a scene's map that are drawn on the ground; m, global frame."""

    drivable: shapely.Geometry  # polygons
    markings: tuple[tuple[Float[np.ndarray, "_ 2"], MarkingType], ...]  # painted lines
    edges: tuple[Float[np.ndarray, "_ 2"], ...]  # boundaries of the drivable area

    def near(self, centre: Float[np.ndarray, " 2"], radius_m: float) -> LaneMap:
        """The parts within `radius_m` of a point."""
        return LaneMap(
            self.drivable.intersection(shapely.Point(centre).buffer(radius_m)),
            tuple((part, kind) for line, kind in self.markings for part in _crop(line, centre, radius_m)),
            tuple(part for line in self.edges for part in _crop(line, centre, radius_m)),
        )

    def triangles(self) -> list[Float[np.ndarray, "3 2"]]:
        """The drivable area cut into triangles."""
        polygons = [part for part in shapely.get_parts(self.drivable) if part.area > 0]
        pieces = shapely.get_parts(shapely.constrained_delaunay_triangles(shapely.MultiPolygon(polygons)))
        return [shapely.get_coordinates(piece)[:3] for piece in pieces]


def _crop(
    line: Float[np.ndarray, "points 2"], centre: Float[np.ndarray, " 2"], radius_m: float
) -> list[Float[np.ndarray, "_ 2"]]:
    """The runs of consecutive points within the radius, after cutting long segments."""
    fine = densified(line, CROP_SEGMENT_M)
    near = np.linalg.norm(fine - centre, axis=-1) <= radius_m
    cuts = np.flatnonzero(np.diff(near.astype(np.int8))) + 1
    runs = np.split(np.arange(len(fine)), cuts)
    return [fine[run] for run in runs if near[run[0]] and len(run) >= 2]


def densified(line: Float[np.ndarray, "points 2"], spacing_m: float) -> Float[np.ndarray, "fine 2"]:
    """The line with points added so that no segment is longer than the spacing."""
    return shapely.get_coordinates(shapely.segmentize(shapely.LineString(line), spacing_m))


def load_lane_map(path: Path) -> LaneMap:
    """The map of one nuScenes scene in ScenarioNet's format.

    Raises OSError or ValueError, in one sentence, for a file that is missing or broken, or that has no lane with a
    polygon of finite numbers.
    """
    contents = load_plain_pickle(path)
    features = contents.get("map_features") if isinstance(contents, dict) else None
    if not isinstance(features, dict) or not features:
        raise ValueError(f"{path}: map_features is missing or empty; expected lanes and lines by name")
    for name, feature in features.items():
        if "polygon" in feature:
            feature_line(path, f"{name}.polygon", feature["polygon"], 2)
    source = nuscenes_map(path, features)
    if not any("polygon" in feature for feature in features.values()):
        raise ValueError(f"{path}: map_features has no lane with a polygon")
    outlines = [
        feature_line(path, name, feature.get("polyline"), 2)[:, :2]
        for name, feature in features.items()
        if str(name).startswith(OUTLINE)
    ]
    return LaneMap(
        drivable=shapely.union_all(source.surfaces),
        markings=tuple(
            (line[:, :2], MarkingType.SOLID_WHITE if kind is None else kind) for line, kind in source.markings
        ),
        edges=tuple(outlines),
    )


def lane_map_of(root: Path, dataset: str, seq: str) -> LaneMap | None:
    """The map of a scene of the camera log below `root`, or None where there is none."""
    if dataset not in MAP_DATASETS:
        return None
    found = sorted((root / LOG_FOLDER).glob(f"*_{seq}.pkl*"))
    return load_lane_map(found[0]) if found else None
