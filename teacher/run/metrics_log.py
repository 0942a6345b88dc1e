"""Metrics of a training run, one row per update, as CSV and as TensorBoard events.

runs/teacher/<name>/config.yaml          resolved configuration
                    metadata.json        commit, versions, device, seed
                    metrics.csv          one row per update
                    pretrain.csv         one row per epoch of pre-training, where there was any
                    events.out.tfevents* the metrics of metrics.csv; the step is agent-steps
                    curves.png           learning curves, see `teacher.run.curves`
                    checkpoints/         see `teacher.run.checkpoint`
                    policy.h5            the newest policy, see `teacher.policy`
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from gigapixel.run_folder.table import MetricsTable, cut_rows
from gigapixel.run_folder.tensorboard import EventLog


class MetricsLog:
    """Appends one row per update to metrics.csv and to TensorBoard's event file.

    Args:
        folder: the run folder.
        update: the update from which the run continues, 0 for a new run. Later rows of an earlier session are cut off.
        agent_steps: agent-steps at that update; TensorBoard drops what earlier sessions logged beyond them.
    """

    def __init__(self, folder: Path, update: int, agent_steps: int) -> None:
        cut_rows(folder / "metrics.csv", "update", update)
        self._table = MetricsTable(folder / "metrics.csv")
        self._events = EventLog(folder, purge_step=agent_steps + 1 if update > 0 else None)

    def write(self, row: Mapping[str, float]) -> None:
        """Append one row, NaN as an empty cell; the columns named teacher/ also go to TensorBoard."""
        self._table.append({name: "" if math.isnan(value) else value for name, value in row.items()})
        scalars = {name: value for name, value in row.items() if name.startswith("teacher/")}
        self._events.write(scalars, int(row["agent_steps"]))

    def flush(self) -> None:
        """Bring every row to the disk; called before each checkpoint."""
        self._table.flush()

    def close(self) -> None:
        """Flush metrics.csv and close the event file."""
        self.flush()
        self._events.close()
