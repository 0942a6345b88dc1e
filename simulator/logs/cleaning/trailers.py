"""Trailers and what draws them: two boxes of one vehicle, which annotations push into each other.

A trailer's front rides over the rear of its cab, so that seen from above both boxes claim the same ground; it is
shortened by that. Where few laser points fall on the two, their boxes slide into each other by more: there the trailer
goes back to the rear of its cab, step by step.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from simulator.conventions import CAR, TRUCK
from simulator.logs.cleaning.movable_box import MovableBox
from simulator.logs.raw_tracks import RawTracks
from simulator.roads.building.repairs import Repairs

FIFTH_WHEEL_M = 3.0
"""A trailer's front lies over at most this much of its cab."""
HITCHED_SHARE = 0.9
"""A trailer is drawn by a vehicle that is right before it for this share of the time in which both are seen."""
HITCH_M = 4.0
"""Right before it: the gap between the two boxes is smaller than this."""
_ALIGNED_COS = 0.85  # of the angle between a trailer and its cab
_GAP_M = 0.01


def separate_trailers(tracks: RawTracks, repairs: Repairs) -> None:
    """Shorten trailers that reach over their cab, move back those that slide into it; in place."""
    if tracks.trailer is None:
        return
    trailer = tracks.trailer & (tracks.kind == TRUCK)
    drawing = np.isin(tracks.kind, (CAR, TRUCK)) & ~tracks.trailer
    for row in np.flatnonzero(trailer):
        for cab in np.flatnonzero(drawing & (tracks.valid & tracks.valid[row]).any(axis=1)):
            _mend(tracks, int(row), _over_cab(tracks, int(row), int(cab)), repairs)


def _mend(tracks: RawTracks, row: int, over: Float[np.ndarray, " steps"], repairs: Repairs) -> None:
    most = float(over.max())
    if most <= 0:
        return
    ahead = np.stack([np.cos(tracks.yaw[row]), np.sin(tracks.yaw[row])], axis=1)
    if most <= min(FIFTH_WHEEL_M, 0.5 * tracks.size[row, 0]):
        tracks.size[row, 0] -= most + _GAP_M
        tracks.position[row, :, :2] -= 0.5 * (most + _GAP_M) * ahead
        repairs.add("trailers shortened to where their cab ends")
    else:
        back = np.where(over > 0, over + _GAP_M, 0.0)
        tracks.position[row, :, :2] -= back[:, None] * ahead
        repairs.add("states of trailers moved back to the rear of their cab", (over > 0).sum())


def _over_cab(tracks: RawTracks, row: int, cab: int) -> Float[np.ndarray, " steps"]:
    """How far (m) a trailer reaches over the vehicle that draws it, at each step; zero if this one does not draw it."""
    over = np.zeros(tracks.valid.shape[1])
    both = np.flatnonzero(tracks.valid[row] & tracks.valid[cab])
    hitched = 0
    for step in both:
        trailer, drawn_by = MovableBox.of(tracks, row, step), MovableBox.of(tracks, cab, step)
        aligned = np.cos(tracks.yaw[row, step] - tracks.yaw[cab, step]) > _ALIGNED_COS
        ahead = trailer.axes[0] @ (drawn_by.xy - trailer.xy) > 0
        depth, across = trailer.depth(drawn_by)
        if aligned and ahead and depth > -HITCH_M and across > 0:
            hitched += 1
            if min(depth, drawn_by.depth(trailer).min()) > 0:
                over[step] = depth
    return over if hitched >= HITCHED_SHARE * len(both) else np.zeros_like(over)
