"""Atomic writes: a file appears complete or not at all, whatever happens to the process that writes it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY_FILES = ".*.part*"
"""Glob pattern of temporary files; one is left behind only by a process that was killed while writing."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_unfinished: set[Path] = set()
"""Temporary files that this process is writing."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with the same suffix; on success it is renamed to `path`.

    The folder is made where it is missing. After an exception the temporary file is removed and `path` is as it was.
    With `durable` the content is on the disk before the file gets its name, so that not even a power failure leaves
    an incomplete one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    _unfinished.add(temporary)
    try:
        with naming_the_file(path):
            yield temporary
            if durable:
                flush_to_disk(temporary)
            os.replace(temporary, path)
            if durable:
                flush_to_disk(path.parent)  # the new name
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Raise the error of a full disk again with the name of the file, which Python leaves out."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_unfinished() -> None:
    """Remove the temporary files of this process, which is about to end."""
    for temporary in tuple(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Where `atomic_write` writes before it renames: a hidden file beside `path` with the same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(content)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, indented by two spaces."""
    write_text(path, json.dumps(content, indent=2) + "\n")
