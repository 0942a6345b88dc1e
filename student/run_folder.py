"""What a training run leaves behind: metadata.json and a metrics.csv that survives being resumed."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

PACKAGES = ("jax", "flax", "torch", "torchvision", "timm", "lightning", "numpy", "numba")


def run_metadata(device: torch.device | str, seed: int | None) -> dict[str, Any]:
    """Commit, versions, device and seed of a run."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else platform.machine()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions,
        "device": f"{torch.device(device).type} {name}, {os.cpu_count()} cores",
        "seed": seed,
    }


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON object; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


class RunMetadata(lightning.Callback):
    """Writes metadata.json into the run folder when fitting begins."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Once the device is known."""
        if trainer.is_global_zero:
            seed = os.environ.get("PL_GLOBAL_SEED")
            content = run_metadata(trainer.strategy.root_device, int(seed) if seed else None)
            write_json(Path(trainer.default_root_dir) / "metadata.json", content)


class MetricsCsv(Logger):
    """metrics.csv with one column per metric: rows are appended, new metrics add columns, resuming cuts rows
    of steps that are about to be repeated (Lightning's own CSV logger deletes the file on resume).

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._folder = Path(save_dir)
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """No sub-folder: the run folder has its own name."""
        return ""

    @property
    def version(self) -> str:
        """No sub-folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @property
    def log_dir(self) -> str:
        """Where config.yaml goes as well."""
        return str(self._folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsCsv:
        """This logger has no other object behind it."""
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        row = {"step": step or 0, **metrics}
        path = self._folder / "metrics.csv"
        rows: list[dict[str, Any]] = []
        if self._columns is None and path.is_file():
            rows = [old for old in _read_rows(path) if int(old["step"]) < row["step"]]
            self._columns = []
        elif self._columns and not set(row) <= set(self._columns):
            rows = _read_rows(path)
        if self._columns and set(row) <= set(self._columns):
            with path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            return
        self._columns = list(dict.fromkeys([name for known in [*rows, row] for name in known]))
        _write_rows(path, self._columns, [*rows, row])


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def _commit() -> str:
    """Commit of the source tree, with -dirty for local changes; 'unknown' outside a clone."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
