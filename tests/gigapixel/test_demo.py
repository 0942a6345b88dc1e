"""The demo's arguments and its report; the demo itself runs in the continuous integration's debug configuration."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from gigapixel.demo import DemoConfig, parse
from gigapixel.report import COLUMNS, learning_curves, write_report


def metrics(score: float) -> dict[str, float | None]:
    return {name: score for name, _ in COLUMNS} | {"km_per_incident": None}


SUMMARY = {
    "teacher": metrics(0.9),
    "student_before": metrics(0.1),
    "student_after": metrics(0.6),
    "adaptation": {"domain": "stand-in", "unadapted": metrics(0.2), "adapted": metrics(0.5)},
    "config": {"test_map": "Town10HD", "train_maps": ["Town01"]},
    "seed": 3,
    "commit": "abc<def",
    "wall_s": 61.0,
    "wall_s_by_part": {"dagger": 30.0},
}


def test_report_stands_alone_and_names_the_stand_in(tmp_path: Path) -> None:
    for name in ("stand_in.png", "film.png"):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / name)
    text = write_report(tmp_path, SUMMARY).read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "The same episode, driven by both" in text
    assert "0.60" in text
    assert "stand-in" in text
    assert "abc&lt;def" in text
    assert "http" not in text, "nothing is fetched from anywhere"
    assert "no incident" in text


def test_learning_curves_are_drawn_from_the_run(tmp_path: Path) -> None:
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        rows = csv.DictWriter(
            file, ["step", "student/train/ade_m", "student/data/beta", "student/data/agent_steps"]
        )
        rows.writeheader()
        for step in range(5):
            rows.writerow(
                {"step": step, "student/train/ade_m": 3.0 - step / 2, "student/data/beta": 1 - step / 5}
            )
    learning_curves(tmp_path / "metrics.csv", tmp_path / "learning.png")
    assert Image.open(tmp_path / "learning.png").width > 800


def test_arguments_come_from_file_and_command_line(tmp_path: Path, repository: Path) -> None:
    debug = repository / "configs" / "demo" / "debug.yaml"
    config, output, seed = parse(
        ["--config", str(debug), "--output", str(tmp_path), "--epochs", "7", "--seed", "2"]
    )
    assert (config.epochs, config.train_maps, output, seed) == (7, ("Town02",), tmp_path, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--epochs", "0"], "demo epochs=0 must be above 0"),
        (["--num_worlds", "1"], "num_worlds=1 must be at least 2"),
        (["--colour", "red"], "colour"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(["--output", str(tmp_path), *arguments])


def test_defaults_never_train_on_the_test_town() -> None:
    config = DemoConfig()
    assert config.test_map not in config.train_maps
    assert config.test_map in ("Town07", "Town10HD")
