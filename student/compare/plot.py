"""The plot of a comparison: driving score against agent-steps, and against labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from gigapixel.run_folder.seed_curves import COLOURS, mean_curve
from student.compare.run import Outcome
from student.compare.statistics import SCORE, curves, mean_of
from student.compare.study import Study


def draw_comparison(study: Study, outcomes: Sequence[Outcome]) -> Figure:
    """Means over seeds as lines with bands of one standard error, evaluations as dots. Left over agent-steps, right
    over labels on a logarithmic axis, where a dashed line is the final score of an arm that uses none."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, arm in enumerate(study.arms):
        own = [one for one in outcomes if one.arm == arm.name]
        if not own:
            continue
        colour = COLOURS[number % len(COLOURS)]
        _draw(left, curves(own, "agent_steps"), colour, arm.name, logarithmic=False)
        labelled = [one for one in curves(own, "labels") if one[-1, 0] > 0]
        if labelled:
            _draw(right, [one[one[:, 0] > 0] for one in labelled], colour, arm.name, logarithmic=True)
        else:
            final = mean_of([one.points[-1][SCORE] for one in own]).mean
            right.axhline(final, color=colour, linestyle="--", linewidth=1.5)
    left.set(xlabel="agent-steps", ylabel=f"driving score, {_where(study)}")
    right.set(xlabel="labels", xscale="log")
    left.set_ylim(bottom=0.0)
    left.xaxis.set_major_formatter(EngFormatter(sep=""))
    right.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (left, right):
        axes.grid(alpha=0.25)
    left.legend(frameon=False, fontsize=9)
    figure.suptitle(study.question, fontsize=11)
    return figure


def _draw(axes: Axes, runs: Sequence[np.ndarray], colour: str, label: str, logarithmic: bool) -> None:
    for run in runs:
        axes.plot(run[:, 0], run[:, 1], "o", color=colour, markersize=2.5, alpha=0.6)
    x, mean, error = mean_curve(runs, logarithmic=logarithmic)
    axes.plot(x, mean, color=colour, linewidth=2.2, label=label)
    if error is not None:
        axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)


def _where(study: Study) -> str:
    """The maps of the evaluations."""
    maps = study.arms[0].arm.values.get("data", {}).get("validation", {}).get("maps", ["Town10HD"])
    return " and ".join(map(str, maps))
