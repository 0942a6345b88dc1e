"""Settings of a resumed run are those that it was started with, but for the few that do not affect its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_SHOWN = 6
_ABSENT = object()


def refuse_changed(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], changeable: Sequence[str], path: Path, other: str
) -> None:
    """Raises ValueError with every field in which the settings of a run, from its file `path`, and those to resume it
    with differ, and both values; `other` is the option that chooses another run. Names in `changeable`, dotted, are not
    compared, nor are the fields below them."""
    found = list(_differences(stored, wanted, frozenset(changeable), ""))
    if found:
        rest = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ValueError(
            f"{path} differs from the settings to resume with: {', '.join(found[:_SHOWN])}{rest}; resume with the "
            f"run's own settings or choose another {other}"
        )


def _differences(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], changeable: frozenset[str], prefix: str
) -> Iterator[str]:
    for key in dict.fromkeys([*stored, *wanted]):
        name, there, here = f"{prefix}{key}", stored.get(key, _ABSENT), wanted.get(key, _ABSENT)
        if name in changeable:
            continue
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            yield from _differences(there, here, changeable, f"{name}.")
        elif there != here:
            yield f"{name} is {_shown(there)} in the run and {_shown(here)} here"


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else repr(value)
