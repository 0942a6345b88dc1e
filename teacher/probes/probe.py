"""What a probe is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from teacher.probes.drive import Run
from teacher.probes.judging import Events
from teacher.probes.starts import Trial

Window = tuple[tuple[float, float], float, float]
"""Middle (x, y m), width (m), and height over width of what a picture shows."""


@dataclass(frozen=True)
class Probe:
    """One named situation.

    Attributes:
        name: What the command calls it.
        seconds: Time to get through.
        draw: A random trial: (generator, its number) -> Trial.
        judge: What went wrong: Run -> events.
        window: What pictures show.
    """

    name: str
    seconds: float
    draw: Callable[[np.random.Generator, int], Trial]
    judge: Callable[[Run], Events]
    window: Window
