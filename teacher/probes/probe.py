"""The record that describes a probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents
from teacher.probes.starts import Trial

Window = tuple[tuple[float, float], float, float]
"""Centre (x, y m), width (m), and height / width of the area that images show."""


@dataclass(frozen=True)
class Probe:
    """One scripted situation.

    Attributes:
        name: Its name on the command line and in the JSON output.
        seconds: Time limit.
        draw: Draws a random trial: (generator, number of the trial) -> Trial.
        judge: Finds the failure events: ProbeRun -> events.
        window: The area that images show.
    """

    name: str
    seconds: float
    draw: Callable[[np.random.Generator, int], Trial]
    judge: Callable[[ProbeRun], ProbeEvents]
    window: Window
