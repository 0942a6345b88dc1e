"""How metrics respond to a trait: rank correlation, and change from its lowest to its highest value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from teacher.sweep.figures import BEHAVIOURS, Row

FOLLOWS_RANK, FOLLOWS_ERRORS = 0.9, 2.0
"""A metric follows the trait if its |rank correlation| is at least FOLLOWS_RANK and its change is more than
FOLLOWS_ERRORS standard errors."""

MEANT: Mapping[str, tuple[str, int]] = {
    "collision": ("gap_p10_m", 1),  # in the mean gap most agents are not held up by their leader
    "offroad": ("edge_room_p05_m", 1),
    "red_light": ("red_run_share", -1),
    "comfort": ("acceleration_mps2", -1),
    "lane_align": ("angle_deg", -1),
    "lane_center": ("offset_m", -1),
    "center_bias": ("side_m", 1),
    "progress": ("speed_mps", 1),
    "reverse": ("backing_share", -1),
    "overspeed": ("excess_mps", -1),
    "idle": ("standing_share", -1),
    "goal": ("goal_rate", 1),
    "stop_sign": ("stop_sign_rate", -1),
}
"""The metric that a trait is meant to change, and the sign of the change when the trait rises (our choice)."""


@dataclass(frozen=True)
class Trend:
    """The response of one metric to the trait; None where the metric is unknown for some value.

    Attributes:
        rank_correlation: Spearman's, over the values; None also where the metric is the same for all.
        change: The metric at the last value minus that at the first.
        standard_error: Of the change, from the scatter of the same difference over parts of the worlds.
        follows: Whether the metric follows the trait, see FOLLOWS_RANK.
    """

    rank_correlation: float | None
    change: float | None
    standard_error: float | None
    follows: bool


def trends(values: Sequence[float], rows: Sequence[Row], parts: Sequence[Sequence[Row]]) -> dict[str, Trend]:
    """The trend of every metric. ``rows``: one per value; ``parts``: for each value the rows of the parts of its
    worlds, the same parts for all values."""
    result = {}
    for name in BEHAVIOURS:
        rank = spearman(values, [row[name] for row in rows])
        change = _difference(rows[0][name], rows[-1][name])
        pairs = zip(parts[0], parts[-1], strict=True)
        scatter = [_difference(first[name], last[name]) for first, last in pairs]
        known = [value for value in scatter if value is not None]
        error = float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else None
        strong = rank is not None and abs(rank) >= FOLLOWS_RANK - 1e-9
        clear = change is not None and error is not None and abs(change) > FOLLOWS_ERRORS * error
        result[name] = Trend(rank, change, error, strong and clear)
    return result


def spearman(values: Sequence[float], figures: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation; None where a metric is unknown, or all are equal."""
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(values) or len(set(known)) < 2 or len(set(values)) < 2:
        return None
    return float(scipy.stats.spearmanr(values, known).statistic)


def _difference(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else last - first
