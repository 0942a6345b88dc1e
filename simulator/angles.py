"""Arithmetic of angles for NumPy, JAX and torch alike. Imports no framework."""

import math
from typing import TypeVar

Angle = TypeVar("Angle")
"""A float or an array of NumPy, JAX or torch, rad."""


def wrap_angle(angle: Angle) -> Angle:
    """The same angle in [-pi, pi), rad."""
    return (angle + math.pi) % (2 * math.pi) - math.pi  # type: ignore[operator, return-value]
