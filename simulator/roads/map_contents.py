"""What a road map holds, as a few lines of text: lanes and where they lead, lights and signs, paint, surfaces."""

from __future__ import annotations

import numpy as np

from simulator.roads.road_map import MarkingType, RoadMap, StopKind

SHORTER_THAN_A_CAR_M = 5.0
_PIECES = ("edge", "crosswalk", "drivable", "walkway")


def map_contents(road_map: RoadMap) -> dict[str, str]:
    """The rows of a table: name and content."""
    low, high = road_map.bounds()
    limits, height = road_map.lane_speed_limit_mps, road_map.point_xyz[:, 2]
    return {
        "lanes": lane_counts(road_map),
        "lane ends": _ends(road_map),
        "speed limits": f"{limits.min():.1f} to {limits.max():.1f} m/s",
        "extent": f"{high[0] - low[0]:.0f} x {high[1] - low[1]:.0f} m",
        "height": f"{height.min():.1f} to {height.max():.1f} m",
        "stop lines": _stop_lines(road_map),
        "phase groups": _phase_groups(road_map),
        "paint": _paint(road_map),
        "pieces": ", ".join(f"{len(road_map.pieces(kind))} {kind}" for kind in _PIECES),
    }


def lane_counts(road_map: RoadMap) -> str:
    """Number of lanes, kilometres and junctions, as one line."""
    kilometres = float(road_map.lane_length_m.sum()) / 1000.0
    junctions = int(road_map.lane_junction.max(initial=-1)) + 1
    lit = len(road_map.junction_groups)
    return (
        f"{road_map.num_lanes} lanes, {kilometres:.1f} km, {junctions} junctions of which {lit} with lights"
    )


def _ends(road_map: RoadMap) -> str:
    inside = int((road_map.lane_junction >= 0).sum())
    dead_ends = int((road_map.lane_successors < 0).all(axis=1).sum())
    openings = int((road_map.lane_predecessors < 0).all(axis=1).sum())
    short = int((road_map.lane_length_m < SHORTER_THAN_A_CAR_M).sum())
    return (
        f"{inside} lanes inside junctions, {dead_ends} that lead nowhere, {openings} that come from nowhere, "
        f"{short} shorter than {SHORTER_THAN_A_CAR_M:g} m"
    )


def _stop_lines(road_map: RoadMap) -> str:
    lights, signs, yields = (int((road_map.stop_line_kind == kind).sum()) for kind in StopKind)
    return f"{lights} with lights, {signs} with stop signs, {yields} with yield signs"


def _phase_groups(road_map: RoadMap) -> str:
    counts = np.bincount(road_map.junction_groups).tolist()
    return f"{counts} junctions with 0, 1, 2, ... groups" if counts else "none"


def _paint(road_map: RoadMap) -> str:
    counts = np.bincount(road_map.marking_type, minlength=len(MarkingType)).tolist()
    held = zip(MarkingType, counts, strict=True)
    return (
        ", ".join(f"{count} {kind.name.lower().replace('_', ' ')}" for kind, count in held if count) or "none"
    )
