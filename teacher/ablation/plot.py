"""A study in one picture: learning curves beside what the finished policies drive like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teacher.ablation.run import Outcome
from teacher.ablation.study import Study
from teacher.run.run_folder import write_figure

COLOURS = ("#1d6fb8", "#d1495b", "#3a9d5d", "#8a5fbf", "#c98a1b")
SHOWN = {
    "driving_score": "driving score",
    "goal_rate": "goals reached",
    "collision_rate": "collided",
    "offroad_rate": "left the road",
}


def save_plot(path: Path, study: Study, outcomes: Sequence[Outcome]) -> None:
    """Left: the driving score in training against time. Right: figures of the evaluation, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=(1, 1.4))
    by_arm = [[one for one in outcomes if one.arm == arm.name] for arm in study.arms]
    for colour, arm, some in zip(COLOURS, study.arms, by_arm, strict=False):
        _draw_curves(curves, some, colour, arm.name)
    curves.set(xlabel="minutes of updates", ylabel="driving score of training episodes", ylim=(0, 1))
    curves.grid(alpha=0.25)
    curves.legend(frameon=False, fontsize=9)
    shown = SHOWN | ({"progress_ratio": "way driven"} if study.evaluation.packs else {})
    width = 0.8 / len(study.arms)
    for index, (colour, some) in enumerate(zip(COLOURS, by_arm, strict=False)):
        places = np.arange(len(shown)) + (index - (len(study.arms) - 1) / 2) * width
        _draw_figures(bars, places, [_figures(some, name) for name in shown], colour, width)
    bars.set_xticks(range(len(shown)), list(shown.values()))
    bars.set(ylim=(0, 1.02), ylabel=f"evaluation, {_places(study)}")
    bars.grid(alpha=0.25, axis="y")
    figure.suptitle(study.question, fontsize=11)
    write_figure(path, figure, dpi=110)


def _draw_curves(axes: Any, outcomes: Sequence[Outcome], colour: str, label: str) -> None:
    """Every seed thin, their mean thick."""
    curves = [np.array(one.curve) for one in outcomes if len(one.curve) > 1]
    for curve in curves:
        axes.plot(curve[:, 0], curve[:, 1], color=colour, linewidth=0.7, alpha=0.5)
    if curves:
        last = min(curve[-1, 0] for curve in curves)
        minutes = np.linspace(max(curve[0, 0] for curve in curves), last, 60)
        mean = np.mean([np.interp(minutes, curve[:, 0], curve[:, 1]) for curve in curves], axis=0)
        axes.plot(minutes, mean, color=colour, linewidth=2.4, label=label)


def _draw_figures(
    axes: Any, places: Any, figures: Sequence[Sequence[float]], colour: str, width: float
) -> None:
    means = [float(np.mean(some)) if len(some) else np.nan for some in figures]
    axes.bar(places, means, width=0.92 * width, color=colour, alpha=0.55)
    for place, some in zip(places, figures, strict=True):
        axes.plot(np.full(len(some), place), some, "o", color=colour, markersize=4, markeredgecolor="white")


def _figures(outcomes: Sequence[Outcome], name: str) -> list[float]:
    return [value for one in outcomes if (value := one.figures.get(name)) is not None]


def _places(study: Study) -> str:
    if study.evaluation.packs:
        return f"recorded scenes ({study.evaluation.split})"
    return " and ".join(study.evaluation.maps)
