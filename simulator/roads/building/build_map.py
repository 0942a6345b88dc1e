"""Build a `RoadMap` from a `RawMap`; what the source leaves out is derived, and each derivation is counted by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from simulator.roads.building.lane_links import junctions_by_crossing, links_by_endpoints, reversed_links
from simulator.roads.building.lane_widths import DEFAULT_WIDTH_M, LANE_POINT_M, LaneSides, lane_sides
from simulator.roads.building.map_features import map_feature_fields
from simulator.roads.building.raw_map import Provenance, RawLane, RawMap
from simulator.roads.building.repairs import Repairs
from simulator.roads.building.signal_stop_lines import signal_stop_lines
from simulator.roads.lane_geometry import resample_lane
from simulator.roads.polylines import arc_length, offset_line, resampled, without_duplicates
from simulator.roads.road_map import RoadMap, pack_pieces, pad_indices
from simulator.roads.stop_lines import Station

SHORTEST_LANE_M = 0.2
"""Shorter lanes have no direction; they are left out."""


@dataclass
class _Lanes:
    """The lanes of a map with everything derived. Lines are [n, 3] m, in the frame of the map."""

    sources: list[RawLane]
    index: dict[str, int]
    centres: list[np.ndarray]
    left: list[np.ndarray]
    right: list[np.ndarray]
    successors: list[list[int]]
    predecessors: list[list[int]]
    junction: list[object]
    neighbours: tuple[np.ndarray, np.ndarray]


def build_log_map(
    source: RawMap,
    provenance: Provenance,
    origin: np.ndarray,
    default_limit_mps: float,
    steps: int,
    repairs: Repairs,
    parked: Sequence[shapely.Polygon] = (),
) -> tuple[RoadMap, np.ndarray]:
    """The road map of a scene in coordinates relative to `origin`, and the light state [stops, steps] of its stop
    lines.

    Args:
        source: The map as its source describes it; changed in place.
        provenance: Name and source of the scene, for the map's metadata and for error messages.
        origin: [3] m, in the frame of the source.
        default_limit_mps: Speed limit of lanes for which the source gives none.
        steps: Number of time steps of the scene, for the light states.
        repairs: Counts what was derived or assumed.
        parked: Footprint of each vehicle that is parked throughout, in the plane, relative to `origin`, m.

    Raises:
        ValueError: The source has no lane, or a derived array is impossible.
    """
    translate_map(source, -origin)
    source.lanes = _long_enough(source.lanes, repairs)
    if not source.lanes:
        raise ValueError(
            f"{provenance.file}: scene {provenance.name} has no lane; expected at least one centreline"
        )
    lanes = _derive_lanes(source, repairs)
    stations = [resample_lane(*lines) for lines in zip(lanes.centres, lanes.left, lanes.right, strict=True)]
    stops, lane_junction, light_state, lost = signal_stop_lines(
        source.signals, lanes.index, stations, lanes.junction, lanes.successors, steps
    )
    repairs.add("signals without an approach left out", lost)
    road_map = RoadMap(
        name=provenance.name, source_file=provenance.file, source_sha256=provenance.sha256,
        importer=provenance.importer, left_out="", lane_junction=lane_junction,
        lane_speed_limit_mps=_limits(lanes.sources, default_limit_mps, repairs),
        **_lane_fields(lanes, stations), **stops,
        **map_feature_fields(source, (lanes.centres, lanes.left, lanes.right), parked, repairs),
    )  # fmt: skip
    return road_map.validate(), light_state


def _lane_fields(lanes: _Lanes, stations: Sequence[Station]) -> dict[str, np.ndarray]:
    """Lines, lengths, links and neighbours of all lanes, as `RoadMap` has them."""
    centre, start, count = pack_pieces([lane[0] for lane in stations])
    left, right, yaw = (np.concatenate([lane[part] for lane in stations]) for part in (1, 2, 3))
    lengths = [arc_length(line)[-1] for line in lanes.centres]
    widths = [np.linalg.norm(lane[1] - lane[2], axis=1).mean() for lane in stations]
    return {
        "lane_ids": np.array([lane.name for lane in lanes.sources]), "lane_start": start, "lane_count": count,
        "point_xyz": centre, "point_yaw": yaw.astype(np.float32), "point_left_xyz": left.astype(np.float32),
        "point_right_xyz": right.astype(np.float32), "lane_length_m": np.array(lengths, np.float32),
        "lane_width_m": np.array(widths, np.float32), "lane_successors": pad_indices(lanes.successors),
        "lane_predecessors": pad_indices(lanes.predecessors), "lane_left": lanes.neighbours[0].astype(np.int32),
        "lane_right": lanes.neighbours[1].astype(np.int32),
    }  # fmt: skip


def translate_map(source: RawMap, by: np.ndarray) -> None:
    """Translate everything by `by` [3] m, in place."""
    for lane in source.lanes:
        lane.centre = lane.centre + by
        lane.left = None if lane.left is None else lane.left + by
        lane.right = None if lane.right is None else lane.right + by
    source.edges = [line + by for line in source.edges]
    source.markings = [(line + by, kind) for line, kind in source.markings]
    source.crosswalks = [ring + by for ring in source.crosswalks]
    source.walkways = [ring + by for ring in source.walkways]
    source.surfaces = [shapely.transform(area, lambda xy: xy + by[:2]) for area in source.surfaces]
    for signal in source.signals:
        signal.point = None if signal.point is None else signal.point + by


def _long_enough(lanes: Sequence[RawLane], repairs: Repairs) -> list[RawLane]:
    result = []
    for lane in lanes:
        lane.centre = without_duplicates(lane.centre)
        if len(lane.centre) >= 2 and arc_length(lane.centre)[-1] >= SHORTEST_LANE_M:
            result.append(lane)
    repairs.add("lanes without length left out", len(lanes) - len(result))
    return result


def _derive_lanes(source: RawMap, repairs: Repairs) -> _Lanes:
    lanes = source.lanes
    index = {lane.name: number for number, lane in enumerate(lanes)}
    centres = [lane.centre for lane in lanes]
    successors, predecessors = _links(lanes, index, repairs)
    lengths = [float(arc_length(line)[-1]) for line in centres]
    if all(lane.junction_known for lane in lanes):
        junction: list[object] = [lane.junction for lane in lanes]
    else:
        junction = list(junctions_by_crossing(centres, lengths, successors, predecessors))
    _take_widths_from_links(lanes, successors, predecessors, repairs)
    sides = _sides(source, repairs)
    left, right, fine = [], [], []
    for number, lane in enumerate(lanes):
        if lane.left is not None and lane.right is not None:
            fine.append(lane.centre)
            left.append(lane.left)
            right.append(lane.right)
        else:
            halves = (lane.width_m / 2,) * 2 if lane.width_m else _halves(sides, number)
            line = resampled(lane.centre, LANE_POINT_M)
            fine.append(line)
            left.append(offset_line(line, np.full(len(line), halves[0])))
            right.append(offset_line(line, np.full(len(line), -halves[1])))
    neighbours = (_neighbours(lanes, index, sides, "left"), _neighbours(lanes, index, sides, "right"))
    return _Lanes(lanes, index, fine, left, right, successors, predecessors, junction, neighbours)


def _take_widths_from_links(
    lanes: Sequence[RawLane], successors: list[list[int]], predecessors: list[list[int]], repairs: Repairs
) -> None:
    """Lanes without sides or width get the mean width of their successors and predecessors, where known; in place."""
    known = [lane.width_m for lane in lanes]
    for number, lane in enumerate(lanes):
        if lane.left is None and lane.width_m is None:
            widths = [
                known[other] or 0.0 for other in successors[number] + predecessors[number] if known[other]
            ]
            if widths:
                lane.width_m = float(np.mean(widths))
                repairs.add("lane widths taken from the lanes before and after")


def _halves(sides: LaneSides, lane: int) -> tuple[float, float]:
    return float(sides.half_left_m[lane]), float(sides.half_right_m[lane])


def _links(
    lanes: Sequence[RawLane], index: dict[str, int], repairs: Repairs
) -> tuple[list[list[int]], list[list[int]]]:
    """Successors and predecessors of every lane: from the source, else from lane ends that coincide."""
    if all(lane.successors is not None for lane in lanes):
        forward = [[index[name] for name in lane.successors or [] if name in index] for lane in lanes]
        back = [[index[name] for name in lane.predecessors or [] if name in index] for lane in lanes]
        for lane, before in enumerate(back):  # some sources give one direction only
            for other in before:
                if lane not in forward[other]:
                    forward[other].append(lane)
        return forward, reversed_links(forward)
    forward = links_by_endpoints([lane.centre for lane in lanes])
    repairs.add("lane links found where lanes meet", sum(len(row) for row in forward))
    return forward, reversed_links(forward)


def _sides(source: RawMap, repairs: Repairs) -> LaneSides:
    """Half widths and neighbours of all lanes, from the paint, lanes and kerbs beside them."""
    lanes = source.lanes
    sides = lane_sides([lane.centre for lane in lanes], [line for line, _ in source.markings], source.edges)
    bare = np.array([lane.left is None and not lane.width_m for lane in lanes])
    repairs.add("lane widths derived from what lies beside", (bare & sides.known).sum())
    repairs.add(f"lane widths assumed {DEFAULT_WIDTH_M:g} m", (bare & ~sides.known).sum())
    return sides


def _neighbours(lanes: Sequence[RawLane], index: dict[str, int], sides: LaneSides, side: str) -> np.ndarray:
    derived = getattr(sides, side)
    known = [getattr(lane, f"{side}_neighbour") for lane in lanes]
    return np.array([
        index.get(known[number], -1) if lane.neighbours_known else derived[number]
        for number, lane in enumerate(lanes)
    ])  # fmt: skip


def _limits(lanes: Sequence[RawLane], default_mps: float, repairs: Repairs) -> np.ndarray:
    missing = [not lane.speed_limit_mps for lane in lanes]
    repairs.add(f"speed limits assumed {default_mps:g} m/s", sum(missing))
    return np.array([lane.speed_limit_mps or default_mps for lane in lanes], np.float32)
