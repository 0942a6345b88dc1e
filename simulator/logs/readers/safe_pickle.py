"""Unpickle NumPy arrays and plain containers, and refuse everything else.

A pickle can call any function that it names. Here only those that hold data are allowed, and arrays are made by
functions of this module, which check what they are given.
"""

from __future__ import annotations

import collections
import gzip
import io
import math
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gigapixel.run_folder.exit_codes import reason_of

_BUILTINS = ("int", "float", "str", "bool", "list", "dict", "set", "tuple", "bytes", "complex")
"""Types that pickles name for the default of a container or for a subclass."""
GZIP = b"\x1f\x8b"
"""First bytes of a compressed file, whatever its name."""
_BROKEN = (
    pickle.UnpicklingError, EOFError, zlib.error, OSError, IndexError, KeyError, AttributeError, TypeError,
    MemoryError, OverflowError, ImportError, RecursionError, SystemError, struct.error,
)  # fmt: skip
"""Errors that the unpickler raises for a truncated or damaged pickle."""


class _Dtype:
    """What pickles call numpy.dtype: a type of numbers or text by its name.

    Of its state only the byte order is taken: NumPy believes the rest, and a changed bit makes it read numbers as
    addresses.
    """

    def __init__(self, name: object, *_: object) -> None:
        self.type = np.dtype(name if isinstance(name, str) else "V")
        if self.type.kind not in "biufcSUO":
            raise ValueError(f"holds an array of {str(name)[:40]!a}; expected numbers or text")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *parts = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise ValueError("holds an array of records; expected numbers or text")
        self.type = self.type.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose state is checked before NumPy takes it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype):
            raise ValueError("holds an array without a type; expected numbers or text")
        wanted, unit = (list, 1) if kind.type.hasobject else (bytes, kind.type.itemsize)
        if not isinstance(data, wanted) or len(data) != math.prod(shape) * unit:
            raise ValueError(f"holds an array of shape {str(shape)[:40]} with too few or too many entries")
        super().__setstate__((1, shape, kind.type, bool(fortran), data))  # type: ignore[arg-type]


def _reconstruct(*_: object) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(kind: _Dtype, data: bytes) -> np.generic:
    if kind.type.hasobject or len(data) != kind.type.itemsize:
        raise ValueError("holds a number of another size than its type")
    return np.frombuffer(data, kind.type)[0]


def _frombuffer(data: bytes | bytearray, kind: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    if kind.type.hasobject:
        raise ValueError("holds an array of addresses; expected numbers or text")
    return np.frombuffer(data, kind.type).reshape(shape, order=order)  # type: ignore[call-overload]


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict, ("collections", "defaultdict"): collections.defaultdict,
    ("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): np.ndarray, ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct, ("numpy._core.multiarray", "scalar"): _scalar,
}  # fmt: skip


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return super().find_class("builtins", name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        found = _ALLOWED.get((module.replace("numpy.core", "numpy._core"), name))
        if found is None:
            shown = ascii(f"{module}.{name}"[:80])[1:-1]
            raise ValueError(f"names {shown}; expected nothing but numpy arrays and plain containers")
        return found


def _encode(text: str, encoding: str) -> bytes:
    """Decodes the bytes of an array as pickles of protocol 2 store them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encodes text as {encoding!r}; expected 'latin1'")
    return text.encode("latin1")


def load_plain_pickle(path: Path) -> Any:
    """The contents of a pickle, gzipped or not.

    Raises FileNotFoundError for a missing file, and ValueError for a damaged one or one with any other type.
    """
    try:
        raw = path.read_bytes()
        return _Plain(io.BytesIO(gzip.decompress(raw) if raw.startswith(GZIP) else raw)).load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; expected a pickle (.pkl or .pkl.gz)") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except _BROKEN as error:
        reason = "it claims more than it holds" if isinstance(error, MemoryError) else reason_of(error)
        raise ValueError(f"{path}: truncated or damaged pickle ({reason}); expected an intact one") from error
