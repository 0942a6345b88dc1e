"""Cached results: damaged ones are made again, and where the cache cannot be used the work is done without it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_unusable: set[Path] = set()
"""Folders of which this process has said that they cannot be used."""


def load_or_build(
    entry: Path,
    read: Callable[[Path], Result],
    build: Callable[[], Result],
    write: Callable[[Path, Result], None],
) -> Result:
    """The result in the file `entry`, or built and stored there.

    A file that `read` fails on is replaced, with one line in the log. Where the folder cannot be read or written
    (another user's, read-only, full, not a folder) the result is built all the same, with one line per folder.
    """
    try:
        if entry.is_file():
            return read(entry)
    except OSError as error:  # of the file system: the entry may be in order
        _say_unusable(entry.parent, error)
    except (
        Exception
    ) as error:  # whatever a reader makes of a damaged file: unpickling alone raises a dozen kinds
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        _log.warning("the cache entry %s is damaged and is made again (%s)", entry, reason)
    result = build()
    try:
        write(entry, result)
    except OSError as error:
        _say_unusable(entry.parent, error)
    return result


def _say_unusable(folder: Path, error: OSError) -> None:
    if folder not in _unusable:
        _unusable.add(folder)
        reason = error.strerror or str(error)
        _log.warning(
            "the cache %s cannot be used (%s); working without it, which takes longer", folder, reason
        )
