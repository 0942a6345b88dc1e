"""Geometry of polylines [n, 3] m in NumPy: arc length, resampling, headings, offsets, simplification."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

EDGE_TOLERANCE_M = 0.05
"""A simplified road edge stays within this distance of the original."""


def arc_length(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, " n"]:
    """Arc length from the first vertex to every vertex, m."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def resampled(
    line: Float[np.ndarray, "n axes"], spacing_m: float | int
) -> Float[np.ndarray, "stations axes"]:
    """The line at evenly spaced stations at most `spacing_m` apart, both ends included."""
    arc = arc_length(line)
    stations = np.linspace(0.0, arc[-1], max(2, int(np.ceil(arc[-1] / float(spacing_m))) + 1))
    return interpolated(line, arc, stations)


def interpolated(
    line: Float[np.ndarray, "n axes"], arc: Float[np.ndarray, " n"], stations: Float[np.ndarray, " stations"]
) -> Float[np.ndarray, "stations axes"]:
    """Points on the line at these arc lengths (m); `arc` is the line's `arc_length`."""
    return np.stack([np.interp(stations, arc, line[:, axis]) for axis in range(line.shape[1])], axis=1)


def directions(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, " n"]:
    """Heading of the line at every vertex, rad; where neighbouring vertices coincide, the heading from first to last
    vertex."""
    step = np.gradient(line[:, :2], axis=0)
    still = np.linalg.norm(step, axis=1) < 1e-6
    step[still] = line[-1, :2] - line[0, :2]
    return np.arctan2(step[:, 1], step[:, 0])


def offset_line(
    line: Float[np.ndarray, "n 3"], offset_m: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """The line displaced laterally by `offset_m` at every vertex, positive to the left."""
    yaw = directions(line)
    leftward = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros(len(yaw))], axis=1)
    return line + offset_m[:, None] * leftward


def without_duplicates(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, "rest axes"]:
    """The line without vertices that coincide with the one before."""
    apart = np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1) > 1e-6
    return line[np.concatenate([[True], apart])]


def simplified(
    line: Float[np.ndarray, "n 3"], spacing_m: float | int, tolerance_m: float = EDGE_TOLERANCE_M
) -> Float[np.ndarray, "rest 3"]:
    """The line without vertices that it stays within `tolerance_m` of, but with one at least every `spacing_m`."""
    import shapely  # comes with py123d; reading maps must work without both

    kept = shapely.simplify(shapely.LineString(line), tolerance_m)
    points = shapely.get_coordinates(shapely.segmentize(kept, float(spacing_m)), include_z=True)
    return np.nan_to_num(points, nan=0.0)  # Shapely may drop the heights of a flat line


def split_long(line: Float[np.ndarray, "n 3"], longest_m: float | int) -> list[np.ndarray]:
    """Consecutive pieces [n, 3] of the line, each at most about `longest_m` long."""
    arc = arc_length(line)
    pieces = max(1, int(np.ceil(arc[-1] / float(longest_m))))
    cuts = np.searchsorted(arc, arc[-1] * np.arange(1, pieces) / pieces)
    ends = [0, *cuts.tolist(), len(line) - 1]
    return [line[a : b + 1] for a, b in itertools.pairwise(ends) if b > a]
