"""Summary of a scene pack by source: scenes, tracks, steps, lanes, stop lines and corrections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from simulator.conventions import KIND_NAMES
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import repair_counts
from simulator.roads.road_map import StopKind


@dataclass
class SourceSummary:
    """Sums over the scenes of one source."""

    scenes: int = 0
    egos: int = 0  # scenes that name the ego
    tracks: np.ndarray = field(default_factory=lambda: np.zeros(len(KIND_NAMES), int))  # by kind
    steps: list[int] = field(default_factory=list)  # per scene
    timesteps_s: set[float] = field(default_factory=set)
    state_s: float = 0.0  # seconds of all valid states together
    lanes: int = 0
    lane_m: float = 0.0
    lights: int = 0  # stop lines with a light
    shown: int = 0  # of these, ones with a state other than OFF at some step
    signs: int = 0
    repairs: dict[str, tuple[int, int]] = field(default_factory=dict)  # count, scenes


def summarise_sources(scenes: Iterable[LoggedScene]) -> dict[str, SourceSummary]:
    """The summary of every source, by name."""
    result: dict[str, SourceSummary] = {}
    for scene in scenes:
        log, road_map = scene.log, scene.road_map
        mine = result.setdefault(log.source, SourceSummary())
        lit = road_map.stop_line_kind == StopKind.TRAFFIC_LIGHT
        mine.scenes += 1
        mine.egos += log.ego_track >= 0
        mine.tracks += np.bincount(log.kind, minlength=len(KIND_NAMES))
        mine.steps.append(log.num_steps)
        mine.timesteps_s.add(log.timestep_s)
        mine.state_s += float(log.valid.sum()) * log.timestep_s
        mine.lanes += road_map.num_lanes
        mine.lane_m += float(road_map.lane_length_m.sum())
        mine.lights += int(lit.sum())
        mine.shown += int((log.light_state[lit] > 0).any(axis=1).sum())
        mine.signs += int((~lit).sum())
        for name, count in repair_counts(log).items():
            total, times = mine.repairs.get(name, (0, 0))
            mine.repairs[name] = total + count, times + 1
    return result


def summary_lines(scenes: Iterable[LoggedScene]) -> list[str]:
    """The summaries as lines of text, one source after the other."""
    lines = []
    for source, mine in summarise_sources(scenes).items():
        kinds = ", ".join(f"{count} {name}s" for name, count in zip(KIND_NAMES, mine.tracks, strict=True))
        steps = (
            f"{min(mine.steps)}"
            if min(mine.steps) == max(mine.steps)
            else f"{min(mine.steps)} to {max(mine.steps)}"
        )
        rates = ", ".join(f"{1 / step:.3g} Hz" for step in sorted(mine.timesteps_s))
        lines += [
            f"{source}: {mine.scenes} scenes, {mine.egos} with a named self-driving car",
            f"{'tracks':>12}  {mine.tracks.sum()}: {kinds}",
            f"{'steps':>12}  {steps} at {rates}, {mine.state_s / 3600:.2f} hours of road users in all",
            f"{'road':>12}  {mine.lanes} lanes, {mine.lane_m / 1000:.1f} lane-km",
            f"{'stop lines':>12}  {mine.lights} with lights ({mine.shown} seen working), {mine.signs} with signs",
        ]
        lines += [
            f"{'repairs':>12}  {name}: {count} in {times} scenes"
            for name, (count, times) in mine.repairs.items()
        ]
    return lines
