"""py123d's map objects, of any data set that it reads, as a `RawMap`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely

from simulator.roads.building.raw_map import RawLane, RawMap, Signal, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.polylines import directions
from simulator.roads.road_map import MarkingType, StopKind

SAME_WAY = 0.5
"""Least cosine between the headings of neighbours: py123d also lists lanes of the opposite direction."""
_STOPS = {
    "TRAFFIC_LIGHT": StopKind.TRAFFIC_LIGHT, "STOP_SIGN": StopKind.STOP_SIGN, "YIELD_SIGN": StopKind.YIELD
}  # fmt: skip
_USED = (
    "Lane", "LaneGroup", "Intersection", "Carpark", "GenericDrivable", "RoadEdge", "RoadLine", "Crosswalk", "Walkway",
    "StopZone",
)  # fmt: skip
_SURFACES = ("Carpark", "GenericDrivable", "Intersection")


def source_map_of(objects: Iterable[Any], repairs: Repairs) -> RawMap:
    """The map that py123d's objects describe. Bicycle lanes are drivable area but not lanes.

    Where a data set has kerbs but no surfaces (Waymo, KITTI-360), the drivable area is derived from lanes and kerbs.
    """
    result = RawMap(surface_rule=SurfaceRule.LANES)
    by_type: dict[str, list[Any]] = {}
    for item in objects:
        by_type.setdefault(type(item).__name__, []).append(item)
    junctions = {str(group.object_id): group.intersection_id for group in by_type.get("LaneGroup", ())}
    for kind in sorted(set(by_type) - set(_USED)):
        repairs.remark(f"map objects of kind {kind} left out", len(by_type[kind]))
    for lane in by_type.get("Lane", ()):
        if lane.lane_type.name == "BIKE_LANE":
            repairs.add("bicycle lanes taken as asphalt only")
            result.surfaces.append(shapely.make_valid(lane.shapely_polygon))
        else:
            result.lanes.append(_lane(lane, junctions))
    _check_neighbours(result.lanes)
    for name in _SURFACES:
        result.surfaces += [shapely.make_valid(item.shapely_polygon) for item in by_type.get(name, ())]
    if not result.surfaces and by_type.get("RoadEdge"):
        result.surface_rule = SurfaceRule.KERBS
    result.edges = [line3(edge.polyline.array) for edge in by_type.get("RoadEdge", ())]
    for line in by_type.get("RoadLine", ()):
        if line.road_line_type.name != "NONE":
            result.markings.append((line3(line.polyline.array), marking_of(line.road_line_type.name)))
        else:
            repairs.remark("painted lines of no type left out")
    result.crosswalks = [_ring(item) for item in by_type.get("Crosswalk", ())]
    result.walkways = [_ring(item) for item in by_type.get("Walkway", ())]
    for zone in by_type.get("StopZone", ()):
        stop = _STOPS.get(zone.stop_zone_type.name)
        if stop is not None and zone.lane_ids:
            result.signals.append(Signal(stop, [str(lane) for lane in zone.lane_ids]))
        else:
            repairs.remark("stop zones of other kinds or without lanes left out")
    return result


def line3(points: Any) -> np.ndarray:
    """Points [n, 2 or 3] as [n, 3] float64, m; missing heights, and those that are not finite, are
    0."""
    line = np.asarray(points, np.float64)
    if not line.size:
        return np.zeros((0, 3))
    if line.shape[1] == 2:
        line = np.concatenate([line, np.zeros((len(line), 1))], axis=1)
    heights = np.where(np.isfinite(line[:, 2:]), line[:, 2:], 0.0)
    return np.concatenate([line[:, :2], heights], axis=1)


def marking_of(name: str) -> MarkingType | None:
    """Marking type from py123d's name; None for an unknown one. Mixed patterns count as double."""
    yellow = "YELLOW" in name
    if "DOUBLE_SOLID" in name or "SOLID_DASH" in name or "DASH_SOLID" in name:
        return MarkingType.DOUBLE_YELLOW if yellow else MarkingType.DOUBLE_WHITE
    if "DASH" in name:
        return MarkingType.DASHED_YELLOW if yellow else MarkingType.DASHED_WHITE
    if "SOLID" in name:
        return MarkingType.SOLID_YELLOW if yellow else MarkingType.SOLID_WHITE
    return None


def _lane(lane: Any, junctions: dict[str, Any]) -> RawLane:
    group = junctions.get(str(lane.lane_group_id)) if lane.lane_group_id is not None else None
    return RawLane(
        str(lane.object_id), line3(lane.centerline.array), line3(lane.left_boundary.array),
        line3(lane.right_boundary.array), successors=[str(name) for name in lane.successor_ids],
        predecessors=[str(name) for name in lane.predecessor_ids], left_neighbour=_text(lane.left_lane_id),
        right_neighbour=_text(lane.right_lane_id), neighbours_known=True, speed_limit_mps=lane.speed_limit_mps,
        junction=group, junction_known=bool(junctions),
    )  # fmt: skip


def _text(name: Any) -> str | None:
    return None if name is None else str(name)


def _check_neighbours(lanes: list[RawLane]) -> None:
    """Remove neighbours of the opposite direction, in place."""
    yaw = {
        lane.name: directions(lane.centre)[len(lane.centre) // 2] if len(lane.centre) > 1 else 0.0
        for lane in lanes
    }
    for lane in lanes:
        for side in ("left_neighbour", "right_neighbour"):
            other = getattr(lane, side)
            if other is not None and (other not in yaw or np.cos(yaw[other] - yaw[lane.name]) < SAME_WAY):
                setattr(lane, side, None)


def _ring(item: Any) -> np.ndarray:
    """Outline as an open ring [n, 3]."""
    ring = line3(item.outline.array)
    return ring[:-1] if len(ring) > 1 and np.allclose(ring[0], ring[-1]) else ring
