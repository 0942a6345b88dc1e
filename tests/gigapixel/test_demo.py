"""The arguments of the demo and its report; the demo itself runs in .ci/run with its debug configuration."""

import base64
import csv
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gigapixel.demo import DemoConfig, build_student, draw_real_frames, parse_demo_arguments
from gigapixel.report import TABLE_COLUMNS, TABLE_ROWS, plot_learning_curves, write_report


def metrics(first: float) -> dict[str, float | None]:
    """Metrics that all differ, the first of which is `first`."""
    values = {name: first + index / 100 for index, (name, _) in enumerate(TABLE_COLUMNS)}
    return values | {"km_per_incident": None}


SUMMARY: dict[str, Any] = {
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


class ReportParser(HTMLParser):
    """Collects the cells of the table, the sources of images and every URL of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.images: dict[str, str] = {}
        self.tags: set[str] = set()
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th")
        if tag == "img":
            self.images[values["alt"] or ""] = values["src"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def test_the_report_has_every_metric_of_every_driver_in_its_row(tmp_path: Path) -> None:
    page = ReportParser()
    page.feed(write_report(tmp_path, SUMMARY).read_text())
    assert page.rows[0] == ["", *(title for _, title in TABLE_COLUMNS)]
    expected = [SUMMARY["teacher"], SUMMARY["student_before"], SUMMARY["student_after"]]
    expected += [SUMMARY["adaptation"]["unadapted"], SUMMARY["adaptation"]["adapted"]]
    for (_, title), row, values in zip(TABLE_ROWS, page.rows[1:], expected, strict=True):
        cells = [
            "no incident" if name == "km_per_incident" else f"{values[name]:.2f}" for name, _ in TABLE_COLUMNS
        ]
        assert row == [title, *cells]


def test_the_report_embeds_its_pictures_and_loads_nothing(tmp_path: Path) -> None:
    files = {"stand_in.png": "The stand-in for real cameras", "film.png": "The same episode, driven by both"}
    for index, name in enumerate(files):
        Image.new("RGB", (8, 8), (index, 2, 3)).save(tmp_path / name)
    text = write_report(tmp_path, SUMMARY).read_text()
    page = ReportParser()
    page.feed(text)
    prefix = "data:image/png;base64,"
    assert set(page.images) == set(files.values()), "one image per existing file"
    for name, title in files.items():
        assert page.images[title].startswith(prefix)
        assert base64.b64decode(page.images[title].removeprefix(prefix)) == (tmp_path / name).read_bytes()
    assert not page.tags & {"script", "link", "iframe"}
    assert "http" not in text
    assert "abc&lt;def" in text, "text is escaped"


def test_learning_curves_show_the_metrics_of_the_run(tmp_path: Path) -> None:
    """Two of five rows have no imitation error, as rows that are logged at the start of a round."""
    names = ["step", "student/train/ade_m", "student/data/beta", "student/data/agent_steps"]
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows(
            [step, "" if step in (0, 3) else 3.0 - step / 2, 1 - step / 5, 100 * step] for step in range(5)
        )
    axes = plot_learning_curves(tmp_path / "metrics.csv").axes
    errors, shares, steps = ([line.get_xydata().tolist() for line in axis.lines] for axis in axes)
    assert errors == [[[1, 2.5], [2, 2.0], [4, 1.0]]]
    assert shares == [[[step, pytest.approx(1 - step / 5)] for step in range(5)]]
    assert steps == [[[step, 100 * step] for step in range(5)]]
    assert all(axis.get_xlabel() == "optimiser steps" and axis.get_title() for axis in axes)


def test_the_teachers_share_ends_after_its_share_of_the_expected_agent_steps() -> None:
    """2 decisions of 0.5 s in 3 worlds of 4 agents for 5 rounds, at the 0.25 s steps of the shipped teacher."""
    config = DemoConfig(epochs=5, decisions=2, num_worlds=3, num_agents=4, beta_share=0.5)
    data, _ = build_student(config, seed=0)
    assert data.beta.beta_steps == 5 * 2 * 2 * 3 * 4 // 2


def test_arguments_come_from_file_and_command_line(tmp_path: Path, repository: Path) -> None:
    debug = repository / "configs" / "demo" / "debug.yaml"
    config, output, seed = parse_demo_arguments(
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
        parse_demo_arguments(["--output", str(tmp_path), *arguments])


def test_defaults_never_train_on_the_test_town() -> None:
    config = DemoConfig()
    assert config.test_map not in config.train_maps
    assert config.test_map in ("Town07", "Town10HD")


def test_invalid_real_frames_cost_only_their_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder may hold logs only, or frames that are refused, and the demo has run for minutes by then."""
    monkeypatch.setenv("GIGAPIXEL_DATA", str(tmp_path))
    draw_real_frames(tmp_path / "real.png")
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / "frames.jsonl").write_text("{}")
    draw_real_frames(tmp_path / "real.png")
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[0] for line in said] == ["the report is without real frames"] * 2
    assert "has no camera/frames.jsonl" in said[0]
    assert "line 1: the field 'width' is missing" in said[1]
    assert not (tmp_path / "real.png").exists()
