"""One line of `camera/frames.jsonl`: a JSON object, read field by field. Every error names file, line and field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gigapixel.run_folder.config.value_types import LARGEST_WHOLE

ROTATION_TOLERANCE = 0.01
"""Largest deviation of R R^T from the identity; the files round to five digits."""
MAX_NUMBER = 1e9
"""Largest magnitude of a coordinate (m) or of an element of a matrix."""


@dataclass(frozen=True)
class IndexLine:
    """One parsed line; every reader raises a ValueError that names file, line and field."""

    fields: dict[str, Any]
    where: str  # file and line

    @classmethod
    def parse(cls, text: str, index: Path, number: int) -> IndexLine:
        """The line with this number (from 1) of an index. Raises ValueError for all but a JSON object."""
        where = f"{index} line {number}"
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: is not JSON ({error.msg} at column {error.colno})") from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
            raise ValueError(f"{where}: is not JSON that can be read ({error})") from error
        if not isinstance(fields, dict):
            raise ValueError(
                f"{where}: is a JSON {type(fields).__name__}; expected an object with the fields of one image"
            )
        return cls(fields, where)

    def error(self, field: str, value: object, wanted: str) -> ValueError:
        """An error for a field whose value is not `wanted`."""
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ValueError(f"{self.where}: {field}={shown}; expected {wanted}")

    def required(self, field: str) -> Any:
        """The value of a field."""
        if field not in self.fields:
            raise ValueError(f"{self.where}: the field {field!r} is missing")
        return self.fields[field]

    def text(self, field: str) -> str:
        """A field of text that is not empty."""
        value = self.required(field)
        if not isinstance(value, str) or not value:
            raise self.error(field, value, "a name")
        return value

    def integer(self, field: str, least: int) -> int:
        """A field with a whole number of at least `least`."""
        value = self.required(field)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < LARGEST_WHOLE:
            raise self.error(field, value, f"a whole number of at least {least}")
        return value

    def array(self, field: str, shape: tuple[int, ...], value: Any = None) -> Float[np.ndarray, "..."]:
        """Numbers of this shape, from a field or from `value` where that is given."""
        value = self.required(field) if value is None else value
        wanted = f"finite numbers of shape {' x '.join(map(str, shape))}"
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(field, value, wanted) from error
        if numbers.shape != shape or not np.isfinite(numbers).all():
            raise self.error(field, value, wanted)
        if np.abs(numbers).max() > MAX_NUMBER:
            raise self.error(field, value, f"{wanted}, at most {MAX_NUMBER:g}")
        return numbers

    def rigid_transform(self, field: str) -> Float[np.ndarray, "4 4"]:
        """A field with a rotation and a translation (m)."""
        transform = self.array(field, (4, 4))
        rotation = transform[:3, :3]
        orthogonal = np.abs(rotation @ rotation.T - np.eye(3)).max() <= ROTATION_TOLERANCE
        if not orthogonal or np.linalg.det(rotation) < 0 or not np.allclose(transform[3], (0, 0, 0, 1)):
            raise self.error(
                field,
                self.fields[field],
                "a rigid transform: a rotation, a translation and the last row 0 0 0 1",
            )
        return transform
