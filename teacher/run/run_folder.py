"""What a run leaves on disk besides checkpoints: configuration, metadata, metrics as CSV and for TensorBoard.

runs/teacher/<name>/config.yaml          resolved configuration
                    metadata.json        commit, versions, device, seed
                    metrics.csv          one row per update
                    pretrain.csv         one row per epoch of pre-training, where there was any
                    events.out.tfevents* the same numbers; the step is agent steps
                    curves.png           the most telling columns of metrics.csv, see `teacher.run.curves`
                    checkpoints/         see `teacher.run.checkpoint`
                    policy.h5            the newest policy, see `teacher.policy`
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "h5py")


def write_text(path: Path, content: str) -> None:
    """Write a text file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(content)
    partial.replace(path)


def source_commit() -> str:
    """Commit of the source tree, with -dirty for local changes; 'unknown' outside a clone."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def run_metadata(seed: int) -> dict[str, Any]:
    """Commit, versions, device and seed of a run."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "commit": source_commit(),
        "python": platform.python_version(),
        "versions": versions,
        "device": f"{device.platform} {device.device_kind}, {os.cpu_count()} cores",
        "seed": seed,
    }


class MetricsLog:
    """Appends one row per update to metrics.csv and to TensorBoard's event file.

    Args:
        folder: the run folder.
        update: the update that the run goes on from; later rows of an earlier life of the run are cut off.
        agent_steps: experience at that update; TensorBoard forgets what it has seen of later steps.
    """

    def __init__(self, folder: Path, update: int, agent_steps: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._path = folder / "metrics.csv"
        self._columns = cut_rows(self._path, update)
        self._file: TextIO = self._path.open("a", newline="")
        self._events = EventFileWriter(str(folder))
        if update > 0:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._events.add_event(
                event_pb2.Event(wall_time=time.time(), step=agent_steps + 1, session_log=start)
            )

    def write(self, row: Mapping[str, float]) -> None:
        """Append one row. The first row of a run decides the columns; NaN is written as an empty cell."""
        writer = csv.writer(self._file)
        if not self._columns:
            self._columns = list(row)
            writer.writerow(self._columns)
        cells = [row.get(name, math.nan) for name in self._columns]
        writer.writerow(["" if math.isnan(value) else value for value in cells])
        self._file.flush()
        self._write_events(row)

    def _write_events(self, row: Mapping[str, float]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name.startswith("teacher/") and not math.isnan(value)
        ]
        step = int(row["agent_steps"])
        summary = summary_pb2.Summary(value=values)
        self._events.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Bring everything written so far to the disk; called before each checkpoint."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        """Flush and close both files."""
        self.flush()
        self._file.close()
        self._events.close()


def cut_rows(path: Path, update: int) -> list[str]:
    """Drop rows of metrics.csv after `update`, and a row that was cut short; returns the columns (none: no file)."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    if not rows or "update" not in rows[0]:
        path.unlink()
        return []
    header, place = rows[0], rows[0].index("update")
    whole = [row for row in rows[1:] if len(row) == len(header) and row[place].isdigit()]
    kept = [row for row in whole if int(row[place]) <= update]
    lines = [header, *kept] if kept else []
    write_text(path, "".join(",".join(row) + "\r\n" for row in lines))
    return header if kept else []


def write_table(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write rows as CSV, with a column for every name that any of them has; the file appears whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_figure(path: Path, figure: Any, dpi: int = 100) -> None:
    """Write a matplotlib figure as PNG; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    figure.savefig(partial, dpi=dpi, format="png")
    partial.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; the file appears whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")
