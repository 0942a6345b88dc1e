"""A run in one picture: what drivers achieve, where rewards come from and how learning goes, against experience."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from teacher.run.run_folder import write_figure

POINTS = 200
"""Points of a curve; each is the mean over an equal stretch of updates."""

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
"""Panels of the picture: legend and column of metrics.csv."""


def read_metrics(path: Path) -> dict[str, Float[np.ndarray, " updates"]]:
    """Columns of a run's metrics.csv; NaN for what an update does not know. Raises ValueError without any update."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} holds no update yet")
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def read_curves(path: Path, points: int = POINTS) -> dict[str, Float[np.ndarray, " points"]]:
    """The same, averaged over equal stretches of updates; NaN where a stretch has no value."""

    def averaged(values: np.ndarray) -> np.ndarray:
        parts = np.array_split(values, min(points, len(values)))
        known = [part[np.isfinite(part)] for part in parts]
        return np.array([some.mean() if some.size else np.nan for some in known])

    return {name: averaged(values) for name, values in read_metrics(path).items()}


def save_curves(metrics: Path, output: Path) -> None:
    """Draw a run's metrics.csv as a PNG. Raises ValueError where it holds no update."""
    from matplotlib.figure import Figure

    curves = read_curves(metrics)
    millions = curves["agent_steps"] / 1e6
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for panel, (title, lines) in zip(figure.subplots(2, 3).ravel(), PANELS.items(), strict=True):
        _draw(panel, title, millions, {label: curves.get(f"teacher/{name}") for label, name in lines.items()})
    hours = curves["wall_s"][-1] / 3600
    figure.suptitle(
        f"{metrics.parent.name}: {millions[-1]:.1f} million agent-steps in {hours:.1f} h", fontsize=11
    )
    write_figure(output, figure)


def _draw(panel: Any, title: str, millions: np.ndarray, lines: dict[str, np.ndarray | None]) -> None:
    for label, values in lines.items():
        if values is not None:
            panel.plot(millions, values, linewidth=1.3, label=label)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("million agent-steps", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    if len(lines) > 1:
        panel.legend(frameon=False, fontsize=8)
