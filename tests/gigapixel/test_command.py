"""The command line: help, error messages of one line, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gigapixel.__main__ as command
from gigapixel.__main__ import COMMANDS, main


def assert_one_sentence(text: str, *fragments: str) -> None:
    """The refusal is one line of its own, without a traceback, and says what matters."""
    lines = [line for line in text.strip().splitlines() if line.startswith("gigapixel: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    for fragment in fragments:
        assert fragment in lines[0]


def raising(error: BaseException):
    """A loader of a command whose main raises `error`."""

    def fail(argv: list[str]) -> int:
        raise error

    return lambda name: fail


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"gigapixel {name} " in text


def test_no_command_shows_help_and_is_refused(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_unknown_command_is_refused(capsys):
    assert main(["tacher", "fit"]) == 2
    assert_one_sentence(capsys.readouterr().err, "'tacher'", "teacher")


def test_value_error_becomes_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(
        command, "load_command", raising(ValueError("timestep_s=0 must be positive; try 0.1"))
    )
    assert main(["teacher", "fit"]) == 2
    assert_one_sentence(capsys.readouterr().err, "timestep_s=0 must be positive; try 0.1")


def test_missing_file_is_named(capsys, monkeypatch, tmp_path):
    def read(argv: list[str]) -> int:
        (tmp_path / "absent.h5").read_bytes()
        return 0

    monkeypatch.setattr(command, "load_command", lambda name: read)
    assert main(["scenes"]) == 2
    assert_one_sentence(capsys.readouterr().err, "absent.h5", "No such file")


def test_interrupt_is_130(capsys, monkeypatch):
    monkeypatch.setattr(command, "load_command", raising(KeyboardInterrupt()))
    assert main(["teacher", "fit"]) == 130
    assert "--resume" in capsys.readouterr().err


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(command, "load_command", raising(AssertionError("a bug")))
    with pytest.raises(AssertionError, match="a bug"):
        main(["teacher", "fit"])


def test_missing_package_is_named(capsys, monkeypatch):
    def absent(module: str):
        raise ModuleNotFoundError("No module named 'py123d'", name="py123d")

    monkeypatch.setattr(command.importlib, "import_module", absent)
    assert main(["scenes", "towns"]) == 2
    assert_one_sentence(capsys.readouterr().err, "'py123d'", "pip install")


def test_importing_the_command_loads_no_room():
    code = (
        "import sys, gigapixel.__main__ as m; m.main(['--help']);"
        "heavy = {'jax', 'torch', 'lightning', 'simulator', 'teacher', 'renderer', 'student', 'adaptation'};"
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["scenes", "teacher", "render", "student", "adapt", "bench", "demo"])
def test_every_command_explains_itself(name, capsys):
    try:
        code = main([name, "--help"])
    except SystemExit as stop:
        code = stop.code
    assert code in (0, None)
    assert "usage" in capsys.readouterr().out.lower()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["scenes", "towns", "--input", "Town99", "--output", "out.h5"], ["Town99", "Town01"]),
        (["scenes", "check", "absent.h5"], ["absent.h5"]),
        (["render", "--map", "Town99", "--output", "out.png"], ["Town99", "Town01"]),
        (["render", "--map", "Town01", "--output", "out.png", "--size", "wide"], ["wide", "WIDTHxHEIGHT"]),
        (["render", "--map", "Town01", "--output", "out.png", "--rig", "absent.yaml"], ["absent.yaml"]),
        (["render", "--map", "Town01", "--output", "out.png", "--agents", "0"], ["0"]),
        (["bench", "simulator", "--output", "out.json", "--config", "absent.yaml"], ["absent.yaml"]),
        (["teacher", "fit", "--config", "absent.yaml"], ["absent.yaml"]),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else str(value),
)
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, fragments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert_one_sentence(capsys.readouterr().err, *fragments)
    assert [path for path in Path.cwd().rglob("*") if path.is_file()] == []
