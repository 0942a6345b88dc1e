"""The plot of a study: learning curves, and metrics of the finished policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gigapixel.run_folder.figure import write_figure
from gigapixel.run_folder.seed_curves import COLOURS, mean_curve
from teacher.ablation.run import Outcome
from teacher.ablation.study import Study

PLOTTED_METRICS = {
    "driving_score": "driving score",
    "goal_rate": "goals reached",
    "collision_rate": "collided",
    "offroad_rate": "left the road",
}


def save_ablation_plot(path: Path, study: Study, outcomes: Sequence[Outcome]) -> None:
    """Writes `draw_study` as an image."""
    write_figure(path, draw_study(study, outcomes), dpi=110)


def draw_study(study: Study, outcomes: Sequence[Outcome]) -> Figure:
    """Left: driving score in training against time. Right: evaluation metrics, mean as a bar and each seed as a dot."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=(1, 1.4))
    by_arm = [[one for one in outcomes if one.arm == arm.name] for arm in study.arms]
    for colour, arm, some in zip(COLOURS, study.arms, by_arm, strict=False):
        _draw_curves(curves, some, colour, arm.name)
    curves.set(xlabel="minutes of updates", ylabel="driving score of training episodes", ylim=(0, 1))
    curves.grid(alpha=0.25)
    if curves.lines:  # runs of one update have no curve
        curves.legend(frameon=False, fontsize=9)
    shown = PLOTTED_METRICS | ({"progress_ratio": "way driven"} if study.evaluation.packs else {})
    width = 0.8 / len(study.arms)
    for index, (colour, some) in enumerate(zip(COLOURS, by_arm, strict=False)):
        positions = np.arange(len(shown)) + (index - (len(study.arms) - 1) / 2) * width
        _draw_metrics(bars, positions, [_values(some, name) for name in shown], colour, width)
    bars.set_xticks(range(len(shown)), list(shown.values()))
    bars.set(ylim=(0, 1.02), ylabel=f"evaluation, {_where(study)}")
    bars.grid(alpha=0.25, axis="y")
    figure.suptitle(study.question, fontsize=11)
    return figure


def _draw_curves(axes: Axes, outcomes: Sequence[Outcome], colour: str, label: str) -> None:
    """Each seed as a thin line, their mean as a thick one."""
    curves = [np.array(one.curve) for one in outcomes if len(one.curve) > 1]
    for curve in curves:
        axes.plot(curve[:, 0], curve[:, 1], color=colour, linewidth=0.7, alpha=0.5)
    if curves:
        minutes, mean, _ = mean_curve(curves)
        axes.plot(minutes, mean, color=colour, linewidth=2.4, label=label)


def _draw_metrics(
    axes: Axes, positions: np.ndarray, metrics: Sequence[Sequence[float]], colour: str, width: float
) -> None:
    """Bars of the means over seeds at ``positions``, and a dot per seed; no bar for a metric without values."""
    known = np.array([len(values) > 0 for values in metrics])
    means = [float(np.mean(values)) for values in metrics if len(values)]
    axes.bar(positions[known], means, width=0.92 * width, color=colour, alpha=0.55)
    for position, values in zip(positions, metrics, strict=True):
        axes.plot(
            np.full(len(values), position), values, "o", color=colour, markersize=4, markeredgecolor="white"
        )


def _values(outcomes: Sequence[Outcome], name: str) -> list[float]:
    return [value for one in outcomes if (value := one.figures.get(name)) is not None]


def _where(study: Study) -> str:
    if study.evaluation.packs:
        return f"recorded scenes ({study.evaluation.split})"
    return " and ".join(study.evaluation.maps)
