"""Weights that a command line names are looked for before a room is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gigapixel.__main__ import main
from gigapixel.run_folder.config import published_weights
from gigapixel.run_folder.config.named_weights import named_settings, refuse_missing_weights

ENCODER = "model: {policy: {encoder: {kind: timm, timm_name: vit_of_mine, pretrained: true}}}\n"


def config(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "student test --model.weights gone.pt",
            r"model\.weights=gone\.pt: there is no such file; .*policy\.pt",
        ),
        ("student fit --model.weights=gone.pt", r"model\.weights=gone\.pt"),
        (
            "student fit --data.world.teacher gone.h5",
            r"data\.world\.teacher=gone\.h5.*policy\.h5, or 'pretrained'",
        ),
        ("adapt fit --model.student gone.pt", r"model\.student=gone\.pt"),
        ("film --weights gone.pt --output f.png", r"weights=gone\.pt"),
        ("teacher evaluate --policy gone.h5", r"policy=gone\.h5"),
        ("teacher fit --start_from gone.h5", r"start_from=gone\.h5"),
        (
            "adapt test --run gone --seeds [0,1]",
            r"gone/seed-0/adapted\.pt: no such adapted student; run `gigapixel",
        ),
    ],
)
def test_missing_files_are_refused_by_option_and_path(command: str, words: str) -> None:
    name, *rest = command.split()
    with pytest.raises(FileNotFoundError, match=words):
        refuse_missing_weights(name, rest)


def test_configs_are_read_and_options_come_before_them(tmp_path: Path) -> None:
    there = tmp_path / "policy.pt"
    there.touch()
    path = config(tmp_path, "model: {weights: gone.pt, loss: {a: 1}}\ndata: {world: {teacher: pretrained}}\n")
    with pytest.raises(FileNotFoundError, match=r"model\.weights=gone\.pt"):
        refuse_missing_weights("student", ["test", "--config", path])
    refuse_missing_weights("student", ["test", "--config", path, "--model.weights", str(there)])
    refuse_missing_weights("student", ["test", "--config", path, "--model.weights", "null"])
    refuse_missing_weights("student", ["fit", "--config", path, "--print_config"])
    refuse_missing_weights("scenes", ["check", "--policy", "gone.h5"])
    assert named_settings(["--config", path, "--resume", "--n=[1,2]"])["n"] == [1, 2]


def test_published_weights_need_a_cache_or_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    arguments = ["fit", "--config", config(tmp_path, ENCODER)]
    monkeypatch.setattr(published_weights, "_answers", lambda address: True)
    refuse_missing_weights("student", arguments)
    monkeypatch.setattr(published_weights, "_answers", lambda address: False)
    with pytest.raises(
        OSError, match=r"weights of 'vit_of_mine' cannot be fetched .*does not answer.*pretrained to"
    ):
        refuse_missing_weights("student", arguments)
    refuse_missing_weights("student", [*arguments, "--model.policy.encoder.pretrained", "false"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="HF_HUB_OFFLINE is set"):
        refuse_missing_weights("student", arguments)
    snapshot = tmp_path / "hub" / "models--timm--vit_of_mine.tag" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    refuse_missing_weights("student", arguments)


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(published_weights, "HUB_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not published_weights._answers(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_the_command_refuses_without_loading_a_framework(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["student", "fit", "--model.weights", "gone.pt"]) == 2
    assert capsys.readouterr().err.startswith("gigapixel: model.weights=gone.pt: there is no such file")
    program = (
        "import sys; from gigapixel.__main__ import main; code = main(['adapt', 'fit', '--model.student', 'gone.pt'])\n"
        "assert code == 2, code\n"
        "assert not {'torch', 'jax', 'lightning'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
