"""Vehicles that stand: one pose each, and no box in another.

A vehicle that stands has one pose. Two that stand do not reach into each other: where their boxes do by a hand's
breadth, the boxes are loose. Everything that is mended is counted by name; deeper overlaps stay, for the report to
tell.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import CAR, LEVEL_GAP_M, TRUCK
from simulator.logs.cleaning.movable_box import MovableBox
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.traffic_log import PARKED_M, wrapped
from simulator.roads.building.repairs import Repairs

ROLLED_M = 0.3
"""A vehicle whose median place in the last third of its time lies this far ahead of that in the first third rolls."""
TURNED_RAD = 0.5
"""A vehicle whose heading strays farther than this from its median does more than stand."""
LOOSE_M = 0.15
"""A side of an annotated box may be this much too far out (our choice: half of what a departure allows)."""
_GAP_M = 0.01  # left between boxes that are trimmed
_ROUNDS = 8


def freeze_stationary(
    tracks: RawTracks, speed: Float[np.ndarray, "tracks steps"], repairs: Repairs
) -> Bool[np.ndarray, " tracks"]:
    """Put vehicles that stand all the time at their median pose, in place; which ones stand."""
    still = np.zeros(len(tracks.ids), bool)
    for row in np.flatnonzero(np.isin(tracks.kind, (CAR, TRUCK))):
        seen = tracks.valid[row]
        place, yaw = tracks.position[row, seen], tracks.yaw[row, seen]
        middle, heading = np.median(place, axis=0), _median_heading(yaw)
        still[row] = _stands(place, yaw, middle, heading)
        if still[row]:
            wandered = np.linalg.norm(place[:, :2] - middle[:2], axis=1).max() > _GAP_M
            repairs.add("standing vehicles put at their median place", int(wandered))
            tracks.position[row, seen], tracks.yaw[row, seen], speed[row, seen] = middle, heading, 0.0
            if tracks.velocity is not None:
                tracks.velocity[row, seen] = 0.0
    return still


def _stands(
    place: Float[np.ndarray, "seen 3"], yaw: Float[np.ndarray, " seen"], middle: np.ndarray, heading: float
) -> bool:
    """Whether places and headings are one pose and what annotation adds to it: sideways it may drift, ahead not."""
    if np.linalg.norm(place[:, :2] - middle[:2], axis=1).max(initial=0.0) > PARKED_M:
        return False
    if np.abs(np.sin(yaw - heading)).max(initial=0.0) > np.sin(TURNED_RAD):
        return False
    third = max(1, len(place) // 3)
    moved = np.median(place[-third:, :2], axis=0) - np.median(place[:third, :2], axis=0)
    return bool(abs(moved @ [np.cos(heading), np.sin(heading)]) < ROLLED_M)


def _median_heading(yaw: Float[np.ndarray, " seen"]) -> float:
    """Median of headings (rad) of which some may point backwards: boxes flip from one moment to the next."""
    axis = np.angle(np.exp(2j * yaw).mean()) / 2
    heading = axis if np.cos(yaw - axis).sum() >= 0 else axis + np.pi
    off = np.mod(yaw - heading + np.pi / 2, np.pi) - np.pi / 2
    return float(wrapped(heading + np.median(off)))


def trim_small_overlaps(tracks: RawTracks, still: Bool[np.ndarray, " tracks"], repairs: Repairs) -> None:
    """Move the facing sides of standing boxes apart, by at most LOOSE_M each, where that ends an overlap; in place."""
    rows = np.flatnonzero(still)
    first = np.array([int(np.argmax(tracks.valid[row])) for row in rows], int)
    for place, (here, at) in enumerate(zip(rows, first, strict=True)):
        for there, then in zip(rows[place + 1 :], first[place + 1 :], strict=True):
            apart = tracks.position[here, at] - tracks.position[there, then]
            reach = np.linalg.norm(tracks.size[here, :2]) + np.linalg.norm(tracks.size[there, :2])
            together = (tracks.valid[here] & tracks.valid[there]).any()
            if together and np.linalg.norm(apart[:2]) < reach / 2 and abs(apart[2]) < LEVEL_GAP_M:
                boxes = [MovableBox.of(tracks, here, at), MovableBox.of(tracks, there, then)]
                if _part(boxes):
                    repairs.add("loose boxes of standing vehicles trimmed", 2)
                    for box, row in zip(boxes, (here, there), strict=True):
                        tracks.size[row, :2] = box.size
                        tracks.position[row, tracks.valid[row], :2] = box.xy


def _part(boxes: list[MovableBox]) -> bool:
    """Trim two boxes until they are apart; whether that took at most LOOSE_M of each (else they are spoilt)."""
    if min(boxes[0].depth(boxes[1]).min(), boxes[1].depth(boxes[0]).min()) <= 0:
        return False
    before = [box.size.copy() for box in boxes]
    for _ in range(_ROUNDS):
        depths = np.stack([boxes[0].depth(boxes[1]), boxes[1].depth(boxes[0])])
        if depths.min() <= 0:
            return all((old - box.size).max() <= LOOSE_M for old, box in zip(before, boxes, strict=True))
        whose, axis = np.unravel_index(np.argmin(depths), depths.shape)
        across = boxes[whose].axes[axis]
        by_m = 0.5 * (depths.min() + _GAP_M)
        centres = [box.xy.copy() for box in boxes]
        for box, towards in zip(boxes, centres[::-1], strict=True):
            box.trim(int(np.argmax(np.abs(box.axes @ across))), towards, by_m)
    return False
