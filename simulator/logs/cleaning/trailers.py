"""Trailers and their towing vehicles, whose annotated boxes overlap.

The front of a trailer lies over the rear of its cab, so that the footprints overlap; the trailer is shortened by the
overlap. Where few lidar points fall on the two, their boxes overlap by more: there the trailer is moved back to the
rear of its cab at each step.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from simulator.conventions import CAR, TRUCK
from simulator.logs.cleaning.movable_box import MovableBox
from simulator.logs.raw_tracks import RawTracks
from simulator.roads.building.repairs import Repairs

FIFTH_WHEEL_M = 3.0
"""Largest physical overlap of a trailer and its cab."""
HITCHED_SHARE = 0.9
"""A trailer is towed by a vehicle that is directly ahead for this share of the steps at which both are observed."""
HITCH_M = 4.0
"""Directly ahead: the gap between the two boxes is smaller than this."""
_ALIGNED_COS = 0.85  # of the angle between a trailer and its cab
_GAP_M = 0.01


def separate_trailers(tracks: RawTracks, repairs: Repairs) -> None:
    """Shorten trailers that overlap their cab a little, move back those that overlap it by more; in place."""
    if tracks.trailer is None:
        return
    trailer = tracks.trailer & (tracks.kind == TRUCK)
    towing = np.isin(tracks.kind, (CAR, TRUCK)) & ~tracks.trailer
    for row in np.flatnonzero(trailer):
        for cab in np.flatnonzero(towing & (tracks.valid & tracks.valid[row]).any(axis=1)):
            _remove_overlap(tracks, int(row), _cab_overlap(tracks, int(row), int(cab)), repairs)


def _remove_overlap(tracks: RawTracks, row: int, over: Float[np.ndarray, " steps"], repairs: Repairs) -> None:
    """Apply the overlap `over` (m, per step) of one trailer to its size or its positions, in place."""
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


def _cab_overlap(tracks: RawTracks, row: int, cab: int) -> Float[np.ndarray, " steps"]:
    """Overlap (m) of a trailer with a vehicle along the trailer at each step; zero if the vehicle does not tow it."""
    over = np.zeros(tracks.valid.shape[1])
    both = np.flatnonzero(tracks.valid[row] & tracks.valid[cab])
    hitched = 0
    for step in both:
        trailer, cab_box = MovableBox.of(tracks, row, step), MovableBox.of(tracks, cab, step)
        aligned = np.cos(tracks.yaw[row, step] - tracks.yaw[cab, step]) > _ALIGNED_COS
        ahead = trailer.axes[0] @ (cab_box.xy - trailer.xy) > 0
        depth, across = trailer.depth(cab_box)
        if aligned and ahead and depth > -HITCH_M and across > 0:
            hitched += 1
            if min(depth, cab_box.depth(trailer).min()) > 0:
                over[step] = depth
    return over if hitched >= HITCHED_SHARE * len(both) else np.zeros_like(over)
