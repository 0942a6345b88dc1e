"""Times of real images: text is an ISO date, a number is in the unit that `simulator.logs.time_unit` decides on.

The unit is decided once per scene, from all its samples, or named in the field `timestamp_unit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from adaptation.frames.camera_frame import CameraFrame
from adaptation.frames.index_line import IndexLine
from simulator.logs.time_unit import UNITS_S, TimeUnit, decide_time_unit

DOCUMENTED_WHOLE, DOCUMENTED_FRACTION = "us", "s"
"""What the format documents for whole numbers, and for scenes that have a number with a decimal point."""
MAX_STAMP = 1e20
_WANTED = "an ISO date, a number of s, ms, us or ns, or null"


@dataclass(frozen=True)
class Stamp:
    """The time of one image as its line gives it."""

    value: int | float  # seconds since 1970 for a date
    is_date: bool
    unit: str | None  # as named in the line, a key of UNITS_S


def read_stamp(line: IndexLine) -> Stamp | None:
    """The fields `timestamp` and `timestamp_unit` of a line; None for null. Raises ValueError."""
    value, unit = line.required("timestamp"), line.fields.get("timestamp_unit")
    if unit is not None and unit not in UNITS_S:
        raise line.error("timestamp_unit", unit, f"one of {', '.join(UNITS_S)}")
    if value is None:
        return None
    if isinstance(value, str):
        try:
            if value.isdecimal():  # ten digits and more are read as a date by some rules, and are a number
                raise ValueError("digits only")
            date = datetime.fromisoformat(value)
        except ValueError as error:
            raise line.error("timestamp", value, _WANTED) from error
        # A date without a zone is taken as UTC: only differences matter, and local time has gaps.
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return Stamp(aware.timestamp(), True, None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_STAMP:
        raise line.error("timestamp", value, _WANTED)
    return Stamp(value, False, unit)


def timed_scene(
    frames: Sequence[CameraFrame], stamps: Sequence[Stamp | None]
) -> tuple[list[CameraFrame], TimeUnit | None]:
    """The images of one scene with their times, and the unit of numbers among these (None: there are none).

    Raises:
        ValueError: Dates and numbers are mixed, several units are named, or no unit can be decided on.
    """
    given = [stamp for stamp in stamps if stamp is not None]
    numbers = [stamp for stamp in given if not stamp.is_date]
    where = next((f.where for f, stamp in zip(frames, stamps, strict=True) if stamp in numbers), "")
    if numbers and len(numbers) < len(given):
        raise ValueError(
            f"{where}: timestamp of {frames[0].scene} is a number, and elsewhere a date; use one kind"
        )
    unit = _unit_of(frames, stamps, where) if numbers else None
    seconds = 1.0 if unit is None else UNITS_S[unit.name]
    timed = [
        frame if stamp is None else replace(frame, timestamp_s=_in_seconds(stamp.value, seconds))
        for frame, stamp in zip(frames, stamps, strict=True)
    ]
    return timed, unit


def _in_seconds(value: int | float, unit_s: float) -> float:
    """The value in s. Divided rather than multiplied: 1e6 is exact, 1e-6 is not."""
    return float(value) if unit_s == 1.0 else value / round(1.0 / unit_s)


def _unit_of(frames: Sequence[CameraFrame], stamps: Sequence[Stamp | None], where: str) -> TimeUnit:
    scene = frames[0].scene
    named = dict.fromkeys(stamp.unit for stamp in stamps if stamp is not None)
    if len(named) > 1:
        raise ValueError(
            f"{where}: timestamp_unit of {scene} is {' and '.join(map(str, named))}; name one unit"
        )
    if (name := next(iter(named))) is not None:
        return TimeUnit(name, None, None)
    samples: dict[int, tuple[int | float, np.ndarray]] = {}
    for frame, stamp in zip(frames, stamps, strict=True):
        if stamp is not None:
            pose = frame.world_from_ego
            samples.setdefault(
                frame.frame, (stamp.value, np.full(2, np.nan) if pose is None else pose[:2, 3])
            )
    values = [value for value, _ in samples.values()]
    position = np.array([place for _, place in samples.values()])
    fraction = any(isinstance(value, float) for value in values)
    documented = DOCUMENTED_FRACTION if fraction else DOCUMENTED_WHOLE
    try:
        return decide_time_unit(np.array(values, np.float64), position, documented)
    except ValueError as error:
        raise ValueError(
            f"{where}: timestamp={values[0]} of {scene} {error}; give the field timestamp_unit (one of "
            f"{', '.join(UNITS_S)})"
        ) from error
