"""Move a dataclass of arrays through one HDF5 file that names its format and schema version.

Every field becomes a dataset, or an attribute where it is text. A file appears whole or not at all.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclasses.dataclass(frozen=True)
class PackFormat:
    """What a file says about itself."""

    name: str  # for people, and checked on reading
    group: str  # HDF5 group that holds the fields
    version: int  # of the schema; only this one is read


def write_pack(path: Path, pack_format: PackFormat, record: Any) -> None:
    """Write every field of a dataclass: into a temporary file beside `path`, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["format"] = pack_format.name
            file.attrs["schema_version"] = pack_format.version
            group = file.create_group(pack_format.group)
            for field in dataclasses.fields(record):
                _write_field(group, field.name, getattr(record, field.name))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_pack(path: Path, pack_format: PackFormat, record: type) -> dict[str, Any]:
    """The fields of `record` as `write_pack` wrote them, or a refusal in one sentence."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an HDF5 file holding a {pack_format.name}")
    try:
        with h5py.File(path, "r") as file:
            _check_header(path, dict(file.attrs), pack_format)
            group = file[pack_format.group]
            return {field.name: _read_field(group, field.name) for field in dataclasses.fields(record)}
    except (OSError, KeyError, RuntimeError) as error:
        # h5py reports a cut or damaged file as OSError or RuntimeError, a missing dataset as KeyError.
        reason = str(error).strip("'\"")
        raise ValueError(
            f"{path}: truncated or damaged file ({reason}); expected a whole {pack_format.name}, import it again"
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


def _write_field(group: h5py.Group, name: str, value: str | np.ndarray) -> None:
    if isinstance(value, str):
        group.attrs[name] = value
    elif value.dtype.kind == "U":
        group.create_dataset(name, data=value.astype(object), dtype=h5py.string_dtype())
    elif value.size > 256:
        group.create_dataset(name, data=value, compression="gzip", compression_opts=3)
    else:  # compressing a handful of numbers makes them larger
        group.create_dataset(name, data=value)


def _read_field(group: h5py.Group, name: str) -> str | np.ndarray:
    if name in group.attrs:
        return str(group.attrs[name])
    dataset = group[name]
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return dataset.asstr()[:].astype(str)
    return dataset[()]
