"""A run folder belongs to one process at a time: a lock that the system gives back, also when the process is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gigapixel.run_folder.checkpoint_files import CHECKPOINTS
from gigapixel.run_folder.interrupts import at_interruption, how_to_go_on

LOCK_NAME = ".lock"
"""The file that is locked. It holds process and host, and is there only while the folder is in use, or after a kill."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_ATTEMPTS, _PAUSE_S = 10, 0.05

_log = logging.getLogger(__name__)


@contextmanager
def claimed(folder: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within the block the run folder belongs to this process; it is made where it is missing.

    `check` raises an error where the folder cannot be used as intended. It is called before anything is touched, so
    that a refusal changes no file, and again where another process may have been quicker. Raises ValueError with the
    process that has the folder. A folder in which nothing has been written is removed again.
    """
    lock = folder / LOCK_NAME
    descriptor, made = _lock(lock, 0), list[Path]()
    try:
        check()
        if descriptor is None:
            made = _make(folder)
            descriptor = _lock(lock, os.O_CREAT)
            assert descriptor is not None, "the file is made"
            check()
        _write_owner(descriptor)
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        if made:
            lock.unlink(missing_ok=True)
            _remove_empty(made)
        raise

    def release() -> None:
        lock.unlink(missing_ok=True)  # before it is given back: `_lock` sees that its file is gone
        _remove_empty(made)

    try:
        with at_interruption(release), how_to_go_on(lambda: _how_to_go_on(folder)):
            yield
    finally:
        release()
        os.close(descriptor)


def _how_to_go_on(folder: Path) -> str:
    if next(folder.glob(f"**/{CHECKPOINTS}/[!.]*"), None) is not None:
        return f"the same command with --resume continues {folder}"
    return f"{folder} has no checkpoint yet; run the same command again"


def _lock(lock: Path, flags: int) -> int | None:
    """Descriptor of the locked file; None where it is missing and `flags` do not make it. Raises ValueError where
    another process holds it."""
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(lock, os.O_RDWR | flags, 0o644)
        except FileNotFoundError:
            if not flags:
                return None
            lock.parent.mkdir(parents=True, exist_ok=True)  # removed by a process that has just been refused
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise ValueError(
                f"{lock.parent} is in use by {owner}: a run folder belongs to one process at a time; wait until that "
                "one ends, or choose another folder"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            _log.warning(
                "%s cannot be locked here (%s): start no second process in it", lock.parent, error.strerror
            )
            return descriptor
        if _is_same(descriptor, lock):
            return descriptor
        os.close(descriptor)  # removed by its owner, between our opening and our locking it
    raise ValueError(f"{lock.parent} is in use by processes that come and go; choose another folder")


def _is_same(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False


def _write_owner(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _owner(descriptor: int) -> str:
    """Process and host that hold a lock; a process that has just taken it gets a moment to write them."""
    for _ in range(_ATTEMPTS):
        number, _, host = os.pread(descriptor, 300, 0).decode(errors="replace").strip().partition(" ")
        if number.isdigit() and (host != socket.gethostname() or _is_alive(int(number))):
            return f"process {number} on {host}"
        time.sleep(_PAUSE_S)
    return "another process"


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns those that were missing, the uppermost first."""
    missing = [path for path in reversed([folder, *folder.parents]) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in reversed(folders):
            folder.rmdir()
