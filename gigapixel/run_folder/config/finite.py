"""Numbers of configurations: NaN and infinity are refused, since no setting of ours takes them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping


def refuse_not_finite(values: object, source: str) -> None:
    """Raises ValueError that names the first number of a configuration (nested mappings, sequences and dataclasses)
    which is NaN or infinite; `source` is its file."""
    for name, number in _floats(values, ""):
        if not math.isfinite(number):
            raise ValueError(f"{source}: {name}={number} must be a finite number")


def _floats(values: object, name: str) -> Iterator[tuple[str, float]]:
    """The floats of a configuration with their names, such as `reward.collision[0]`."""
    if isinstance(values, float):
        yield name, values
    elif dataclasses.is_dataclass(values) and not isinstance(values, type):
        for field in dataclasses.fields(values):
            yield from _floats(getattr(values, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _floats(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, (list, tuple)):
        for index, value in enumerate(values):
            yield from _floats(value, f"{name}[{index}]")
