"""Stationary vehicles: one pose each, and no small overlaps of their boxes.

Annotated boxes of a stationary vehicle vary from step to step, and boxes are annotated slightly too large, so that two
parked vehicles may overlap by up to LARGEST_TRIM_M. Larger overlaps remain; `simulator.logs.inspection.plausibility`
reports them.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import CAR, LEVEL_GAP_M, TRUCK
from simulator.logs.cleaning.movable_box import MovableBox
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.traffic_log import PARKED_M, wrapped
from simulator.roads.building.repairs import Repairs

ROLLED_M = 0.3
"""A vehicle whose median position in the last third of its time lies this far ahead of that in the first third
moves."""
TURNED_RAD = 0.5
"""A vehicle whose heading differs by more than this from its median moves."""
LARGEST_TRIM_M = 0.15
"""Largest correction of the size of an annotated box (our choice: half of the off-road margin)."""
_STATIONARY_GAP_M = 0.01  # between boxes after trimming
_ROUNDS = 8


def freeze_stationary(
    tracks: RawTracks, speed: Float[np.ndarray, "tracks steps"], repairs: Repairs
) -> Bool[np.ndarray, " tracks"]:
    """Put stationary vehicles at their median pose, in place; which tracks are stationary."""
    stationary = np.zeros(len(tracks.ids), bool)
    for row in np.flatnonzero(np.isin(tracks.kind, (CAR, TRUCK))):
        seen = tracks.valid[row]
        position, yaw = tracks.position[row, seen], tracks.yaw[row, seen]
        centre, heading = np.median(position, axis=0), _median_heading(yaw)
        stationary[row] = _is_stationary(position, yaw, centre, heading)
        if stationary[row]:
            wandered = np.linalg.norm(position[:, :2] - centre[:2], axis=1).max() > _STATIONARY_GAP_M
            repairs.add("standing vehicles put at their median place", int(wandered))
            tracks.position[row, seen], tracks.yaw[row, seen], speed[row, seen] = centre, heading, 0.0
            if tracks.velocity is not None:
                tracks.velocity[row, seen] = 0.0
    return stationary


def _is_stationary(
    position: Float[np.ndarray, "seen 3"], yaw: Float[np.ndarray, " seen"], centre: np.ndarray, heading: float
) -> bool:
    """Whether a track is one pose up to annotation noise: it may drift sideways, but not ahead."""
    if np.linalg.norm(position[:, :2] - centre[:2], axis=1).max(initial=0.0) > PARKED_M:
        return False
    if np.abs(np.sin(yaw - heading)).max(initial=0.0) > np.sin(TURNED_RAD):
        return False
    third = max(1, len(position) // 3)
    moved = np.median(position[-third:, :2], axis=0) - np.median(position[:third, :2], axis=0)
    return bool(abs(moved @ [np.cos(heading), np.sin(heading)]) < ROLLED_M)


def _median_heading(yaw: Float[np.ndarray, " seen"]) -> float:
    """Median of headings (rad) of which some may be reversed: annotated boxes flip between steps."""
    axis = np.angle(np.exp(2j * yaw).mean()) / 2
    heading = axis if np.cos(yaw - axis).sum() >= 0 else axis + np.pi
    off = np.mod(yaw - heading + np.pi / 2, np.pi) - np.pi / 2
    return float(wrapped(heading + np.median(off)))


def trim_small_overlaps(tracks: RawTracks, stationary: Bool[np.ndarray, " tracks"], repairs: Repairs) -> None:
    """Trim the facing sides of stationary boxes, by at most LARGEST_TRIM_M each, where that ends an overlap; in
    place."""
    rows = np.flatnonzero(stationary)
    first = np.array([int(np.argmax(tracks.valid[row])) for row in rows], int)
    for (here, at), (there, then) in itertools.combinations(zip(rows, first, strict=True), 2):
        apart = tracks.position[here, at] - tracks.position[there, then]
        reach = np.linalg.norm(tracks.size[here, :2]) + np.linalg.norm(tracks.size[there, :2])
        both_seen = (tracks.valid[here] & tracks.valid[there]).any()
        if not both_seen or np.linalg.norm(apart[:2]) >= reach / 2 or abs(apart[2]) >= LEVEL_GAP_M:
            continue
        boxes = [MovableBox.of(tracks, here, at), MovableBox.of(tracks, there, then)]
        if _separate(boxes):
            repairs.add("loose boxes of standing vehicles trimmed", 2)
            for box, row in zip(boxes, (here, there), strict=True):
                tracks.size[row, :2] = box.size
                tracks.position[row, tracks.valid[row], :2] = box.xy


def _separate(boxes: list[MovableBox]) -> bool:
    """Trim two boxes until they are apart, in place; whether they overlapped and at most LARGEST_TRIM_M was trimmed.
    Where this is false the boxes are not to be used."""
    if min(boxes[0].depth(boxes[1]).min(), boxes[1].depth(boxes[0]).min()) <= 0:
        return False
    before = [box.size.copy() for box in boxes]
    for _ in range(_ROUNDS):
        depths = np.stack([boxes[0].depth(boxes[1]), boxes[1].depth(boxes[0])])
        if depths.min() <= 0:
            return all(
                (old - box.size).max() <= LARGEST_TRIM_M for old, box in zip(before, boxes, strict=True)
            )
        whose, axis = np.unravel_index(np.argmin(depths), depths.shape)
        across = boxes[whose].axes[axis]
        by_m = 0.5 * (depths.min() + _STATIONARY_GAP_M)
        centres = [box.xy.copy() for box in boxes]
        for box, towards in zip(boxes, centres[::-1], strict=True):
            box.trim(int(np.argmax(np.abs(box.axes @ across))), towards, by_m)
    return False
