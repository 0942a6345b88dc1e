"""Changes of tables of columns, as feather files hold them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

ODD_NUMBERS = (0, -1, 1, 1e5, 1e9, 2**62, 1e30, math.nan, math.inf, None)
_ACTIONS = ("value", "value", "value", "null", "same", "drop", "text", "cut", "empty", "double")


@dataclass(frozen=True)
class TableChange:
    """One change of the column and row at these places (counted around)."""

    column: int
    row: int
    action: str
    number: float | None

    def apply(self, table: dict[str, list[Any]]) -> None:
        """Change the table in place; columns stay equally long, and numbers of their kind."""
        name = list(table)[self.column % len(table)] if table else None
        if name is None:
            return
        column = table[name]
        if self.action in ("cut", "empty", "double"):
            for key, values in table.items():
                kept = values[: self.row % (len(values) + 1)]
                table[key] = {"cut": kept, "empty": [], "double": values + kept}[self.action]
        elif self.action == "drop":
            del table[name]
        elif self.action == "text":
            table[name] = [str(value) for value in column]
        elif not column:
            return
        elif self.action == "same":
            table[name] = [column[self.row % len(column)]] * len(column)
        else:
            column[self.row % len(column)] = None if self.action == "null" else self._number(column)

    def _number(self, column: Sequence[Any]) -> Any:
        first = next((value for value in column if value is not None), None)
        if isinstance(first, float):
            return self.number
        whole = self.number is not None and math.isfinite(self.number)
        if isinstance(first, int):
            return max(min(int(self.number or 0), 2**62), -1) if whole else None
        return None if self.number is None else str(self.number)


def table_changes() -> st.SearchStrategy[list[TableChange]]:
    """One to six changes."""
    place = st.integers(0, 2**20)
    change = st.builds(TableChange, place, place, st.sampled_from(_ACTIONS), st.sampled_from(ODD_NUMBERS))
    return st.lists(change, min_size=1, max_size=6)


def changed(table: dict[str, list[Any]], changes: Sequence[TableChange]) -> dict[str, list[Any]]:
    """A copy of the table with the changes."""
    result = copy.deepcopy(table)
    for change in changes:
        change.apply(result)
    return result
