"""Files of torch: written to memory first, and read only where no byte has changed."""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

_READ_FAULTS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
)


def to_bytes(contents: dict[str, Any]) -> memoryview:
    """What `torch.save` writes. It is not let near the disk: where that is full it reports no system error."""
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    return buffer.getbuffer()


def read_torch_file(path: Path, expected: str) -> dict[str, Any]:
    """The contents, on the CPU; of plain types and tensors only, so that a file can run no code.

    Raises FileNotFoundError, and ValueError for a file that is damaged at any byte or holds no dictionary; `expected`
    says what it should be, such as "a student policy".
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {expected}")
    try:
        _check_bytes(path)
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path}: not a file of torch, or damaged ({error}); expected {expected}") from error
    except _READ_FAULTS as error:
        raise ValueError(f"{path}: cannot be unpacked; expected {expected}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: holds {type(contents).__name__}; expected {expected}")
    return contents


def _check_bytes(path: Path) -> None:
    """Raises BadZipFile for a file that is cut short or changed. Torch stores a checksum of each part, but does not
    look at it when it reads."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"part {damaged} is not as it was written")
