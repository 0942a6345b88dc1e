"""Ctrl-C and SIGTERM end a command at once, whatever it does, and never lose results that a loop holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gigapixel.run_folder.interrupts import RUN_AGAIN, stop_requests

DEAF = """
import ctypes, sys, time
from pathlib import Path
from gigapixel.run_folder.atomic import atomic_write
from gigapixel.run_folder.interrupts import end_on_signals
end_on_signals("tool")
with atomic_write(Path(sys.argv[1]) / "out.txt") as temporary:
    temporary.write_text("half")
    print("printed")
    Path(sys.argv[1], "ready").touch()
    while True:
        try:
            ctypes.CDLL(None).sleep(60)
        except KeyboardInterrupt:
            pass
"""

LOOP = """
import sys, time
from pathlib import Path
from gigapixel.run_folder.interrupts import end_on_signals, how_to_go_on, stop_requests
folder = Path(sys.argv[1])
end_on_signals("tool")
with how_to_go_on(lambda: "go on with --resume"), stop_requests("this step") as stop:
    (folder / "before").touch()
    time.sleep(float(sys.argv[2]))
    stop.unsaved = True
    (folder / "unsaved").touch()
    while not stop:
        time.sleep(0.01)
    (folder / "saved").touch()
    if len(sys.argv) > 3:
        time.sleep(60)
    stop.end()
"""


def _start(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} does not appear"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_command_in_compiled_code_ends_at_once(tmp_path: Path, number: int, code: int, word: str) -> None:
    """Python would run no handler before the call returns."""
    process = _start(tmp_path, DEAF)
    _wait_for(tmp_path / "ready")
    process.send_signal(number)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (code, "printed\n", f"tool: {word}; {RUN_AGAIN}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def test_a_loop_saves_what_it_holds(tmp_path: Path) -> None:
    process = _start(tmp_path, LOOP, "0")
    _wait_for(tmp_path / "unsaved")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert err == (
        "tool: stopping after this step, to save it; Ctrl-C again stops at once\n"
        "tool: interrupted; go on with --resume\n"
    )
    assert (tmp_path / "saved").exists()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = _start(tmp_path, LOOP, "0", "slow")
    _wait_for(tmp_path / "unsaved")
    process.send_signal(signal.SIGINT)
    _wait_for(tmp_path / "saved")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


def test_a_loop_with_nothing_to_save_ends_at_once(tmp_path: Path) -> None:
    process = _start(tmp_path, LOOP, "60")
    _wait_for(tmp_path / "before")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 143
    assert not (tmp_path / "unsaved").exists()


def test_outside_of_commands_a_loop_is_asked_and_then_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_requests("this step") as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        stop.unsaved = True
        os.kill(os.getpid(), signal.SIGINT)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
