"""The time step of a log from its time stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

UNEVEN_SHARE = 0.1
"""Largest deviation of a step from the median step, relative to it."""


def even_timestep_s(path: Path, field: str, times_s: Float[np.ndarray, " steps"]) -> float:
    """The median step of the time stamps [steps] in s, rounded to 1 ms. Raises ValueError, which names file and
    field, for uneven steps."""
    if len(times_s) < 2 or not np.isfinite(times_s).all():
        raise ValueError(f"{path}: {field} holds {len(times_s)} time stamps; expected at least 2 finite ones")
    steps = np.diff(times_s)
    step = round(float(np.median(steps)), 3)
    if step <= 0 or np.abs(steps - step).max() > UNEVEN_SHARE * step:
        raise ValueError(
            f"{path}: {field} has steps of {steps.min():.3f} to {steps.max():.3f} s; expected even ones, "
            f"within {UNEVEN_SHARE:.0%} of {step:g} s"
        )
    return step
