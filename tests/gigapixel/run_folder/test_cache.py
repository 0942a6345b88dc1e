"""A cache that is damaged or cannot be used costs time, not the result."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gigapixel.run_folder.cache import load_or_build


def _read(entry: Path) -> int:
    return int(entry.read_text())


def _write(entry: Path, result: int) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(str(result))


def test_a_damaged_entry_is_made_again_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = tmp_path / "entry"
    entry.write_text("cut")
    assert load_or_build(entry, _read, lambda: 7, _write) == 7
    assert len(caplog.records) == 1
    assert str(entry) in caplog.text
    assert load_or_build(entry, _read, lambda: pytest.fail("built although it is cached"), _write) == 7


def test_a_folder_that_cannot_be_used_is_done_without_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            assert (
                load_or_build(tmp_path / "file" / "entry", _read, lambda number=number: number, _write)
                == number
            )
    assert len(caplog.records) == 1
    assert "working without it" in caplog.text
