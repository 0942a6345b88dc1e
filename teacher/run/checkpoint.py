"""Checkpoints of a run: the complete `TrainState`, bit for bit, in one HDF5 file that is written atomically.

    checkpoints/update_000000040.h5      attributes: format, version, update, progress (JSON), sha256 (of progress and
                                         arrays); datasets: state/...

A checkpoint is on the disk, and has been compared, before it gets its name (`gigapixel.run_folder.checkpoint_files`),
so that a process killed at any moment leaves the previous one as the newest. Arrays keep their bits; typed PRNG keys
are stored as their raw numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from gigapixel.run_folder.checkpoint_files import remove_temporaries, write_checkpoint
from gigapixel.run_folder.hdf5_file import (
    READ_FAULTS,
    attribute_is,
    open_hdf5,
    read_array,
    read_fault,
    write_hdf5,
)
from simulator.roads.array_file import unicode_text
from teacher.ppo.multihost import is_key

CHECKPOINT_FORMAT = "gigapixel teacher checkpoint"
VERSION = 2
PREFIX, SUFFIX = "update_", ".h5"
DIGEST = "sha256"

STORED_FIELD_NAMES = {"has_stopped_at_sign": "halted", "fault": "noise", "log": "logged"}
"""Names in the file of fields of `WorldState` and `Scenario` that are called otherwise now."""

State = TypeVar("State")


def save_checkpoint(folder: Path, state: Any, update: int, progress: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `update`, then delete all but the `keep` newest. `progress` is any JSON object.

    Raises OSError where it cannot be written; those before it are kept then.
    """
    target = folder / f"{PREFIX}{update:09d}{SUFFIX}"
    arrays = {name: _to_numpy(leaf) for name, leaf in _named_leaves(state)}
    counters = json.dumps(progress)
    with write_hdf5(target, partial(write_checkpoint, keep_previous=False)) as file:
        file.attrs.update(format=CHECKPOINT_FORMAT, version=VERSION, update=update, progress=counters)
        file.attrs[DIGEST] = _digest(arrays, counters)
        for name, array in arrays.items():
            file.create_dataset(f"state/{name}", data=array)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    remove_temporaries(folder)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*{SUFFIX}") if path.stem[len(PREFIX) :].isdigit())


def read_progress(path: Path) -> dict[str, Any]:
    """The `progress` of a checkpoint. Raises ValueError for a damaged file, whatever part of it is damaged."""
    return _read(path)[1]


def load_checkpoint(path: Path, template: State) -> tuple[State, dict[str, Any]]:
    """State and progress of a checkpoint. `template` has the structure, shapes and dtypes that the state must have.

    Raises ValueError for a damaged file and for a state of another architecture, naming the first array that differs.
    """
    stored, progress = _read(path)
    _check_architecture(path, stored, template)
    treedef = jax.tree.structure(template)
    leaves = [_from_numpy(stored[name], leaf) for name, leaf in _named_leaves(template)]
    return jax.tree.unflatten(treedef, leaves), progress


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and progress of a checkpoint, the file's digest checked (files of older versions have none)."""
    expected = "expected an intact teacher checkpoint"
    with open_hdf5(path, expected) as file:
        try:
            found, version = file.attrs.get("format"), file.attrs.get("version")
        except READ_FAULTS as error:
            raise read_fault(path, error, expected) from error
        if not attribute_is(found, CHECKPOINT_FORMAT) or not attribute_is(version, VERSION):
            raise ValueError(
                f"{path} is not a checkpoint this program can read: format {found!r} version {version!r}, "
                f"expected {CHECKPOINT_FORMAT!r} version {VERSION}"
            )
        stored: dict[str, np.ndarray] = {}

        def keep(name: str | bytes, item: h5py.HLObject) -> None:
            if isinstance(item, h5py.Dataset):
                stored[unicode_text(name)] = read_array(item)

        try:
            counters = file.attrs["progress"]
            file["state"].visititems(keep)
            digest = file.attrs.get(DIGEST)
            progress = json.loads(counters)
            if not isinstance(counters, str) or not isinstance(progress, dict):
                raise RuntimeError("attribute progress is no JSON object")
        except (*READ_FAULTS, ValueError) as error:
            raise read_fault(path, error, expected) from error
    if digest is not None and not attribute_is(digest, _digest(stored, counters)):
        raise ValueError(
            f"{path}: damaged file (its content has another digest than it was written with); {expected}"
        )
    return stored, progress


def _digest(arrays: Mapping[str, np.ndarray], progress: str) -> str:
    digest = hashlib.sha256(progress.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _check_architecture(path: Path, stored: dict[str, np.ndarray], template: Any) -> None:
    expected = {name: _array_type(leaf) for name, leaf in _named_leaves(template)}
    found = {name: f"{value.dtype}{list(value.shape)}" for name, value in stored.items()}
    for name in sorted(set(expected) | set(found)):
        here, there = expected.get(name, "nothing"), found.get(name, "nothing")
        if here != there:
            raise ValueError(
                f"{path} belongs to another architecture: {name} is {there} in the file and {here} in this "
                "configuration; resume with the configuration of the run"
            )


def _named_leaves(state: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [
        (_stored_name(jax.tree_util.keystr(path, simple=True, separator="/")), leaf) for path, leaf in leaves
    ]


def _stored_name(name: str) -> str:
    """Name of a leaf in the file: fields of worlds that have been renamed keep the names of older checkpoints."""
    if not name.startswith("worlds/"):
        return name
    return "/".join(STORED_FIELD_NAMES.get(part, part) for part in name.split("/"))


def _array_type(leaf: Any) -> str:
    if is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def _from_numpy(value: np.ndarray, leaf: Any) -> jax.Array:
    return jax.random.wrap_key_data(jnp.array(value)) if is_key(leaf) else jnp.array(value)
