"""The time step of a log from its time stamps, and the unit that they are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.logs.time_unit import UNITS_S, decide_time_unit
from simulator.roads.building.repairs import Repairs

UNEVEN_SHARE = 0.1
"""Largest deviation of a step from the median step, relative to it."""


def even_timestep_s(path: Path, field: str, stamps: np.ndarray, documented: str, repairs: Repairs) -> float:
    """The step in s of time stamps [steps], as `even_step_s`, in the unit that `unit_of` finds."""
    return even_step_s(path, field, stamps, unit_of(path, field, stamps, documented, repairs))


def even_step_s(path: Path, field: str, stamps: np.ndarray, unit_s: float) -> float:
    """The median step in s, rounded to 1 ms, of time stamps [steps] in units of `unit_s`. Raises ValueError, which
    names file and field, for uneven steps."""
    steps_s = np.diff(stamps).astype(np.float64) * unit_s
    step_s = round(float(np.median(steps_s)), 3)
    if step_s <= 0 or np.abs(steps_s - step_s).max() > UNEVEN_SHARE * step_s:
        raise ValueError(
            f"{path}: {field} has steps of {steps_s.min():.3f} to {steps_s.max():.3f} s; expected even ones, "
            f"within {UNEVEN_SHARE:.0%} of {step_s:g} s"
        )
    return step_s


def unit_of(path: Path, field: str, stamps: np.ndarray, documented: str, repairs: Repairs) -> float:
    """The length in s of the unit of time stamps [steps].

    The unit is remarked in `repairs`, and counted there where it is not `documented`, the key of UNITS_S that the
    format prescribes. Raises ValueError, which names file and field, for stamps that are no finite numbers, and where
    no unit is plausible.
    """
    if stamps.ndim != 1 or stamps.dtype.kind not in "iuf" or len(stamps) < 2 or not np.isfinite(stamps).all():
        raise ValueError(f"{path}: {field} holds {stamps.size} time stamps; expected at least 2 finite ones")
    try:
        unit = decide_time_unit(stamps, documented=documented).name
    except ValueError as error:
        raise ValueError(f"{path}: {field} {error}") from error
    repairs.remark(f"time stamps of {field} are in {unit}")
    if unit != documented:
        repairs.add(f"time stamps of {field} taken as {unit}, not {documented}, by their spacing")
    return UNITS_S[unit]
