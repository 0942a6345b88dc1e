"""Headings of raw tracks in radians in (-pi, pi], whatever unit and number of turns their source has them in.

The unit is decided by motion: in the right unit a road user moves where its heading points. Sources have one unit per
file, so that a track follows the scene unless its own motion contradicts; one large value decides nothing, because a
heading in radians may be any number of turns too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simulator.logs.raw_tracks import RawTracks
from simulator.roads.building.repairs import Repairs

MOVED_M = 0.3
"""Shorter moves between neighbouring states are dominated by annotation noise."""
LEAST_MOVES = 10
"""Least number of moves in a scene from which degrees are inferred where no heading exceeds a turn."""
SCENE_MARGIN = 0.2
"""By so much the mean cosine between heading and motion must be better in degrees to infer them there."""
SLOW_S, SLOW_MOVED_M = 1.0, 0.8
"""A pedestrian's motion is judged over this time, if it covers this distance."""
TRACK_MOVES = 3
"""Least number of moves with which a track is judged by itself."""
TRACK_FIT, TRACK_MARGIN = 0.9, 0.5
"""In a scene of degrees, a track is in radians where the mean cosine is above TRACK_FIT in radians, and by
TRACK_MARGIN better than in degrees: a reversing car fits neither."""
MOST_TURNS = 4
"""Nobody turns more often within a log: without motion, headings beyond this are in degrees."""
TURN = 2 * np.pi


@dataclass(frozen=True)
class _Fits:
    """How well headings agree with motion: sums over the moves of each track [tracks]."""

    moves: np.ndarray  # number of moves
    radians: np.ndarray  # sum of the cosines between heading and motion, taken as radians
    degrees: np.ndarray  # the same, taken as degrees

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean cosines of each track in radians and in degrees; 0 for tracks without moves."""
        count = np.maximum(self.moves, 1)
        return self.radians / count, self.degrees / count


def normalise_headings(tracks: RawTracks, timestep_s: float | int, repairs: Repairs) -> None:
    """Convert headings to radians in (-pi, pi], in place."""
    degrees = tracks_in_degrees(tracks.position, tracks.yaw, tracks.valid, timestep_s)
    repairs.add("headings in degrees converted", degrees.sum())
    tracks.yaw[degrees] = np.deg2rad(tracks.yaw[degrees])
    beyond = (np.abs(np.where(tracks.valid, tracks.yaw, 0.0)) > TURN).any(axis=1) & ~degrees
    repairs.add("tracks with headings of more than a turn wrapped", beyond.sum())
    tracks.yaw = np.pi - np.mod(np.pi - tracks.yaw, TURN)


def tracks_in_degrees(
    position: Float[np.ndarray, "tracks steps 3"],
    yaw: Float[np.ndarray, "tracks steps"],
    valid: Bool[np.ndarray, "tracks steps"],
    timestep_s: float | int,
) -> Bool[np.ndarray, " tracks"]:
    """Which tracks have headings in degrees.

    Where no heading exceeds a turn, degrees are inferred for the whole scene only.
    """
    quick = _fits(position, yaw, valid, 1, MOVED_M)
    large = np.abs(np.where(valid, yaw, 0.0)).max(axis=1, initial=0.0)
    if not (large > TURN).any():
        moves = quick.moves.sum()
        better = quick.degrees.sum() > quick.radians.sum() + SCENE_MARGIN * moves
        return np.full(len(yaw), bool(moves >= LEAST_MOVES and better))
    lag = max(2, round(SLOW_S / float(timestep_s)))
    slow = _fits(position, yaw, valid, lag, SLOW_MOVED_M)
    fits = _Fits(quick.moves + slow.moves, quick.radians + slow.radians, quick.degrees + slow.degrees)
    turns = _median_size(yaw, valid) / TURN
    judged = fits.moves >= TRACK_MOVES
    as_radians, as_degrees = fits.means()
    if judged.any():
        scene = bool((as_degrees - as_radians)[judged].mean() > 0)
    else:
        scene = bool(np.median(turns[large > TURN]) > MOST_TURNS)
    if scene:
        radians = judged & (as_radians > TRACK_FIT) & (as_radians > as_degrees + TRACK_MARGIN)
        return ~(radians & (large <= MOST_TURNS * TURN))
    return (large > TURN) & np.where(judged, as_degrees > as_radians, turns > MOST_TURNS)


def _fits(
    position: Float[np.ndarray, "tracks steps 3"],
    yaw: Float[np.ndarray, "tracks steps"],
    valid: Bool[np.ndarray, "tracks steps"],
    lag: int,
    least_m: float,
) -> _Fits:
    """Fits of all moves of at least `least_m` between states `lag` steps apart; the heading is that of the state in
    their middle."""
    middle = lag // 2
    seen = valid[:, lag:] & valid[:, :-lag] & valid[:, middle : valid.shape[1] - lag + middle]
    step = np.where(seen[..., None], position[:, lag:, :2] - position[:, :-lag, :2], 0.0)
    moved = np.linalg.norm(step, axis=2) > least_m
    course = np.arctan2(step[..., 1], step[..., 0])
    heading = np.where(moved, yaw[:, middle : yaw.shape[1] - lag + middle], 0.0)
    sums = [
        np.where(moved, np.cos(course - angle), 0.0).sum(axis=1) for angle in (heading, np.deg2rad(heading))
    ]
    return _Fits(moved.sum(axis=1), *sums)


def _median_size(
    yaw: Float[np.ndarray, "tracks steps"], valid: Bool[np.ndarray, "tracks steps"]
) -> Float[np.ndarray, " tracks"]:
    """Median of the absolute headings of each track; 0 for tracks without a valid state."""
    return np.array(
        [np.median(np.abs(row[seen])) if seen.any() else 0.0 for row, seen in zip(yaw, valid, strict=True)]
    )
