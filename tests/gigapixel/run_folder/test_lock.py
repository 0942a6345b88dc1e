"""A run folder belongs to one process, and to nobody once that process is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gigapixel.run_folder.lock import LOCK_NAME, claimed

HOLD = """
import sys, time
from pathlib import Path
from gigapixel.run_folder.lock import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    with pytest.raises(ValueError, match=rf"run is in use by process {process.pid} on "), claimed(folder):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with claimed(folder):
        assert (folder / LOCK_NAME).read_text().startswith(f"{os.getpid()} ")
    assert not (folder / LOCK_NAME).exists()


def test_a_refused_folder_is_as_before(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ValueError("already holds a run")

    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        with pytest.raises(ValueError, match="already holds"), claimed(folder, refuse):
            pass
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_a_folder_without_files_is_removed_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="later"), claimed(tmp_path / "a" / "b"):
        raise ValueError("later")
    assert not (tmp_path / "a").exists()
    with claimed(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "config.yaml").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["config.yaml"]
