"""Read and write a dataclass of arrays as one HDF5 file that names its format and schema version.

Every field becomes a dataset with a checksum, or an attribute where it is text or one number. Writes are atomic.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gigapixel.run_folder.atomic import atomic_write

_SMALL = 256
"""Arrays with at most this many entries are not compressed: they would become larger."""


@dataclasses.dataclass(frozen=True)
class PackFormat:
    """Name, layout and version of a file format."""

    name: str  # stored in the file and checked on reading
    group: str  # HDF5 group of the fields
    version: int  # of the schema; files of other versions are refused


def write_pack(path: Path, pack_format: PackFormat, record: Any) -> None:
    """Write every field of a dataclass atomically."""
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = pack_format.name
        file.attrs["schema_version"] = pack_format.version
        write_record(file.create_group(pack_format.group), record)


def read_pack(path: Path, pack_format: PackFormat, record: type) -> dict[str, Any]:
    """The fields of `record` as `write_pack` wrote them, by name.

    Raises FileNotFoundError for a missing file, and ValueError for a damaged file or one of another format or version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an HDF5 file holding a {pack_format.name}")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: is not an HDF5 file; expected one that holds a {pack_format.name}")
    try:
        with h5py.File(path, "r") as file:
            _check_header(path, dict(file.attrs), pack_format)
            return read_record(file[pack_format.group], record)
    except (OSError, KeyError, RuntimeError) as error:
        # h5py reports a cut or damaged file as OSError or RuntimeError, a missing dataset as KeyError.
        reason = str(error).strip("'\"")
        raise ValueError(
            f"{path}: truncated or damaged file ({reason}); expected an intact {pack_format.name}, import it again"
        ) from error


def _check_header(path: Path, attributes: dict[str, Any], pack_format: PackFormat) -> None:
    found = attributes.get("format")
    if found != pack_format.name:
        raise ValueError(f"{path}: attribute format is {found!r}; expected {pack_format.name!r}")
    version = attributes.get("schema_version")
    if version != pack_format.version:
        raise ValueError(
            f"{path}: schema_version is {version}; expected {pack_format.version}, import the source again"
        )


def file_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The attributes of an HDF5 file, text as `str`; empty for a file that is missing, damaged or of another kind."""
    try:
        with h5py.File(path, "r") as file:
            return {name: plain_text(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, UnicodeDecodeError):
        return {}


def write_record(group: h5py.Group, record: Any) -> None:
    """Write every field of a dataclass into a group."""
    for field in dataclasses.fields(record):
        _write_field(group, field.name, getattr(record, field.name))


def read_record(group: h5py.Group, record: type) -> dict[str, Any]:
    """The fields of the dataclass `record` as `write_record` wrote them, by name. Raises what h5py raises."""
    return {
        field.name: _read_field(group, field.name, str(field.type)) for field in dataclasses.fields(record)
    }


def fixed_text(text: str) -> np.ndarray:
    """Text as fixed-length bytes: HDF5's checksums do not cover its heap of variable-length text."""
    return np.array(text.encode("utf-8") or b"\0", dtype=np.bytes_)


def plain_text(value: Any) -> Any:
    """The value of an attribute, fixed-length text as `str`."""
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _write_field(group: h5py.Group, name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray):
        group.attrs[name] = fixed_text(value) if isinstance(value, str) else value
        return
    if value.dtype.kind == "U":
        value = np.char.encode(value, "utf-8")
    if value.size > _SMALL:
        group.create_dataset(
            name, data=value, compression="gzip", compression_opts=3, shuffle=True, fletcher32=True
        )
    elif value.size > 0:
        group.create_dataset(name, data=value, chunks=value.shape, fletcher32=True)
    else:
        group.create_dataset(name, data=value)


def _read_field(group: h5py.Group, name: str, kind: str) -> Any:
    plain = {"int": int, "float": float, "str": str}
    if kind in plain:
        return plain[kind](plain_text(group.attrs[name]))
    dataset = group[name]
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return dataset.asstr("utf-8")[()].astype(str)
    return dataset[()]
