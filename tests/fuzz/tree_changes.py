"""Changes of nested lists and mappings, as JSON, YAML and pickles hold them."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

ODD_VALUES = (
    None, "", "x", "-1", "\ud800", [], {}, [None], [[1, 2]], {"a": 1}, True, 0, 1, -1, 6, 0.5, 1e-30, 1e5, -1e5, 5e4,
    1e9, 1e30, -1e30, 2**31, 10**400, math.nan, math.inf, -math.inf,
)  # fmt: skip
_SCALES = (-1, 0, 2, 1e-3, 1e3, 1e6, 180 / math.pi)
_ACTIONS = ("replace", "replace", "drop", "double", "empty", "scale", "swap")

Path = tuple[Any, ...]


@dataclass(frozen=True)
class TreeChange:
    """One change of one entry, which is counted among those at most `depth` levels deep."""

    depth: int
    place: int
    action: str
    value: Any  # what replaces the entry
    factor: float  # what a number is multiplied by

    def apply(self, tree: Any) -> None:
        """Change the tree in place; a change that an earlier one has made impossible is left out."""
        entries = [path for path in _paths(tree, self.depth) if path]
        if not entries:
            return
        *parents, key = entries[self.place % len(entries)]
        holder = tree
        for name in parents:
            holder = holder[name]
        entry = holder[key]
        if self.action == "drop":
            del holder[key]
        elif self.action == "double" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(entry))
        elif self.action == "double":
            holder[f"{key} again"] = copy.deepcopy(entry)
        elif self.action == "empty" and isinstance(entry, list | dict | str):
            holder[key] = type(entry)()
        elif self.action == "scale" and isinstance(entry, int | float):
            with contextlib.suppress(OverflowError):  # a whole number that no float can hold
                holder[key] = entry * self.factor
        elif self.action == "swap":
            other = (
                list(holder)[self.place % len(holder)]
                if isinstance(holder, dict)
                else self.place % len(holder)
            )
            holder[key], holder[other] = holder[other], entry
        else:
            holder[key] = copy.deepcopy(self.value)


def _paths(tree: Any, depth: int, path: Path = ()) -> Iterator[Path]:
    """Every entry at most `depth` levels deep."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if depth:
        for key, entry in items:
            yield from _paths(entry, depth - 1, (*path, key))


def tree_changes(values: Sequence[Any] = ODD_VALUES, deepest: int = 6) -> st.SearchStrategy[list[TreeChange]]:
    """One to six changes; entries near the root are changed as often as the many numbers at the leaves."""
    change = st.builds(
        TreeChange, st.integers(1, deepest), st.integers(0, 2**20), st.sampled_from(_ACTIONS),
        st.sampled_from(values), st.sampled_from(_SCALES),
    )  # fmt: skip
    return st.lists(change, min_size=1, max_size=6)


def changed(tree: Any, changes: Sequence[TreeChange]) -> Any:
    """A copy of the tree with the changes."""
    result = copy.deepcopy(tree)
    for change in changes:
        change.apply(result)
    return result
