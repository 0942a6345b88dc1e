"""What a comparison concludes: means and standard errors over seeds at equal experience or equal numbers of labels."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from student.compare.run import Outcome

SCORE = "driving_score"
METRICS = (SCORE, "goal_rate", "collision_rate", "offroad_rate", "red_light_rate")
"""Metrics of the tables."""
CLEAR = 2.0
"""A difference is called clear above so many standard errors."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and its standard error: sample standard deviation / sqrt(seeds); None for one seed."""

    mean: float
    standard_error: float | None
    seeds: list[float]


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of one value per seed."""
    spread = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Mean(statistics.mean(values), spread, list(values))


@dataclass(frozen=True)
class Difference:
    """How much better `first` is than `second`, with the standard error of independent means."""

    first: str
    second: str
    difference: float
    standard_error: float | None

    @property
    def is_clear(self) -> bool | None:
        """Whether it exceeds CLEAR standard errors; None where they are not known."""
        if self.standard_error is None:
            return None
        return abs(self.difference) > CLEAR * self.standard_error


@dataclass(frozen=True)
class Comparison:
    """All arms at one value of `axis`.

    Attributes:
        axis: `agent_steps` or `labels`.
        at: that value.
        means: by arm and column the mean over seeds, interpolated between the evaluations before and after; columns are
            METRICS, `agent_steps`, `labels` and `optimiser_steps`.
        differences: of the driving score, between all pairs of arms, the later arm of the study first.
    """

    axis: str
    at: float
    means: dict[str, dict[str, Mean]]
    differences: list[Difference]


def compare(outcomes: Sequence[Outcome], axis: str) -> Comparison | None:
    """The arms at the largest value of the axis that all their runs have reached. On the axis of labels, arms without
    labels are left out. None for fewer than two arms."""
    usable = [one for one in outcomes if _column(one, axis)[-1] > 0]
    names = list(dict.fromkeys(one.arm for one in usable))
    if len(names) < 2:
        return None
    at = min(_column(one, axis)[-1] for one in usable)
    means = {name: _means([one for one in usable if one.arm == name], axis, at) for name in names}
    differences = [
        difference(second, means[second][SCORE], first, means[first][SCORE])
        for first, second in combinations(names, 2)
    ]
    return Comparison(axis, at, means, differences)


def difference(first: str, better: Mean, second: str, worse: Mean) -> Difference:
    """The difference of two means, and its standard error, the root of the sum of their squares."""
    errors = (better.standard_error, worse.standard_error)
    error = None if None in errors else math.hypot(*(one for one in errors if one is not None))
    return Difference(first, second, better.mean - worse.mean, error)


def curves(outcomes: Sequence[Outcome], axis: str, column: str = SCORE) -> list[np.ndarray]:
    """One curve [points, 2] per run: the axis and the column, at axis values above those before."""
    found = []
    for one in outcomes:
        x, y = _column(one, axis), _column(one, column)
        kept = np.concatenate([np.diff(x) > 0, [True]])  # of equal places, the last: the newest evaluation
        found.append(np.stack([x, y], axis=1)[kept])
    return found


def _means(outcomes: Sequence[Outcome], axis: str, at: float) -> dict[str, Mean]:
    columns = (*METRICS, "agent_steps", "labels", "optimiser_steps")
    known = [name for name in columns if all(name in point for one in outcomes for point in one.points)]
    return {
        name: mean_of([float(np.interp(at, *curve.T)) for curve in curves(outcomes, axis, name)])
        for name in known
    }


def _column(outcome: Outcome, name: str) -> np.ndarray:
    return np.array([_number(point[name]) for point in outcome.points])


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
