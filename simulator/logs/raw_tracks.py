"""Tracks as a source has them, before they are cleaned."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.conventions import CAR, TRUCK

TRUCK_LENGTH_M = 7.0
"""Vehicles at least this long are trucks where the source only says "vehicle": the longest vans measure 7 m."""
LARGEST_M = 100.0
"""No road user is longer, wider or higher."""


def vehicle_kind(length_m: float | np.floating) -> int:
    """CAR or TRUCK by length, for sources that only say "vehicle"; CAR for unknown and impossible lengths."""
    return TRUCK if TRUCK_LENGTH_M <= length_m <= LARGEST_M else CAR


@dataclass
class RawTracks:
    """Tracks in the frame of the source, float64, before they are cleaned."""

    ids: list[str]
    kind: np.ndarray  # [tracks] int
    size: np.ndarray  # [tracks, 3] m: length, width, height; NaN where the source has none
    position: np.ndarray  # [tracks, steps, 3] m: centre of the box, at ground height; z NaN where unknown
    yaw: np.ndarray  # [tracks, steps] rad, or degrees until `normalise_headings`
    velocity: np.ndarray | None  # [tracks, steps, 2] m/s, None where the source has none
    valid: np.ndarray  # [tracks, steps] bool
    trailer: np.ndarray | None = None  # [tracks] bool: is towed; None where the source does not say

    def keep(self, rows: np.ndarray) -> RawTracks:
        """The chosen tracks (indices or a mask)."""
        chosen = np.arange(len(self.ids))[rows]
        arrays: dict[str, Any] = {
            part: None if getattr(self, part) is None else getattr(self, part)[chosen] for part in _ARRAYS
        }
        return RawTracks(ids=[self.ids[row] for row in chosen], **arrays)


_ARRAYS = tuple(part.name for part in dataclasses.fields(RawTracks) if part.name != "ids")


def tracks_from_rows(
    names: np.ndarray, step: np.ndarray, kind: np.ndarray, centre: np.ndarray, yaw: np.ndarray, size: np.ndarray,
    steps: int, velocity: np.ndarray | None = None,
) -> RawTracks:  # fmt: skip
    """Tracks of `steps` steps from one row per box.

    A second box of a track at the same step becomes a second track of the same name, which `clean_tracks` merges. The
    size of a track is the median over its rows.

    Args:
        names: [n] str, identifier of the track.
        step: [n] int.
        kind: [n] int.
        centre: [n, 3] m, centre of the box at ground height.
        yaw: [n] rad.
        size: [n, 3] m.
        steps: Number of steps of all tracks.
        velocity: [n, 2] m/s, or None.
    """
    turn: dict[tuple[str, int], int] = {}
    keys: dict[tuple[str, int], int] = {}
    row_of = np.empty(len(names), int)
    for row, (name, at) in enumerate(zip(names.tolist(), step.tolist(), strict=True)):
        again = turn.get((name, at), 0)
        turn[name, at] = again + 1
        row_of[row] = keys.setdefault((name, again), len(keys))
    count = len(keys)
    result = RawTracks(
        ids=[name for name, _ in keys], kind=np.zeros(count, int), size=np.full((count, 3), np.nan),
        position=np.zeros((count, steps, 3)), yaw=np.zeros((count, steps)),
        velocity=None if velocity is None else np.zeros((count, steps, 2)), valid=np.zeros((count, steps), bool),
    )  # fmt: skip
    result.kind[row_of] = kind
    result.position[row_of, step] = centre
    result.yaw[row_of, step] = yaw
    result.valid[row_of, step] = True
    if result.velocity is not None:
        result.velocity[row_of, step] = velocity
    for track in range(count):
        result.size[track] = np.median(size[row_of == track], axis=0)
    return result
