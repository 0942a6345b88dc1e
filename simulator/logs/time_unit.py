"""The unit of numeric time stamps, decided by what it makes of them: dates, time steps and speeds.

Data sets give times in s, ms, us and ns, and few files say in which. A unit is judged by its time step (that of a
camera or of a log), by whether the times are dates of this century, by the speed of the recording vehicle, and least by
what the format documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds in each unit that is known."""
USUAL_STEP_S = (0.005, 5.0)
"""Time between two samples of a log: 200 Hz to one in 5 s. A factor of 1000, so that one unit at most fits a step."""
POSSIBLE_STEP_S = (1e-4, 600.0)
"""Time between two samples; no unit that gives another is accepted."""
DATES_S = (946_684_800.0, 4_102_444_800.0)
"""The years 2000 to 2100, s since 1970."""
MAX_SPEED_MPS = 70.0
"""No vehicle that records data drives faster."""
MOVING_M = 0.1
"""Positions further apart than this are those of a moving vehicle."""


@dataclass(frozen=True)
class TimeUnit:
    """A unit, and what the time stamps are in it."""

    name: str  # key of UNITS_S
    step_s: float | None  # median time between two stamps; None for a single one
    speed_mps: float | None  # of the vehicle where it moves; None where that is not known

    def describe(self) -> str:
        """The unit and its consequences in a few words, for example "ns (steps of 0.5 s, 10 m/s)"."""
        parts = [] if self.step_s is None else [f"steps of {self.step_s:.3g} s"]
        parts += [] if self.speed_mps is None else [f"{self.speed_mps:.3g} m/s"]
        return f"{self.name} ({', '.join(parts)})" if parts else self.name


def decide_time_unit(
    stamps: Num[np.ndarray, " samples"],
    position: Float[np.ndarray, "samples axes"] | None = None,
    documented: str | None = None,
) -> TimeUnit:
    """The unit in which time stamps are most plausible.

    Args:
        stamps: Times of the samples of one log, in any order.
        position: Of the vehicle at each of them, m; NaN where it is not known.
        documented: The unit that the format documents, a key of UNITS_S; it decides between equally plausible ones.

    Raises:
        ValueError: No unit is plausible, or several are; one clause without the name of the file.
    """
    order = np.argsort(stamps, kind="stable")
    ticks = np.asarray(stamps)[order]
    steps = np.diff(ticks).astype(np.float64)
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else None
    pace = None if position is None else _pace(steps, np.asarray(position, np.float64)[order])
    candidates = [
        TimeUnit(name, None if step is None else step * unit, None if pace is None else pace / unit)
        for name, unit in UNITS_S.items()
    ]
    possible = [candidate for candidate in candidates if _is_possible(candidate)]
    if not possible:
        listed = ", ".join(candidate.describe() for candidate in candidates)
        raise ValueError(
            f"fits no unit: {listed}; accepted are steps of {POSSIBLE_STEP_S[0]:g} to {POSSIBLE_STEP_S[1]:g} s and "
            f"at most {MAX_SPEED_MPS:g} m/s"
        )
    scores = [_score(candidate, ticks, documented) for candidate in possible]
    best = [candidate for candidate, score in zip(possible, scores, strict=True) if score == max(scores)]
    if len(best) > 1:
        raise ValueError(f"may be in {' or in '.join(candidate.describe() for candidate in best)}")
    return best[0]


def _pace(steps: Float[np.ndarray, " steps"], position: Float[np.ndarray, "samples axes"]) -> float | None:
    """Median distance per unit of time over the steps in which the vehicle moves; None if it never does."""
    distance = np.linalg.norm(np.diff(position, axis=0), axis=1)
    moving = (steps > 0) & (distance > MOVING_M)
    return float(np.median(distance[moving] / steps[moving])) if moving.any() else None


def _is_possible(candidate: TimeUnit) -> bool:
    low, high = POSSIBLE_STEP_S
    slow_enough = candidate.speed_mps is None or candidate.speed_mps <= MAX_SPEED_MPS
    return slow_enough and (candidate.step_s is None or low <= candidate.step_s <= high)


def _score(candidate: TimeUnit, ticks: Num[np.ndarray, " samples"], documented: str | None) -> int:
    """How plausible a possible unit is: a usual step and dates count twice as much as the documentation."""
    usual = candidate.step_s is not None and USUAL_STEP_S[0] <= candidate.step_s < USUAL_STEP_S[1]
    unit = UNITS_S[candidate.name]
    dated = bool(DATES_S[0] <= ticks[0] * unit and ticks[-1] * unit <= DATES_S[1])
    return 2 * usual + 2 * dated + (candidate.name == documented)
