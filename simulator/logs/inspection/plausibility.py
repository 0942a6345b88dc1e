"""Plausibility of logged scenes: time off the road and in overlap with others.

Counted in vehicle-seconds (cars and trucks), with the geometry of the simulator (`simulator.logs.box_geometry`). No
threshold is tuned to the logs: off-road time means that the map or the boxes of a log are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import scipy.spatial
from jaxtyping import Bool

from simulator.conventions import KIND_NAMES, TRUCK
from simulator.logs.box_geometry import OFFROAD_M, log_edge_distance, overlaps_of
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog, parked_tracks, repair_counts

UNMAPPED_M = 5.0
"""A vehicle farther than this from every centreline is in a driveway, a car park or a road that the map leaves out."""


@dataclass
class SceneReport:
    """Vehicle-seconds of one scene, and the tracks with the most of them."""

    name: str
    source: str
    vehicle_s: float = 0.0  # all valid states of vehicles
    moving_s: float = 0.0  # of vehicle_s, vehicles that are not parked throughout
    offroad_s: float = 0.0  # a corner farther than OFFROAD_M off the road
    offroad_moving_s: float = 0.0  # of moving_s
    unmapped_s: float = 0.0  # of offroad_moving_s, farther than UNMAPPED_M from every lane
    overlap_s: float = 0.0  # vehicles that overlap another vehicle
    overlap_parked_s: float = 0.0  # of overlap_s, where both are parked
    overlap_other_s: float = 0.0  # vehicles that overlap a cyclist or a pedestrian
    offroad_tracks: list[tuple[float, str]] = field(
        default_factory=list
    )  # (seconds, description), longest first
    overlap_tracks: list[tuple[float, str]] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)


def log_report(scenes: Iterable[LoggedScene]) -> list[SceneReport]:
    """One report per scene; `scenes` may be an open `ScenePack`."""
    return [scene_report(scene) for scene in scenes]


def scene_report(scene: LoggedScene) -> SceneReport:
    """Vehicle-seconds off the road and in overlap of one scene."""
    log = scene.log
    vehicle = log.kind <= TRUCK
    parked = parked_tracks(log.position, log.valid)
    seen = log.valid & vehicle[:, None]
    report = SceneReport(log.name, log.source, repairs=repair_counts(log))
    report.vehicle_s = float(seen.sum()) * log.timestep_s
    report.moving_s = float(seen[~parked].sum()) * log.timestep_s
    off = offroad_states(scene) & vehicle[:, None]
    report.offroad_s = float(off.sum()) * log.timestep_s
    report.offroad_moving_s = float(off[~parked].sum()) * log.timestep_s
    report.unmapped_s = float((off & far_from_lanes(scene))[~parked].sum()) * log.timestep_s
    report.offroad_tracks = _worst(off.sum(axis=1) * log.timestep_s, lambda row: _describe(log, parked, row))
    _count_overlaps(report, log, vehicle, parked)
    return report


def offroad_states(scene: LoggedScene) -> Bool[np.ndarray, "tracks steps"]:
    """States with a corner of the box farther than OFFROAD_M outside the drivable area."""
    distance = log_edge_distance(scene)
    return scene.log.valid & (distance.min(axis=2) < -OFFROAD_M)


def far_from_lanes(scene: LoggedScene) -> Bool[np.ndarray, "tracks steps"]:
    """States farther than UNMAPPED_M from every centreline."""
    tree = scipy.spatial.cKDTree(scene.road_map.point_xyz[:, :2])
    return tree.query(scene.log.position[..., :2])[0] > UNMAPPED_M


def _count_overlaps(report: SceneReport, log: TrafficLog, vehicle: np.ndarray, parked: np.ndarray) -> None:
    pairs = overlaps_of(log)
    both = pairs[vehicle][:, vehicle]
    rows = np.flatnonzero(vehicle)
    seconds = both.sum(axis=2) * log.timestep_s
    both_parked = parked[rows][:, None] & parked[rows][None]
    report.overlap_s = float(both.any(axis=1).sum()) * log.timestep_s
    report.overlap_parked_s = float((both & both_parked[..., None]).any(axis=1).sum()) * log.timestep_s
    report.overlap_other_s = float(pairs[vehicle][:, ~vehicle].any(axis=1).sum()) * log.timestep_s
    a, b = np.nonzero(np.triu(seconds, 1))
    report.overlap_tracks = _worst(
        seconds[a, b],
        lambda n: f"{_describe(log, parked, rows[a[n]])} and {_describe(log, parked, rows[b[n]])}",
    )


def _worst(seconds: np.ndarray, name: Callable[[int], str], most: int = 5) -> list[tuple[float, str]]:
    order = [row for row in np.argsort(-seconds, kind="stable")[:most] if seconds[row] > 0]
    return [(float(seconds[row]), name(int(row))) for row in order]


def _describe(log: TrafficLog, parked: np.ndarray, row: int | np.integer) -> str:
    ego = "ego " if row == log.ego_track else ""
    state = "parked " if parked[row] else ""
    length, width = log.size[row, :2]
    return f"{ego}{state}{KIND_NAMES[log.kind[row]]} {log.track_ids[row][:8]} ({length:.1f} x {width:.1f} m)"


def report_lines(reports: list[SceneReport]) -> list[str]:
    """The shares of every source and its worst scenes, as lines of text."""
    lines = []
    for source in dict.fromkeys(report.source for report in reports):
        mine = [report for report in reports if report.source == source]
        total = sum(report.vehicle_s for report in mine)
        lines.append(f"{source}: {len(mine)} scenes, {total:.0f} vehicle-seconds")
        for name, (what, of) in _SHARES.items():
            seconds, total_s = (sum(getattr(report, one) for report in mine) for one in (name, of))
            lines.append(f"  {seconds / max(total_s, 1e-9):8.2%}  {what} ({seconds:.1f} of {total_s:.0f} s)")
        for name, what in (("offroad", "off the road"), ("overlap", "overlapping")):
            worst = sorted(mine, key=lambda one: -getattr(one, f"{name}_s"))[:3]
            for report in worst:
                if getattr(report, f"{name}_s") > 0:
                    tracks = "; ".join(
                        f"{text} {seconds:.1f} s" for seconds, text in getattr(report, f"{name}_tracks")[:3]
                    )
                    share = getattr(report, f"{name}_s") / max(report.vehicle_s, 1e-9)
                    lines.append(f"    {what} most: {report.name} {share:.1%}: {tracks}")
    return lines


_SHARES = {  # per field: its description, and the field of which it is a share
    "offroad_s": ("off the road", "vehicle_s"),
    "offroad_moving_s": ("off the road, of vehicles that move", "moving_s"),
    "unmapped_s": (
        f"of these, farther than {UNMAPPED_M:g} m from every lane: ground the map leaves out",
        "moving_s",
    ),
    "overlap_s": ("overlapping another vehicle", "vehicle_s"),
    "overlap_parked_s": ("of these, both parked", "vehicle_s"),
    "overlap_other_s": ("overlapping a cyclist or a pedestrian", "vehicle_s"),
}
