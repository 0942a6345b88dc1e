"""Unpickle NumPy arrays and plain containers, and refuse everything else.

A pickle can call any function that it names. Here only the names below are allowed, which hold data.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

from simulator.logs.readers.malformed import reason_of

_ALLOWED = {
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip
_BUILTINS = ("int", "float", "str", "bool", "list", "dict", "set", "tuple", "bytes", "complex")
"""Types that pickles name for the default of a container or for a subclass."""
GZIP = b"\x1f\x8b"
"""First bytes of a compressed file, whatever its name."""
_BROKEN = (
    pickle.UnpicklingError, EOFError, zlib.error, OSError, IndexError, KeyError, AttributeError, TypeError,
    MemoryError, OverflowError, ImportError, RecursionError, SystemError, struct.error,
)  # fmt: skip
"""Errors that the unpickler raises for a truncated or damaged pickle."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return super().find_class("builtins", name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if (module, name) not in _ALLOWED:
            raise ValueError(f"names {module}.{name}; expected nothing but numpy arrays and plain containers")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


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
        raise ValueError(
            f"{path}: truncated or damaged pickle ({reason_of(error)}); expected an intact one"
        ) from error
