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
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.readers.waymo_map import MARKING_NAMES, MARKINGS
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


def correct_nuscenes_tracks(tracks: RawTracks, ego_id: str, repairs: Repairs) -> None:
    """Put boxes on the flat map and move the ego's position from its rear axle to its centre, in place.

    ScenarioNet's velocities are differences to the next position, and zero at the last step; they are dropped and later
    derived from positions.
    """
    tracks.velocity = None
    repairs.add("velocities taken from positions", len(tracks.ids))
    tracks.position[..., 2] = 0.0
    repairs.add("boxes put on the flat map", len(tracks.ids))
    if ego_id in tracks.ids:
        row = tracks.ids.index(ego_id)
        ahead = np.stack([np.cos(tracks.yaw[row]), np.sin(tracks.yaw[row])], axis=1)
        tracks.position[row, :, :2] += EGO_CENTRE_M * ahead
        repairs.add("self-driving car moved from its rear axle to its middle")


def nuscenes_map(path: Path, features: dict[str, Any]) -> RawMap:
    """The map of a nuScenes scene: lanes with a surface, connectors without, and outlines of the drivable area."""
    result = RawMap(surface_rule=SurfaceRule.LANES)
    outlines = []
    for name, feature in features.items():
        kind = str(feature.get("type"))
        if kind.startswith("LANE"):
            # The third column of a lane is its heading.
            centre = feature_line(path, name, feature.get("polyline"), 2)
            result.lanes.append(_nuscenes_lane(str(name), centre, feature, result))
        elif str(name).startswith(OUTLINE):
            outlines.append(feature_line(path, name, feature.get("polyline"), 2))
        elif kind.startswith("ROAD_LINE"):
            line = without_duplicates(feature_line(path, name, feature.get("polyline"), 2))
            if len(line) >= 2:
                result.markings.append(
                    (line, MARKINGS.get(MARKING_NAMES.get(kind.removeprefix("ROAD_LINE_"), -1)))
                )
        elif kind == "CROSSWALK":
            result.crosswalks.append(feature_line(path, name, feature.get("polygon"), 2))
    if outlines:
        result.surfaces.append(area_inside_outlines(outlines))
    return result


def _nuscenes_lane(name: str, centre: np.ndarray, feature: dict[str, Any], result: RawMap) -> RawLane:
    """A lane with the mean width of its surface, which is added to `result`; the width of connectors is derived
    later."""
    lane = RawLane(name, centre)
    if "polygon" in feature:
        surface = shapely.make_valid(shapely.Polygon(np.asarray(feature["polygon"], np.float64)[:, :2]))
        result.surfaces.append(surface)
        lane.width_m = float(np.clip(surface.area / max(float(arc_length(centre)[-1]), 1.0), 2.0, 6.0))
    return lane


def feature_line(path: Path, name: object, value: Any, axes: int) -> np.ndarray:
    """A line [n, 3] m from the first `axes` columns of the file, 0 elsewhere. Raises ValueError for values that are
    not finite points."""
    try:
        points = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: map_features[{str(name)!r}] is not a list of points") from error
    if points.ndim != 2 or points.shape[1] < 2 or not len(points) or not np.isfinite(points[:, :axes]).all():
        raise ValueError(
            f"{path}: map_features[{str(name)!r}] has points of shape {points.shape}; expected finite (x, y[, z])"
        )
    result = np.zeros((len(points), 3))
    result[:, : min(axes, points.shape[1])] = points[:, :axes]
    return result
