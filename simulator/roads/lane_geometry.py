"""Lanes resampled at even stations: centreline, boundaries and direction of travel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from simulator.roads.polylines import arc_length, interpolated
from simulator.roads.road_map import MAX_SPACING_M


def resample_lane(
    centre: Float[np.ndarray, "n 3"], left: Float[np.ndarray, "l 3"], right: Float[np.ndarray, "r 3"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Evenly spaced stations of a lane: centre, left, right [points, 3] m and yaw [points] rad.

    Boundaries are sampled at the parameter of the centreline when they have as many vertices (the reader samples
    all three at the same road stations), else by their own relative arc length.
    """
    arc = arc_length(centre)
    points = max(2, int(np.ceil(arc[-1] / MAX_SPACING_M)) + 1)
    stations = np.linspace(0.0, arc[-1], points)
    here = interpolated(centre, arc, stations)
    sides = []
    for side in (left, right):
        side_arc = arc if len(side) == len(centre) else arc_length(side)
        sides.append(interpolated(side, side_arc, stations * (side_arc[-1] / max(arc[-1], 1e-9))))
    return here, sides[0], sides[1], station_yaw(here, sides[0], sides[1])


def station_yaw(centre: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Direction of travel [points]: tangent of the centreline, or across the boundaries where it is a point."""
    step = np.gradient(centre[:, :2], axis=0)
    across = left[:, :2] - right[:, :2]
    forward = np.stack([across[:, 1], -across[:, 0]], axis=1)
    degenerate = np.linalg.norm(step, axis=1) < 1e-4
    step = np.where(degenerate[:, None], forward, step)
    return np.arctan2(step[:, 1], step[:, 0])
