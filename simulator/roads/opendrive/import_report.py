"""What the import of a map left out, and what it noticed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ImportReport:
    """Counts of what a file holds but the map does not (`left_out`), and of what was read in spite of a contradiction
    (`warnings`), by kind, each with its first example."""

    left_out: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, kind: str, example: str = "", count: int = 1) -> None:
        """Count something that the map lacks. `kind` is a plural such as "bus lanes"."""
        self.left_out[kind] += count
        self.examples.setdefault(kind, example)

    def warn(self, kind: str, example: str = "") -> None:
        """Count something that was read although the file contradicts itself there."""
        self.warnings[kind] += 1
        self.examples.setdefault(kind, example)

    def summary(self) -> str:
        """What was left out in one line, e.g. "12 bus lanes, 3 railways"; empty for nothing."""
        return ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common())

    def lines(self) -> list[str]:
        """One line per kind."""
        rows = [("left out", self.left_out), ("warning", self.warnings)]
        return [
            f"{what}: {count} {kind}" + (f" (first: {self.examples[kind]})" if self.examples[kind] else "")
            for what, counts in rows
            for kind, count in counts.most_common()
        ]
