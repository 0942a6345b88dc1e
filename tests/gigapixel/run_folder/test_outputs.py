"""Outputs that cannot be written are refused before the work, and the check leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from gigapixel.run_folder.outputs import (
    JSON_SUFFIXES,
    check_output_file,
    check_output_folder,
    check_output_picture,
)


def test_what_can_be_written_is_accepted_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    check_output_file("--output", tmp_path / "old.json", JSON_SUFFIXES)
    check_output_file("--output", tmp_path / "deep" / "er" / "new.json", JSON_SUFFIXES)
    check_output_picture("--picture", tmp_path / "a.PNG")
    check_output_folder("--videos", tmp_path / "videos")
    check_output_file("--output", None)
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "{}"


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OSError, match=r"--output .*x\.json cannot be written \("):
        check_output_file("--output", tmp_path / "file" / "x.json")
    with pytest.raises(OSError, match=r"--output .*folder\.json is a folder"):
        check_output_file("--output", tmp_path / "folder.json")
    with pytest.raises(ValueError, match=r"--output .*x\.png must end in \.json$"):
        check_output_file("--output", tmp_path / "x.png", JSON_SUFFIXES)
    with pytest.raises(ValueError, match=r"--picture .*x\.json must end in \.png or"):
        check_output_picture("--picture", tmp_path / "x.json")
    with pytest.raises(ValueError, match="is a device or a pipe"):
        check_output_file("--output", "/dev/null")
    with pytest.raises(OSError, match="is a file; give a folder"):
        check_output_folder("--videos", tmp_path / "file")
