"""Maps and corrections of nuScenes scenes in ScenarioNet's format.

A scene is 20 s at 10 Hz (boxes are annotated at 2 Hz and interpolated by ScenarioNet). Its map is flat, so the boxes
are put on z = 0. The position of the ego is that of its rear axle, and its length and width are swapped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK
from simulator.logs.cleaning.headings import tracks_in_degrees
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.readers.waymo_map import LONGEST_KIND, MARKING_NAMES, MARKINGS
from simulator.logs.traffic_log import RATE_RANGE, rate_ratio
from simulator.roads.building.raw_map import RawLane, RawMap, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.building.road_surface import area_inside_outlines
from simulator.roads.polylines import arc_length, without_duplicates

NUSCENES_LIMIT_MPS = 13.9
"""50 km/h, Singapore's urban limit (Boston's is a little lower); the files have a placeholder of 100 km/h."""
EGO_CENTRE_M = 1.385
"""Distance from the rear axle, the origin of nuScenes' ego pose, to the centre of its Renault Zoe (estimate of
py123d)."""
OUTLINE = "boundary_"
"""Prefix of the outlines of nuScenes' drivable area in ScenarioNet, which have the type of white lines."""
TRAILER = "vehicle.trailer"
CATEGORIES = {
    "vehicle.truck": TRUCK, "vehicle.bus": TRUCK, "vehicle.trailer": TRUCK, "vehicle.construction": TRUCK,
    "vehicle.emergency": CAR, "vehicle.car": CAR, "vehicle.bicycle": CYCLIST, "vehicle.motorcycle": CYCLIST,
    "human.pedestrian": PEDESTRIAN,
}  # fmt: skip
"""Kind by prefix of nuScenes' category; cones, barriers and all others have none."""


def correct_nuscenes_tracks(
    path: Path, tracks: RawTracks, ego_id: str, timestep_s: float, repairs: Repairs
) -> None:
    """Put boxes on the flat map and move the ego's position from its rear axle to its centre, in place.

    ScenarioNet's velocities are differences to the next position, and zero at the last step; they are dropped and later
    derived from positions. Raises ValueError where they show that the step of time is another one.
    """
    velocity = tracks.velocity
    assert velocity is not None
    ratio = rate_ratio(tracks.position, np.linalg.norm(velocity, axis=2), tracks.valid, timestep_s)
    if ratio is not None and not RATE_RANGE[0] <= ratio <= RATE_RANGE[1]:
        raise ValueError(
            f"{path}: metadata.ts has steps of {timestep_s:g} s, but tracks cover {ratio:.2f} of speed times time; "
            f"expected {RATE_RANGE[0]:g} to {RATE_RANGE[1]:g}"
        )
    tracks.velocity = None
    repairs.add("velocities taken from positions", len(tracks.ids))
    tracks.position[..., 2] = 0.0
    repairs.add("boxes put on the flat map", len(tracks.ids))
    if ego_id in tracks.ids:
        row = tracks.ids.index(ego_id)
        degrees = tracks_in_degrees(tracks.position, tracks.yaw, tracks.valid, timestep_s)[row]
        yaw = np.deg2rad(tracks.yaw[row]) if degrees else tracks.yaw[row]
        ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        tracks.position[row, :, :2] += EGO_CENTRE_M * ahead
        repairs.add("self-driving car moved from its rear axle to its middle")


def nuscenes_map(path: Path, features: dict[str, Any], repairs: Repairs | None = None) -> RawMap:
    """The map of a nuScenes scene: lanes with a surface, connectors without, and outlines of the drivable area.

    Features of other kinds are remarked in `repairs`, and those without enough finite points are counted there.
    """
    repairs = Repairs() if repairs is None else repairs
    result = RawMap(surface_rule=SurfaceRule.LANES)
    outlines = []
    for name, feature in features.items():
        kind = str(checked_feature(path, name, feature).get("type"))
        if kind.startswith("LANE"):
            # The third column of a lane is its heading.
            centre = finite_line(path, name, feature.get("polyline"), 2, repairs)
            if centre is not None:
                result.lanes.append(_nuscenes_lane(path, str(name), centre, feature, result, repairs))
        elif str(name).startswith(OUTLINE):
            outline = finite_line(path, name, feature.get("polyline"), 2, repairs)
            outlines += [] if outline is None else [outline]
        elif kind.startswith("ROAD_LINE"):
            paint = finite_line(path, name, feature.get("polyline"), 2, repairs)
            line = np.zeros((0, 3)) if paint is None else without_duplicates(paint)
            if len(line) >= 2:
                result.markings.append(
                    (line, MARKINGS.get(MARKING_NAMES.get(kind.removeprefix("ROAD_LINE_"), -1)))
                )
        elif kind == "CROSSWALK":
            ring = finite_line(path, name, feature.get("polygon"), 2, repairs)
            result.crosswalks += [] if ring is None else [ring]
        else:
            repairs.remark(f"map features of kind {kind[:LONGEST_KIND]!a} left out")
    if outlines:
        result.surfaces.append(area_inside_outlines(outlines))
    return result


def _nuscenes_lane(
    path: Path, name: str, centre: np.ndarray, feature: dict[str, Any], result: RawMap, repairs: Repairs
) -> RawLane:
    """A lane with the mean width of its surface, which is added to `result`; the width of connectors is derived
    later."""
    lane = RawLane(name, centre)
    if "polygon" in feature:
        ring = finite_line(path, f"{name}.polygon", feature["polygon"], 2, repairs)
        if ring is None or len(ring) < 3:
            repairs.add("surfaces of lanes without enough points left out")
            return lane
        surface = shapely.make_valid(shapely.Polygon(ring[:, :2]))
        result.surfaces.append(surface)
        lane.width_m = float(np.clip(surface.area / max(float(arc_length(centre)[-1]), 1.0), 2.0, 6.0))
    return lane


def checked_feature(path: Path, name: object, feature: Any) -> dict[str, Any]:
    """A map feature. Raises ValueError for one that is no dictionary."""
    if not isinstance(feature, dict):
        raise ValueError(
            f"{path}: map_features[{str(name)!r}] is a {type(feature).__name__}; expected a dictionary"
        )
    return feature


def finite_line(path: Path, name: object, value: Any, axes: int, repairs: Repairs) -> np.ndarray | None:
    """`feature_line` of the points that are finite; None where there is none. What is left out is counted."""
    if not isinstance(value, list | tuple | np.ndarray | None):
        raise ValueError(f"{path}: map_features[{str(name)!r}] is not a list of points")
    if value is None or not len(value):
        repairs.add("map features without points left out")
        return None
    known = value if isinstance(value, np.ndarray) else [point for point in value if point is not None]
    points = _points(path, name, known)
    good = np.isfinite(points[:, :axes]).all(axis=1)
    repairs.add("map points with NaN left out", len(value) - good.sum())
    if not good.any():
        repairs.add("map features without points left out")
        return None
    return feature_line(path, name, points[good], axes)


def feature_line(path: Path, name: object, value: Any, axes: int) -> np.ndarray:
    """A line [n, 3] m from the first `axes` columns of the file, 0 elsewhere. Raises ValueError for values that are
    not finite points."""
    points = _points(path, name, value)
    if not len(points) or not np.isfinite(points[:, :axes]).all():
        raise ValueError(
            f"{path}: map_features[{str(name)!r}] has points of shape {points.shape}; expected finite (x, y[, z])"
        )
    result = np.zeros((len(points), 3))
    result[:, : min(axes, points.shape[1])] = points[:, :axes]
    return result


def _points(path: Path, name: object, value: Any) -> np.ndarray:
    """Points [n, 2 or more] of a file. Raises ValueError for anything else."""
    try:
        points = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: map_features[{str(name)!r}] is not a list of points") from error
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(
            f"{path}: map_features[{str(name)!r}] has points of shape {points.shape}; expected finite (x, y[, z])"
        )
    return points
