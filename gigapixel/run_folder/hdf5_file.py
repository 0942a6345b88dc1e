"""HDF5 files: a full disk, a file that another program holds and a damaged file are told apart, each in a sentence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from gigapixel.run_folder.atomic import atomic_write, write_bytes

READ_FAULTS = (
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    UnicodeDecodeError,
    MemoryError,
    OverflowError,
)
"""What h5py raises on a file that is cut short, damaged, or of another layout; see `read_fault`."""
_MOST_COMPRESSED = 1100
"""Deflate makes nothing smaller than 1/1032."""
_IN_USE = ("unable to lock file", "already open for")


class FileInUseError(OSError):
    """A file that another program holds in a way that keeps others out."""


@contextmanager
def write_hdf5(
    path: str | os.PathLike[str], write: Callable[[Path, bytes], None] = write_bytes
) -> Iterator[h5py.File]:
    """A new HDF5 file in memory, which `write` makes the file `path`, atomically, when the block ends without an error.

    HDF5 does not write to the disk itself: after a write that failed (a full disk, a quota) it can neither go on nor
    close its file, and ends the process with a segmentation fault. Raises OSError that names `path`.
    """
    with h5py.File(str(path), "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    write(Path(path), image)


@contextmanager
def stream_hdf5(
    path: str | os.PathLike[str], libver: tuple[str, str]
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file that may be larger than the memory; it becomes the file `path`, atomically, when the block ends
    without an error. Call the function that comes with it now and then: it raises OSError once a write has failed.

    `libver` is the layout of the file, see `h5py.File`. Raises OSError that names `path`.
    """
    with atomic_write(path) as temporary, _NeverFailingFile(temporary) as target:
        with h5py.File(target, "w", libver=libver) as file:
            yield file, target.raise_fault
        target.raise_fault()


class _NeverFailingFile:
    """The file object that `stream_hdf5` gives to HDF5: a write that fails is kept for `raise_fault`, and HDF5, which
    cannot close a file after it has seen one, goes on as if there were room for everything."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = self._end = 0
        self._fault: BaseException | None = None

    def __enter__(self) -> _NeverFailingFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def raise_fault(self) -> None:
        """Raises what kept the first write from succeeding; does nothing where all have."""
        if self._fault is not None:
            raise self._fault

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._fault is None:
            try:
                action()
            except BaseException as error:  # even Ctrl-C: no exception may reach HDF5
                self._fault = error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        )
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        content = os.pread(self._descriptor, size, self._position)
        self._position += len(content)
        return content

    # h5py hands over memory views of its own (Cython's), which are no instances of Python's.
    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def write(self, content: object) -> int:
        view = memoryview(content).cast("B")  # type: ignore[arg-type]
        self._attempt(lambda: self._write_all(view))
        self._position += len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def _write_all(self, content: memoryview) -> None:
        done = 0
        while done < len(content):
            done += os.pwrite(self._descriptor, content[done:], self._position + done)

    def truncate(self, size: int) -> int:
        self._attempt(lambda: os.ftruncate(self._descriptor, size))
        self._end = size
        return size

    def flush(self) -> None:
        """Nothing is kept back."""


def open_hdf5(path: str | os.PathLike[str], expected: str) -> h5py.File:
    """An HDF5 file, open for reading, without a lock: a file that another program has open is read as well.

    Args:
        path: the file.
        expected: what it should hold and what to do where it does not, for the messages, such as "expected an intact
            teacher policy, copy it again".

    Raises:
        OSError: There is no such file, it cannot be read, or another program holds it (`FileInUseError`).
        ValueError: It is not an HDF5 file, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {kind}; {expected}")
    with path.open("rb"):  # the system's own reason where it may not be read
        pass
    try:
        return h5py.File(path, "r", locking=False)
    except READ_FAULTS as error:
        raise read_fault(path, error, expected) from error


def refuse_impossible_size(dataset: h5py.HLObject) -> None:
    """Raises RuntimeError for what is no dataset, and for a dataset that claims more than its file can hold, before
    memory is taken for it."""
    if not isinstance(dataset, h5py.Dataset):
        raise RuntimeError(f"{dataset.name} is no dataset")
    held = os.path.getsize(dataset.file.filename)
    if dataset.chunks is not None:
        held = min(held, dataset.id.get_storage_size()) * _MOST_COMPRESSED
    if dataset.nbytes > held:
        raise RuntimeError(f"{dataset.name} claims {dataset.nbytes} bytes, which cannot be in the file")


def read_array(dataset: h5py.HLObject) -> np.ndarray:
    """All of a dataset. Raises RuntimeError as `refuse_impossible_size`, before memory is taken."""
    refuse_impossible_size(dataset)
    return np.asarray(dataset[()])


def attribute_is(value: object, expected: object) -> bool:
    """Whether an attribute as h5py gives it is this text or number; arrays and absent ones (None) are not."""
    if getattr(value, "ndim", 0) or isinstance(value, h5py.Empty):
        return False
    return bool((value.decode("utf-8", "replace") if isinstance(value, bytes) else value) == expected)


def read_fault(path: str | os.PathLike[str], error: BaseException, expected: str) -> OSError | ValueError:
    """The error to raise for one of READ_FAULTS that h5py raised on `path`: the system's where the system failed,
    FileInUseError where another program holds the file, and else ValueError, since the file is damaged."""
    reason = " ".join(str(error).strip("'\"").split()) or type(error).__name__
    found = re.search(r"errno = (\d+)", reason)
    number = int(found[1]) if found else getattr(error, "errno", None) or 0
    if any(text in reason for text in _IN_USE):
        return FileInUseError(
            f"{path}: is in use by another program, which has it open for writing; try again later"
        )
    if number and number != errno.EINVAL:
        return OSError(number, os.strerror(number), str(path))
    if not h5py.is_hdf5(path):
        return ValueError(f"{path}: is not an HDF5 file; {expected}")
    return ValueError(f"{path}: truncated or damaged file ({reason}); {expected}")
