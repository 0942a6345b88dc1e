"""Changes of HDF5 files: entries removed or of another kind, datasets of another shape, type or value, attributes
replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from hypothesis import strategies as st

from tests.fuzz.byte_damage import ByteDamage

ODD_NUMBERS = (math.nan, math.inf, 0, 1, -1, -2, 7, 1e5, -1e5, 3e6, 1e30, -1e30, 2**31 - 1, -(2**31))
ODD_ATTRIBUTES = (
    0, -1, 2, 10**6, math.nan, math.inf, 1e30, "", "x", "{}", "[1]", "null", '{"a": [}', b"\xff\xfe", np.arange(3),
    np.array(["a", "b"], "S1"),
)  # fmt: skip
_HUGE_BYTES = 2**26
"""Datasets that claim more, as an earlier change made them, are not read here."""
_SHAPES = ("emptied", "cut", "longer", "turned", "flat", "one number", "deeper", "huge")
_TYPES = ("f8", "f2", "i8", "i1", "u4", "?", "S5", "c8", "text", "pair")
_ACTIONS = (
    ("value",) * 5 + ("attribute",) * 3 + ("shape", "type", "remove", "group", "without", "link", "scale")
)


@dataclass(frozen=True)
class Hdf5Change:
    """One change; `place` chooses the entry (of all, counted around), `which` an element, attribute, shape or type."""

    place: int
    which: int
    action: str
    number: float
    attribute: object

    def apply(self, file: h5py.File) -> None:
        """Change the file in place; what its data types cannot hold is left out."""
        names: list[str] = []
        file.visit(names.append)
        if self.action in ("attribute", "without"):
            self._change_attribute([file, *(file[name] for name in names)])
            return
        small = [
            name for name in names if isinstance(file[name], h5py.Dataset) and file[name].nbytes < _HUGE_BYTES
        ]
        chosen = names if self.action == "remove" else small
        if not chosen:
            return
        name = chosen[self.place % len(chosen)]
        if self.action == "remove":
            del file[name]
            return
        found = file[name][()]
        attributes = dict(file[name].attrs)
        del file[name]
        if self.action == "group":
            file.create_group(name)
        elif self.action == "link":
            file[name] = h5py.SoftLink("/nowhere")
        elif self.action == "shape" and _SHAPES[self.which % len(_SHAPES)] == "huge":
            file.create_dataset(
                name, shape=(10**9, *np.shape(found)), dtype=np.asarray(found).dtype, chunks=True
            )
        else:
            with np.errstate(all="ignore"):
                file[name] = self._changed(np.asarray(found))
            file[name].attrs.update(attributes)

    def _change_attribute(self, holders: Sequence[h5py.HLObject]) -> None:
        holders = [one for one in holders if len(one.attrs)]
        if not holders:
            return
        attributes = holders[self.place % len(holders)].attrs
        name = sorted(attributes)[self.which % len(attributes)]
        del attributes[name]
        if self.action == "attribute":
            attributes[name] = self.attribute

    def _changed(self, array: np.ndarray) -> np.ndarray:
        if self.action == "shape":
            return _reshaped(array, _SHAPES[self.which % len(_SHAPES)])
        if self.action == "type":
            return _retyped(array, _TYPES[self.which % len(_TYPES)])
        result = array.copy()
        if result.size and result.dtype.kind in "fiu":
            limits = np.iinfo(result.dtype) if result.dtype.kind in "iu" else None
            number = self.number
            if limits:
                number = int(np.clip(np.nan_to_num(number), limits.min, limits.max))
            if self.action == "scale":
                result[...] = result * np.asarray(number).astype(result.dtype)
            else:
                result.flat[self.which % result.size] = number
        elif result.size and result.dtype.kind == "b":
            result.flat[self.which % result.size] ^= True
        elif result.size and result.dtype.kind in "SO":
            result.flat[self.which % result.size] = b"\xff" if self.number < 0 else result.flat[0]
        return result


def _reshaped(array: np.ndarray, shape: str) -> np.ndarray:
    if shape == "emptied":
        return array[:0] if array.ndim else np.zeros(0, array.dtype)
    if shape == "cut":
        return array[:-1] if array.ndim else array
    if shape == "longer":
        return np.concatenate([array, array[-1:]]) if array.ndim and len(array) else np.zeros(3, array.dtype)
    return {
        "turned": array.T, "flat": array.ravel(), "one number": array.ravel()[:1].reshape(())
        if array.size else array, "deeper": array[None],
    }[shape]  # fmt: skip


def _retyped(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "text":
        return np.full(array.shape, "x", h5py.string_dtype())
    if kind == "pair":
        return np.zeros(array.shape, [("a", "i4"), ("b", "f8")])
    if array.dtype.kind not in "fiub":
        return np.zeros(array.shape, kind)
    if array.dtype.kind == "f" and np.dtype(kind).kind in "iu":
        array = np.nan_to_num(array)
    return array.astype(kind)


def hdf5_changes() -> st.SearchStrategy[list[Hdf5Change]]:
    """One to four changes."""
    place = st.integers(0, 2**20)
    change = st.builds(
        Hdf5Change, place, place, st.sampled_from(_ACTIONS), st.sampled_from(ODD_NUMBERS),
        st.sampled_from(ODD_ATTRIBUTES),
    )  # fmt: skip
    return st.lists(change, min_size=1, max_size=4)


def change(path: Path, changes: Sequence[Hdf5Change] | ByteDamage) -> None:
    """Change a file in place, by what HDF5 allows or in its bytes."""
    if isinstance(changes, ByteDamage):
        path.write_bytes(changes.applied(path.read_bytes()))
        return
    with h5py.File(path, "r+") as file:
        for one in changes:
            one.apply(file)
