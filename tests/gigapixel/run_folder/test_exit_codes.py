"""How commands end: exit codes, and one line on stderr for bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gigapixel.run_folder.exit_codes import INTERRUPTED, PIPE_CLOSED, REJECTED, run_command


def raising(error: BaseException):
    def command() -> int:
        raise error

    return command


def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert run_command(lambda: 7, "tool") == 7
    assert run_command(lambda: None, "tool") == 0


def test_bad_input_is_one_line_with_the_prefix(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(raising(ValueError("n=0 must be positive")), "tool") == REJECTED == 2
    assert capsys.readouterr().err == "tool: n=0 must be positive\n"
    missing = tmp_path / "absent.yaml"
    assert run_command(lambda: len(missing.read_bytes()), "tool") == REJECTED
    assert capsys.readouterr().err == f"tool: {missing}: No such file or directory\n"
    assert run_command(raising(OSError()), "tool") == REJECTED
    assert capsys.readouterr().err == "tool: OSError\n"


def test_an_interrupt_ends_with_the_code_of_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(KeyboardInterrupt()), "tool") == INTERRUPTED == 130
    assert capsys.readouterr().err.startswith("tool: interrupted")


def test_other_exceptions_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="a bug"):
        run_command(raising(AssertionError("a bug")), "tool")
    monkeypatch.setenv("GIGAPIXEL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="bad"):
        run_command(raising(ValueError("bad")), "tool")


def test_output_that_nobody_reads_ends_a_command_without_a_message() -> None:
    script = "import sys; from gigapixel.run_folder.exit_codes import run_command;"
    script += "sys.exit(run_command(lambda: print('x' * 100_000), 'tool'))"
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == PIPE_CLOSED == 141


def test_a_pipe_that_breaks_elsewhere_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(BrokenPipeError(32, "Broken pipe")), "tool") == REJECTED
    assert "Broken pipe" in capsys.readouterr().err
