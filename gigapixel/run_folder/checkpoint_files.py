"""Checkpoints as files: a new one is complete and verified before the old ones are touched, and the one before stays.

    RUN/checkpoints/last.ckpt             the newest
                    last-previous.ckpt    the one before it
                    NAME.damaged          a checkpoint that could not be read when the run was resumed

The names are those of student and adaptation. The teacher's tell the update, and it keeps as many as its config says;
reading is the same.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gigapixel.run_folder.atomic import TEMPORARY_FILES, atomic_write, flush_to_disk

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints in a run folder."""
DAMAGED_SUFFIX = ".damaged"

Content = TypeVar("Content")

_COMPARED_BYTES = 1 << 24
_log = logging.getLogger(__name__)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before `path` is kept."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def newest_first(path: Path) -> list[Path]:
    """The checkpoints of a trainer that keeps two, `path` being the newest; a kill may leave only the one before."""
    return [candidate for candidate in (path, previous_of(path)) if candidate.is_file()]


def write_checkpoint(path: Path, content: bytes | memoryview, keep_previous: bool) -> None:
    """Write a checkpoint beside its place, read it again, and only then give it its name, in the same folder.

    With `keep_previous` the file that had the name becomes `previous_of(path)`. Raises OSError that says what is kept,
    for example for a full disk; all checkpoints are then as they were.
    """
    try:
        with atomic_write(path, durable=True) as temporary:
            temporary.write_bytes(content)
            flush_to_disk(temporary)
            _compare(temporary, memoryview(content).cast("B"))
            if keep_previous and path.is_file():
                os.replace(path, previous_of(path))
    except OSError as error:
        others = path.parent.is_dir() and any(path.parent.iterdir())
        kept = ", the checkpoints before it are kept" if others else ""
        reason = f"{error.strerror or error}: the checkpoint is not written{kept}"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


def newest_readable(
    paths: Sequence[Path], read: Callable[[Path], Content]
) -> tuple[Path, Content, list[Path]]:
    """The first of the checkpoints, newest first, that can be read; its content; and the damaged ones before it.

    `read` raises ValueError for a damaged file. Says in the log which one is used instead of a damaged one. Raises
    ValueError where none can be read; nothing is changed.
    """
    reasons: list[str] = []
    for number, path in enumerate(paths):
        try:
            content = read(path)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if reasons:
            _log.warning("%s; resuming from the checkpoint before it, %s", "; ".join(reasons), path)
        return path, content, list(paths[:number])
    raise ValueError(
        f"{'; '.join(reasons)}; there is no other checkpoint to resume from, so start the run again in another folder"
    )


def set_aside(damaged: Sequence[Path]) -> None:
    """Rename damaged checkpoints, so that they are neither read again nor kept in the place of good ones."""
    for path in damaged:
        os.replace(path, path.with_name(path.name + DAMAGED_SUFFIX))


def remove_temporaries(folder: Path) -> None:
    """Remove what earlier sessions, killed while writing, have left in a run folder that belongs to this process."""
    for path in folder.rglob(TEMPORARY_FILES):
        path.unlink(missing_ok=True)


def _compare(path: Path, content: memoryview) -> None:
    """Raises OSError where a file does not hold these bytes."""
    size = path.stat().st_size
    if size != len(content):
        raise OSError(errno.EIO, f"{size} of {len(content)} bytes are on the disk")
    with path.open("rb") as file:
        for start in range(0, len(content), _COMPARED_BYTES):
            if file.read(_COMPARED_BYTES) != content[start : start + _COMPARED_BYTES]:
                raise OSError(
                    errno.EIO, f"the disk gives back other bytes than those written, from byte {start}"
                )
