"""The run folder: atomic files, metadata, CSV tables, TensorBoard events and figures; and what the package imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gigapixel.run_folder.atomic import atomic_write, write_json, write_text
from gigapixel.run_folder.figure import write_figure, write_image
from gigapixel.run_folder.metadata import run_metadata, source_commit
from gigapixel.run_folder.table import MetricsTable, cut_rows, write_table
from gigapixel.run_folder.tensorboard import EventLog


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_complete_in_a_folder_that_is_made_for_it(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "table.csv"
    with atomic_write(path, durable) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent, ".csv")
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("complete")
    assert path.read_text() == "complete"
    assert names(path.parent) == ["table.csv"]


@pytest.mark.parametrize("durable", [False, True])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def interrupted() -> None:
        with atomic_write(path, durable) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"score": 1})

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"), atomic_write(path, durable=True) as temporary:
        temporary.write_text("{}")
    assert json.loads(path.read_text()) == {"score": 1}
    assert names(tmp_path) == ["metrics.json"]


WRITE_FOREVER = """
import sys
from gigapixel.run_folder.atomic import write_text
number = 0
while True:
    number += 1
    write_text(sys.argv[1], f"{number}\\n" * 20_000)
    print(number, flush=True)
"""


def test_a_process_killed_while_writing_leaves_a_complete_file(
    tmp_path: Path, repository: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "numbers.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(path)], cwd=repository, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 3:
        pass
    time.sleep(float(rng.uniform(0.0, 0.02)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 20_000
    assert len(set(lines)) == 1
    assert int(lines[0]) >= 3


def test_metadata_names_the_commit_and_installed_versions_only() -> None:
    content = run_metadata("cpu some-model", 7, ("numpy", "no-such-distribution"))
    assert list(content) == ["commit", "python", "versions", "device", "seed"]
    assert content["versions"] == {"numpy": np.__version__}
    assert content["device"] == f"cpu some-model, {os.cpu_count()} cores"
    assert content["seed"] == 7
    assert content["commit"] == source_commit()
    assert run_metadata("cpu", None, ())["seed"] is None


def test_the_commit_is_that_of_the_source_tree(repository: Path) -> None:
    command = ["git", "-C", str(repository), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert source_commit().removesuffix("-dirty") == (
        done.stdout.strip() if done.returncode == 0 else "unknown"
    )


def test_rows_are_appended_and_new_columns_are_added(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    MetricsTable(path).append({"step": 1, "loss": 0.1})
    table = MetricsTable(path)
    table.append({"step": 2})
    table.append({"step": 3, "loss": 0.25, "score": float("nan")})
    table.append({"step": 4, "score": "", "loss": None})
    assert path.read_bytes() == b"step,loss,score\r\n1,0.1,\r\n2,,\r\n3,0.25,nan\r\n4,,\r\n"


def test_rows_that_a_resumed_run_repeats_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    cut_rows(path, "update", 3)
    assert not path.exists()
    path.write_bytes(b"update,agent_steps\r\n1,10\r\n2,20\r\n3,30\r\n4,4")
    cut_rows(path, "update", 3)
    assert path.read_bytes() == b"update,agent_steps\r\n1,10\r\n2,20\r\n3,30\r\n"
    MetricsTable(path).append({"update": 4, "agent_steps": 40})
    assert path.read_bytes().endswith(b"3,30\r\n4,40\r\n")
    cut_rows(path, "update", 0)
    assert path.read_bytes() == b""
    MetricsTable(path).append({"update": 1, "other": 1})  # a new header
    assert path.read_bytes() == b"update,other\r\n1,1\r\n"


def test_a_row_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"update,a,b\r\n1,1,1\r\n2,2")
    cut_rows(path, "update", 9)
    assert path.read_bytes() == b"update,a,b\r\n1,1,1\r\n"


def test_a_table_has_every_column_of_any_row(tmp_path: Path) -> None:
    write_table(tmp_path / "pretrain.csv", [{"epoch": 0, "error": 1.5}, {"epoch": 1, "loss": 0.5}])
    assert (tmp_path / "pretrain.csv").read_bytes() == b"epoch,error,loss\r\n0,1.5,\r\n1,,0.5\r\n"


def test_events_of_a_resumed_run_replace_those_after_its_checkpoint(tmp_path: Path) -> None:
    """Sessions in one folder: the first writes steps 10, 20 and 30, the second resumes after step 20."""
    killed = EventLog(tmp_path)
    for step in (10, 20, 30):
        killed.write({"teacher/loss": step / 10, "teacher/score": float("nan")}, step)
    # and is never closed: every event is with the system at once
    resumed = EventLog(tmp_path, purge_step=21)
    resumed.write({"teacher/loss": 2.5}, 25)
    resumed.close()
    reader = EventAccumulator(str(tmp_path)).Reload()
    assert reader.Tags()["scalars"] == ["teacher/loss"]
    assert [(event.step, event.value) for event in reader.Scalars("teacher/loss")] == [
        (10, 1),
        (20, 2),
        (25, 2.5),
    ]
    killed.close()


def test_figures_and_images_are_written_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    write_figure(tmp_path / "new" / "curves.png", figure, dpi=50)
    with Image.open(tmp_path / "new" / "curves.png") as image:
        assert (image.format, image.size) == ("PNG", (100, 50))
    red = Image.new("RGB", (3, 2), (255, 0, 0))
    for suffix, kind in ((".png", "PNG"), (".gif", "GIF")):
        write_image(tmp_path / f"red{suffix}", red)
        with Image.open(tmp_path / f"red{suffix}") as image:
            assert (image.format, image.convert("RGB").getpixel((2, 1))) == (kind, (255, 0, 0))
    with pytest.raises(ValueError, match="unknown file extension"):
        write_image(tmp_path / "red.unknown", red)
    assert names(tmp_path) == ["new", "red.gif", "red.png"]


def test_the_package_loads_no_framework_and_no_room(repository: Path) -> None:
    program = (
        "import importlib, pkgutil, sys, gigapixel.run_folder as package\n"
        "names = [module.name for module in pkgutil.iter_modules(package.__path__)]\n"
        "assert len(names) >= 5, names\n"
        "for name in names: importlib.import_module(f'gigapixel.run_folder.{name}')\n"
        "heavy = ('jax', 'flax', 'torch', 'lightning', 'simulator', 'renderer', 'teacher', 'student', 'adaptation')\n"
        "loaded = [name for name in heavy if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
