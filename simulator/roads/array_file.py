"""Read and write a dataclass of arrays as one HDF5 file that names its format and schema version.

Every field becomes a dataset with a checksum, or an attribute where it is text or one number. Writes are atomic.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gigapixel.run_folder.hdf5_file import (
    READ_FAULTS,
    FileInUseError,
    attribute_is,
    open_hdf5,
    read_array,
    read_fault,
    refuse_impossible_size,
    write_hdf5,
)

_SMALL = 256
"""Arrays with at most this many entries are not compressed: they would become larger."""


@dataclasses.dataclass(frozen=True)
class PackFormat:
    """Name, layout and version of a file format."""

    name: str  # stored in the file and checked on reading
    group: str  # HDF5 group of the fields
    version: int  # of the schema; files of other versions are refused


def write_pack(path: Path, pack_format: PackFormat, record: Any) -> None:
    """Write every field of a dataclass atomically. Raises OSError that names `path`, such as for a full disk."""
    with write_hdf5(path) as file:
        file.attrs["format"] = pack_format.name
        file.attrs["schema_version"] = pack_format.version
        write_record(file.create_group(pack_format.group), record)


def read_pack(path: Path, pack_format: PackFormat, record: type) -> dict[str, Any]:
    """The fields of `record` as `write_pack` wrote them, by name.

    Raises OSError for a file that is missing, in use or not readable, and ValueError for one that is damaged or of
    another format or version.
    """
    expected = f"expected an intact {pack_format.name}, import it again"
    with open_hdf5(path, expected) as file:
        try:
            _check_header(path, dict(file.attrs), pack_format)
            return read_record(file[pack_format.group], record)
        except READ_FAULTS as error:
            raise read_fault(path, error, expected) from error


def _check_header(path: Path, attributes: dict[str, Any], pack_format: PackFormat) -> None:
    found = attributes.get("format")
    if not attribute_is(found, pack_format.name):
        raise ValueError(f"{path}: attribute format is {found!r}; expected {pack_format.name!r}")
    version = attributes.get("schema_version")
    if not attribute_is(version, pack_format.version):
        raise ValueError(
            f"{path}: schema_version is {version}; expected {pack_format.version}, import the source again"
        )


def file_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The attributes of an HDF5 file, text as `str`; empty for a file that is missing, damaged or of another kind.

    Raises FileInUseError for a file that another program holds.
    """
    try:
        with open_hdf5(path, "") as file:
            # A name that is not UTF-8 is given as bytes.
            return {name: plain_text(value) for name, value in file.attrs.items() if isinstance(name, str)}
    except FileInUseError:
        raise
    except (*READ_FAULTS, ValueError):
        return {}


def write_record(group: h5py.Group, record: Any) -> None:
    """Write every field of a dataclass into a group. Fields that hold their declared default are left out."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if not _is_default(field, value):
            _write_field(group, field.name, value)


def read_record(group: h5py.Group, record: type) -> dict[str, Any]:
    """The fields of the dataclass `record` as `write_record` wrote them, by name. Raises one of READ_FAULTS where the
    file is damaged."""
    fields = {}
    for field in dataclasses.fields(record):
        if _has_default(field) and field.name not in group and field.name not in group.attrs:
            continue
        try:
            fields[field.name] = _read_field(group, field.name, str(field.type))
        except ValueError as error:  # h5py's, which would be taken for a refusal of ours
            raise RuntimeError(f"{field.name}: {error}") from error
    return fields


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(np.array_equal(value, field.default_factory()))
    return field.default is not dataclasses.MISSING and value == field.default


def fixed_text(text: str) -> np.ndarray:
    """Text as fixed-length bytes: HDF5's checksums do not cover its heap of variable-length text."""
    return np.array(text.encode("utf-8") or b"\0", dtype=np.bytes_)


def plain_text(value: Any) -> Any:
    """The value of an attribute, fixed-length text as `str`."""
    return value.decode("utf-8") if isinstance(value, bytes) else value


def unicode_text(value: Any) -> str:
    """The text of an attribute. Raises RuntimeError where it is no text, or not UTF-8 (h5py gives its bytes as
    surrogates)."""
    text = plain_text(value)
    if not isinstance(text, str) or text.encode("utf-8", "replace").decode("utf-8") != text:
        raise RuntimeError(f"{str(text)[:60]!a} is no UTF-8 text")
    return text


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
    plain: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": unicode_text}
    if kind in plain:
        return plain[kind](plain_text(group.attrs[name]))
    dataset = group[name]
    if isinstance(dataset, h5py.Dataset) and h5py.check_string_dtype(dataset.dtype) is not None:
        refuse_impossible_size(dataset)
        return dataset.asstr("utf-8")[()].astype(str)
    return read_array(dataset)
