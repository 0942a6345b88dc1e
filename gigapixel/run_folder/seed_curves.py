"""Curves of several seeds: their mean, its standard error, and how studies draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

COLOURS = ("#1d6fb8", "#d1495b", "#3a9d5d", "#8a5fbf", "#c98a1b")
"""Of the arms of a study, in order."""


def mean_curve(
    curves: Sequence[np.ndarray], points: int = 60, logarithmic: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Mean and standard error over curves [n, 2] of (x, y) with increasing x, interpolated to ``points`` places of the
    range that they have in common: x, mean and standard error, each [points]; the last is None for a single curve.

    ``logarithmic`` spaces the places by equal ratios, for x above 0.
    """
    first, last = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    x = np.geomspace(first, last, points) if logarithmic else np.linspace(first, last, points)
    y = np.stack([np.interp(x, curve[:, 0], curve[:, 1]) for curve in curves])
    if len(curves) == 1:
        return x, y[0], None
    return x, y.mean(axis=0), y.std(axis=0, ddof=1) / math.sqrt(len(curves))
