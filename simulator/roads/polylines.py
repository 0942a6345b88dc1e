"""Lines as arrays [n, 3] in metres: their length, their stations, their direction; float64, on the host."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

EDGE_TOLERANCE_M = 0.05
"""Vertices of a road edge go as long as the line stays this close to where it was."""


def arc_length(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, " n"]:
    """Distance of every vertex from the first one, along the line, m."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def resampled(
    line: Float[np.ndarray, "n axes"], spacing_m: float | int
) -> Float[np.ndarray, "stations axes"]:
    """The line at even stations no farther apart than the spacing; both ends stay."""
    arc = arc_length(line)
    stations = np.linspace(0.0, arc[-1], max(2, int(np.ceil(arc[-1] / float(spacing_m))) + 1))
    return interpolated(line, arc, stations)


def interpolated(
    line: Float[np.ndarray, "n axes"], arc: Float[np.ndarray, " n"], stations: Float[np.ndarray, " stations"]
) -> Float[np.ndarray, "stations axes"]:
    """Places on the line at these distances from its first vertex (m); `arc` is its `arc_length`."""
    return np.stack([np.interp(stations, arc, line[:, axis]) for axis in range(line.shape[1])], axis=1)


def directions(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, " n"]:
    """Heading of the line at every vertex, rad; a vertex that repeats its neighbours takes the line's own heading."""
    step = np.gradient(line[:, :2], axis=0)
    still = np.linalg.norm(step, axis=1) < 1e-6
    step[still] = line[-1, :2] - line[0, :2]
    return np.arctan2(step[:, 1], step[:, 0])


def offset_line(
    line: Float[np.ndarray, "n 3"], offset_m: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """The line moved to its left by `offset_m` at every vertex (to its right where negative)."""
    yaw = directions(line)
    aside = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros(len(yaw))], axis=1)
    return line + offset_m[:, None] * aside


def without_duplicates(line: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, "rest axes"]:
    """The line without vertices that lie on the one before."""
    apart = np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1) > 1e-6
    return line[np.concatenate([[True], apart])]


def simplified(
    line: Float[np.ndarray, "n 3"], spacing_m: float | int, tolerance_m: float = EDGE_TOLERANCE_M
) -> Float[np.ndarray, "rest 3"]:
    """Without the vertices that carry no shape, but with one at least every `spacing_m`."""
    import shapely  # comes with py123d; reading maps must work without either

    kept = shapely.simplify(shapely.LineString(line), tolerance_m)
    points = shapely.get_coordinates(shapely.segmentize(kept, float(spacing_m)), include_z=True)
    return np.nan_to_num(points, nan=0.0)  # a flat line may lose its heights on the way


def split_long(line: Float[np.ndarray, "n 3"], longest_m: float | int) -> list[np.ndarray]:
    """Pieces of the line no longer than about `longest_m`, each beginning where the last one ended."""
    arc = arc_length(line)
    pieces = max(1, int(np.ceil(arc[-1] / float(longest_m))))
    cuts = np.searchsorted(arc, arc[-1] * np.arange(1, pieces) / pieces)
    ends = [0, *cuts.tolist(), len(line) - 1]
    return [line[a : b + 1] for a, b in itertools.pairwise(ends) if b > a]
