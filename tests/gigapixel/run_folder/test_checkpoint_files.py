"""A checkpoint that cannot be written or read never costs the one before it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from gigapixel.run_folder.checkpoint_files import (
    newest_first,
    newest_readable,
    previous_of,
    set_aside,
    write_checkpoint,
)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.endswith(b"."):
        raise ValueError(f"{path}: cut")
    return content


def test_two_are_kept(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    for content in (b"one.", b"two.", b"three."):
        write_checkpoint(last, content, keep_previous=True)
    assert (last.read_bytes(), previous_of(last).read_bytes()) == (b"three.", b"two.")
    assert newest_first(last) == [last, tmp_path / "last-previous.ckpt"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_keeps_both(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    for content in (b"one.", b"two."):
        write_checkpoint(last, content, keep_previous=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            OSError, match="too large: the checkpoint is not written, the checkpoints before it"
        ):
            write_checkpoint(last, bytes(2000), keep_previous=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (last.read_bytes(), previous_of(last).read_bytes()) == (b"two.", b"one.")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_gives_back_other_bytes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tmp_path / "last.ckpt"
    write_checkpoint(last, b"one.", keep_previous=True)
    flush = os.fsync

    def lose(descriptor: int) -> None:
        with open(f"/proc/self/fd/{descriptor}", "r+b", buffering=0) as file:
            file.write(b"X")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", lose)
    with pytest.raises(OSError, match="other bytes than those written"):
        write_checkpoint(last, b"two.", keep_previous=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one."]


def test_the_one_before_a_damaged_one_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = tmp_path / "last.ckpt"
    for content in (b"one.", b"two."):
        write_checkpoint(last, content, keep_previous=True)
    for length in range(4):
        last.write_bytes(b"two."[:length])
        path, content, damaged = newest_readable(newest_first(last), _read)
        assert (path, content, damaged) == (previous_of(last), b"one.", [last])
    assert f"{last}: cut; resuming from the checkpoint before it, {previous_of(last)}" in caplog.text
    set_aside([last])
    write_checkpoint(last, b"new.", keep_previous=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last-previous.ckpt", "last.ckpt", "last.ckpt.damaged",
    ]  # fmt: skip
    assert previous_of(last).read_bytes() == b"one."


def test_none_that_can_be_read_is_a_sentence(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    last.write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"last\.ckpt: cut; there is no other checkpoint to resume from"):
        newest_readable(newest_first(last), _read)
