"""`gigapixel adapt`: the shipped configs, fit -> test -> predict on the surrogate domain, errors, and no JAX."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from adaptation.__main__ import main
from gigapixel.__main__ import main as gigapixel
from student.checkpoint import save_policy
from student.network.policy import StudentPolicy

CONFIGS = ("base", "cpu", "debug", "stand_in")


def config(folder: Path, student: StudentPolicy, **changes: object) -> str:
    """The config of a run of seconds on the surrogate domain with a tiny student."""
    save_policy(student, folder / "student.pt")
    settings = {
        "run": str(folder / "run"),
        "seeds": [0, 1],
        "model": {
            "student": str(folder / "student.pt"),
            "optimiser": {"learning_rate": 0.003, "warmup_steps": 0},
        },
        "data": {
            "source": "stand_in",
            "backend": "reference",
            "height_px": 18,
            "width_px": 32,
            "batch_size": 4,
            "pairs_per_epoch": 8,
            "stand_in": {"scenes": 3, "moments_per_scene": 5, "held_out_scenes": 1},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "enable_progress_bar": False,
            "log_every_n_steps": 1,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings | changes))
    return str(path)


def test_fit_then_test_then_predict(tmp_path: Path, small_student: StudentPolicy) -> None:
    path = config(tmp_path, small_student)
    assert main(["fit", "--config", path]) == 0
    for seed in (0, 1):
        folder = tmp_path / "run" / f"seed-{seed}"
        found = {file.name for file in folder.iterdir()}
        assert {"adapted.pt", "config.yaml", "metadata.json", "metrics.csv", "checkpoints"} <= found
        assert json.loads((folder / "metadata.json").read_text())["seed"] == seed
    assert main(["test", "--config", path, "--output", str(tmp_path / "a.json")]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["source"] == "stand-in"
    assert (report["seeds"], report["moments"]) == (2, 5)
    assert report["seed_0/adapted_error_m"] != report["seed_1/adapted_error_m"]
    assert report["unadapted_error_m"] > 0
    assert main(["validate", "--config", path, "--output", str(tmp_path / "v.json")]) == 0
    assert "seed_1/error_m" in json.loads((tmp_path / "v.json").read_text())
    assert main(["predict", "--config", path, "--output", str(tmp_path / "plans")]) == 0
    plans = json.loads((tmp_path / "plans" / "predictions.json").read_text())
    assert sorted(plans) == [f"stand-in/000/{i}" for i in range(5)]
    for seed in (0, 1):  # the plans are those that were tested
        of_seed = [
            {name: np.array(poses) for name, poses in plan[f"seed_{seed}"].items()} for plan in plans.values()
        ]
        for side in ("adapted", "unadapted"):
            steps = [plan[f"{side}_on_real"] - plan["frozen_on_rendering"] for plan in of_seed]
            assert steps[0].shape == (8, 3)
            error_m = np.mean([np.linalg.norm(step[:, :2], axis=-1) for step in steps])
            assert error_m == pytest.approx(report[f"seed_{seed}/{side}_error_m"], rel=1e-4)
    with Image.open(tmp_path / "plans" / "pairs.png") as grid:
        assert grid.width == 3 * (3 * 32 + 4) + 4
        assert grid.height >= 5 * 4 * 3 * 18  # a row per sample and camera, three times enlarged


def test_a_finished_run_is_not_overwritten_and_resuming_it_changes_nothing(
    tmp_path: Path, small_student: StudentPolicy
) -> None:
    path = config(
        tmp_path, small_student, seeds=[4], checkpoint_every=5
    )  # the last of two epochs has a checkpoint too
    assert main(["fit", "--config", path]) == 0
    adapted = tmp_path / "run" / "seed-4" / "adapted.pt"
    before = adapted.read_bytes()
    checkpoints = adapted.parent / "checkpoints"
    assert {file.name for file in checkpoints.iterdir()} >= {"best.ckpt", "last.ckpt"}
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 1
    with pytest.raises(ValueError, match=r"seed-4 already holds a run; give --resume"):
        main(["fit", "--config", path])
    assert main(["fit", "--config", path, "--resume"]) == 0
    assert adapted.read_bytes() == before
    with pytest.raises(
        ValueError, match=r"seed-4/config.yaml differs .* data.batch_size is 4 in the run and 2 here"
    ):
        main(["fit", "--config", path, "--resume", "--data.batch_size", "2"])
    adapted.write_bytes(before[:4000])  # not taken for finished
    assert main(["fit", "--config", path, "--resume"]) == 0
    assert adapted.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": []}, "seeds="),
        ({"patience": 0}, "patience=0 must be at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every=0 must be at least 1"),
        ({"run": "nowhere"}, "no such adapted student"),
    ],
)
def test_impossible_runs_are_errors(
    tmp_path: Path, small_student: StudentPolicy, changes: dict[str, object], words: str
) -> None:
    with pytest.raises((ValueError, OSError), match=words):
        main(["test", "--config", config(tmp_path, small_student, **changes)])


def test_testing_needs_no_training_scenes(
    tmp_path: Path,
    small_student: StudentPolicy,
    make_student: Callable[[int], StudentPolicy],
    line: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_log(line(seq="b"), line(seq="b", frame=1, image="b1.png"))
    data = {
        "root": str(root),
        "held_out": ["made_up/b"],
        "height_px": 18,
        "width_px": 32,
        "backend": "reference",
    }
    path = config(tmp_path, small_student, seeds=[0], data=data)
    save_policy(make_student(4), tmp_path / "run" / "seed-0" / "adapted.pt")
    assert main(["test", "--config", path, "--output", str(tmp_path / "a.json")]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["constant_error_m"] is report["scene_made_up/b/constant_error_m"] is None
    assert report["moments"] == 2
    assert "2 held-out moments of 1 scenes" in capsys.readouterr().out


def test_an_error_is_one_line_and_exit_code_2(
    tmp_path: Path,
    small_student: StudentPolicy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GIGAPIXEL_DATA", raising=False)
    path = config(tmp_path, small_student, data={"source": "real", "held_out": ["a/b"]})
    assert gigapixel(["adapt", "fit", "--config", path]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert "GIGAPIXEL_DATA, which is not set" in message[0]
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_is_refused_in_one_sentence(tmp_path: Path, small_student: StudentPolicy) -> None:
    path = config(tmp_path, small_student, surprise=1)
    with pytest.raises(ValueError, match="surprise") as refused:
        main(["fit", "--config", path])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_shipped_config_is_parsed(
    repository: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the real parser, which then prints the resolved config instead of running."""
    path = repository / "configs" / "adaptation" / f"{name}.yaml"
    with pytest.raises(SystemExit) as exit_code:
        main(["fit", "--config", str(path), "--print_config"])
    assert exit_code.value.code == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    written = yaml.safe_load(path.read_text())
    assert parsed["run"] == f"runs/adaptation/{name}"
    for section in ("model", "data", "trainer"):
        for key, value in written[section].items():
            if not isinstance(value, dict):
                assert parsed[section][key] == value, f"{section}.{key}"


def test_adaptation_never_loads_jax() -> None:
    program = (
        "import importlib, pkgutil, sys, adaptation\n"
        "names = [m.name for m in pkgutil.walk_packages(adaptation.__path__, 'adaptation.')]\n"
        "assert {'adaptation.__main__', 'adaptation.pairs.lanes'} <= set(names)\n"
        "for name in names: importlib.import_module(name)\n"
        "forbidden = {'jax', 'flax', 'teacher', 'simulator.state', 'student.bridge.scene', 'student.world'}\n"
        "loaded = forbidden & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
