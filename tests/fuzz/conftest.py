"""How many mutants each reader gets: few and always the same, or as many as `--fuzz-examples` says, drawn anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.judge import Judge

EXAMPLES = 30
"""Mutants of each reader where the option is not given."""
OPTION = "--fuzz-examples"
_COLUMNS = ("mutants", "accepted", "refused", "longest_s", "peak_mib")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION, type=int, default=None, help=f"mutants of each reader (default: {EXAMPLES}, always the same)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The profile of Hypothesis that every test of this folder runs under."""
    examples = config.getoption(OPTION, None)  # unknown where pytest began with another folder
    settings.register_profile(
        "fuzz", max_examples=examples or EXAMPLES, derandomize=examples is None, database=None, deadline=None,
        print_blob=True, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("fuzz")


@pytest.fixture
def judge(record_property) -> Iterator[Judge]:
    """Judges what a reader makes of each mutant, and counts."""
    judge = Judge()
    yield judge
    for name in _COLUMNS:
        record_property(name, getattr(judge, name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line per reader where `--fuzz-examples` is given."""
    if config.getoption(OPTION, None) is None:
        return
    terminalreporter.section("mutants")
    terminalreporter.line("  ".join(f"{name:>9}" for name in _COLUMNS))
    for reports in terminalreporter.stats.values():
        for report in reports:
            counts = dict(getattr(report, "user_properties", ()))
            if "mutants" in counts:
                row = "  ".join(f"{counts[name]:>9}" for name in _COLUMNS)
                terminalreporter.line(f"{row}  {report.nodeid.rpartition('::')[2]}")
