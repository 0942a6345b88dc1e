"""CSV tables: metrics.csv grows row by row and survives kills and resumes; other tables are written at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from gigapixel.run_folder.atomic import flush_to_disk, naming_the_file, write_text

Cell = float | int | str | None


class MetricsTable:
    """Appends rows to a CSV file with a header.

    The first row decides the columns. A later row may lack some (empty cells) or bring new ones, which rewrites the
    file with these columns added at the end.

    Args:
        path: the CSV file; its folder must exist. Rows of an earlier session stay, see `cut_rows`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns = read_rows(path)[0] if path.is_file() else []

    def append(self, row: Mapping[str, Cell]) -> None:
        """Write one row; it is in the operating system's hands when this returns."""
        columns = [*self._columns, *(name for name in row if name not in self._columns)]
        if columns != self._columns:
            rows = read_rows(self._path)[1] if self._columns else []
            self._columns = columns
            write_text(self._path, _to_csv(columns, [*rows, row]))
            return
        with naming_the_file(self._path), self._path.open("a", newline="") as file:
            csv.DictWriter(file, columns, restval="").writerow(row)

    def flush(self) -> None:
        """Wait until every row is on the disk."""
        if self._path.is_file():
            flush_to_disk(self._path)


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and complete rows of a CSV file; a row that was cut short by a kill is left out.

    Returns ([], []) for an empty file.
    """
    with path.open(newline="") as file:
        text = file.read()
    complete = text[: text.rfind("\n") + 1]  # a row without its end may lack digits of its last number
    lines = list(csv.reader(io.StringIO(complete, newline="")))
    if not lines:
        return [], []
    header = lines[0]
    return header, [dict(zip(header, line, strict=True)) for line in lines[1:] if len(line) == len(header)]


def cut_rows(path: Path, counter: str, last: int) -> None:
    """Drop the rows whose column `counter` is above `last`, which a resumed run is about to write again.

    Rows that were cut short are dropped too. A file that keeps no row, or has no such column, becomes empty.
    """
    if not path.is_file():
        return
    header, rows = read_rows(path)
    kept = [row for row in rows if row.get(counter, "").isdigit() and int(row[counter]) <= last]
    write_text(path, _to_csv(header, kept) if kept else "")


def write_table(path: Path, rows: Sequence[Mapping[str, Cell]]) -> None:
    """Write rows as CSV atomically, with a column for every name that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_text(path, _to_csv(columns, rows))


def _to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
