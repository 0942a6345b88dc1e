"""The step of a recording from its time stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

UNEVEN_SHARE = 0.1
"""Time stamps may stray from an even step by this share of it."""


def even_timestep_s(path: Path, field: str, times_s: Float[np.ndarray, " steps"]) -> float:
    """The step of time stamps [steps] in seconds, to the millisecond; raises ValueError for uneven ones."""
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
