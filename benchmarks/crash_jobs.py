"""The commands that `benchmarks.crashes` disturbs, what they have saved at any moment, and what they must end with."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gigapixel.run_folder.table import read_rows
from simulator.logs.import_logs import find_sources

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SCENES = 8  # of the import
Content = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A command that is disturbed.

    Attributes:
        arguments: the command for a folder, without `--resume`.
        resumes: whether the command takes `--resume`; otherwise it is run again.
        saved: how far the files of a folder have come (0: nothing is saved). Raises where one is incomplete.
        result: what a finished run must have, equal in all.
    """

    arguments: Callable[[Path], list[str]]
    resumes: bool
    saved: Callable[[Path], int]
    result: Callable[[Path], Content]


def teacher_job() -> Job:
    """Six updates, a checkpoint after every second one."""

    def saved(folder: Path) -> int:
        from teacher.run.checkpoint import list_checkpoints, read_progress

        checkpoints = list_checkpoints(folder / "debug" / "checkpoints")
        return max((read_progress(path)["update"] for path in checkpoints), default=0)

    def result(folder: Path) -> Content:
        with h5py.File(folder / "debug" / "policy.h5") as file:
            return _datasets(file) | {"rows": _rows(folder / "debug")}

    def arguments(folder: Path) -> list[str]:
        return ["teacher", "fit", "--config", f"{CONFIGS}/teacher/debug.yaml", "--output", str(folder)]

    return Job(arguments, True, saved, result)


def student_job() -> Job:
    """Four rounds of DAgger, a checkpoint after each."""

    def saved(folder: Path) -> int:
        from student.checkpoint import load_policy

        if (folder / "run" / "policy.pt").exists():
            load_policy(folder / "run" / "policy.pt")
        return _newest_epoch(folder / "run")

    def result(folder: Path) -> Content:
        from student.checkpoint import load_policy

        return _weights(load_policy(folder / "run" / "policy.pt")) | {"rows": _rows(folder / "run")}

    def arguments(folder: Path) -> list[str]:
        config = ["--config", f"{CONFIGS}/student/debug.yaml", "--trainer.max_epochs", "4"]
        return ["student", "fit", *config, "--run", str(folder / "run")]

    return Job(arguments, True, saved, result)


def adapt_job() -> Job:
    """Two seeds of three epochs each, a checkpoint after each."""

    def saved(folder: Path) -> int:
        from student.checkpoint import load_policy

        done = 0
        for seed in ("seed-0", "seed-1"):
            if (folder / "run" / seed / "adapted.pt").exists():
                load_policy(folder / "run" / seed / "adapted.pt")
            done += _newest_epoch(folder / "run" / seed)
        return done

    def result(folder: Path) -> Content:
        from student.checkpoint import load_policy

        found: Content = {}
        for seed in ("seed-0", "seed-1"):
            policy = load_policy(folder / "run" / seed / "adapted.pt")
            found |= {f"{seed}/{name}": value for name, value in _weights(policy).items()}
            found[f"{seed}/rows"] = _rows(folder / "run" / seed)
        return found

    def arguments(folder: Path) -> list[str]:
        config = ["--config", f"{CONFIGS}/adaptation/debug.yaml", "--trainer.max_epochs", "3"]
        return ["adapt", "fit", *config, "--seeds", "[0, 1]", "--patience", "9", "--run", str(folder / "run")]

    return Job(arguments, True, saved, result)


def womd_job() -> Job:
    """The import of some Waymo scenes into one pack, in two processes."""
    scenes = Path(tempfile.mkdtemp())
    for source in find_sources("womd", None)[0][:SCENES]:
        (scenes / source.name).symlink_to(source)

    def saved(folder: Path) -> int:
        return int((folder / "pack.h5").exists()) and len(_datasets_of(folder / "pack.h5"))

    def result(folder: Path) -> Content:
        return _datasets_of(folder / "pack.h5")

    def arguments(folder: Path) -> list[str]:
        pack = ["--output", str(folder / "pack.h5"), "--workers", "2"]
        return ["scenes", "womd", "--input", str(scenes), *pack]

    return Job(arguments, False, saved, result)


JOBS = {"teacher": teacher_job, "student": student_job, "adapt": adapt_job, "womd": womd_job}


def _newest_epoch(folder: Path) -> int:
    """Epochs in the newest checkpoint of a Lightning run, all of which must be readable."""
    from student.run.checkpoints import EXPECTED
    from student.torch_file import read_torch_file

    epochs = [
        int(read_torch_file(path, EXPECTED)["epoch"]) + 1
        for path in (folder / "checkpoints").glob("[!.]*.ckpt")
        if not path.name.startswith("best")
    ]
    return max(epochs, default=0)


def _weights(policy: Any) -> Content:
    return {name: tensor.numpy().tobytes() for name, tensor in policy.state_dict().items()}


def _datasets_of(path: Path) -> Content:
    with h5py.File(path) as file:
        return _datasets(file)


def _datasets(file: h5py.File) -> Content:
    found: Content = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()]).tobytes()

    file.visititems(keep)
    return found


def _rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without times and speeds."""
    _, rows = read_rows(folder / "metrics.csv")
    timed = re.compile("wall_s|_per_s|collect_s")
    return [{name: cell for name, cell in row.items() if not timed.search(name)} for row in rows]
