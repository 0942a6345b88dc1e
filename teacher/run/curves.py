"""Learning curves of a run in one figure: driving, reward terms and training diagnostics against agent-steps."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gigapixel.run_folder.figure import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE_POINTS = 200
"""Points of a curve; each is the mean over an equal share of the updates."""

PANELS: dict[str, dict[str, str]] = {
    "episodes": {
        "driving score": "episode/driving_score",
        "goals reached": "episode/goal_rate",
        "way driven": "episode/progress",
    },
    "failures, share of agents": {
        "collided": "episode/collision_rate",
        "left the road": "episode/offroad_rate",
        "ran a red light": "episode/red_light_rate",
        "ran a stop sign": "episode/stop_sign_rate",
    },
    "reward per step": {
        "total": "reward/total",
        "goal": "reward/goal",
        "progress": "reward/progress",
        "collision": "reward/collision",
        "off-road": "reward/offroad",
        "red light": "reward/red_light",
        "lane centre": "reward/lane_center",
    },
    "policy": {"entropy, nats": "loss/entropy"},
    "critic": {"explained variance": "value/explained_variance"},
    "samples that pass the filter": {"share": "filter/passing_share"},
}
"""By title of a panel: legend -> column of metrics.csv, without the prefix teacher/."""


def read_metrics(path: Path) -> dict[str, Float[np.ndarray, " updates"]]:
    """Columns of a run's metrics.csv, NaN where a cell is empty. Raises ValueError for a file without rows."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} has no rows; expected at least one update")
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def read_curves(path: Path, points: int = CURVE_POINTS) -> dict[str, Float[np.ndarray, " points"]]:
    """Columns of metrics.csv averaged over `points` equal shares of the updates (all of them where there are fewer).

    NaN where a share has no value.
    """

    def averaged(values: np.ndarray) -> np.ndarray:
        parts = np.array_split(values, min(points, len(values)))
        known = [part[np.isfinite(part)] for part in parts]
        return np.array([some.mean() if some.size else np.nan for some in known])

    return {name: averaged(values) for name, values in read_metrics(path).items()}


def save_curves(metrics: Path, output: Path) -> None:
    """Draw a run's metrics.csv as a PNG. Raises ValueError for a file without rows."""
    write_figure(output, draw_curves(metrics))


def draw_curves(metrics: Path) -> Figure:
    """The figure of `save_curves`: one panel per entry of `PANELS`, over million agent-steps."""
    from matplotlib.figure import Figure

    curves = read_curves(metrics)
    millions = curves["agent_steps"] / 1e6
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(2, 3).ravel(), PANELS.items(), strict=True):
        for label, name in lines.items():
            if f"teacher/{name}" in curves:
                axes.plot(millions, curves[f"teacher/{name}"], linewidth=1.3, label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("million agent-steps", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
    hours = curves["wall_s"][-1] / 3600
    figure.suptitle(
        f"{metrics.parent.name}: {millions[-1]:.1f} million agent-steps in {hours:.1f} h", fontsize=11
    )
    return figure
