"""Readers refuse what is malformed, whatever it makes the code beneath raise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from gigapixel.run_folder.exit_codes import reason_of

Scenes = TypeVar("Scenes")


def refuse_malformed(read: Callable[[Path], Scenes]) -> Callable[[Path], Scenes]:
    """The reader, with every exception but OSError turned into a ValueError that names the source.

    Readers check the fields that they read. This is for everything else that a file can hold: a list where the format
    has an object, numbers beyond every range, and what third-party readers make of damaged tables.
    """

    @functools.wraps(read)
    def guarded(path: Path) -> Scenes:
        try:
            # Numbers beyond every range are left out or refused, without a warning.
            with np.errstate(all="ignore"):
                return read(path)
        except OSError:
            raise
        except ValueError as error:
            if path.name in str(error):
                raise
            sentence = next(iter(str(error).splitlines()), "")
            raise ValueError(f"{path}: {sentence}") from error
        except Exception as error:
            raise malformed(path, error, "a log of this format") from error

    return guarded


def malformed(path: Path, error: Exception, expected: str) -> ValueError:
    """The refusal of a file whose content makes a reader fail with `error`."""
    return ValueError(f"{path}: malformed ({reason_of(error)}); expected {expected}")


def number_of(value: object) -> float:
    """A JSON value as a number; NaN for null, text, and integers that no float can hold."""
    try:
        return float(value) if isinstance(value, int | float) else np.nan
    except OverflowError:
        return np.nan
