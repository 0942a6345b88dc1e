"""Metrics against the value of a trait, one small plot each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gigapixel.run_folder.figure import write_figure
from teacher.sweep.figures import BEHAVIOURS, Row
from teacher.sweep.trend import FOLLOWS_ERRORS, FOLLOWS_RANK, MEANT, Trend

_COLUMNS = 5
_LEAST_SPAN = 0.1
"""An axis spans at least this share of its metric, so that small changes look small."""
_LEAST_HALF = 1e-3
_FOLLOWS, _STAYS, _FRAME = "#1d6fb8", "#8a93a0", "#d1495b"


def save_plot(
    path: Path, coefficient: str, values: Sequence[float], rows: Sequence[Row], trend: dict[str, Trend]
) -> None:
    """Writes one panel per metric; blue where it follows the trait, framed where it is meant to."""
    meant = MEANT.get(coefficient, ("", 0))[0]
    names = sorted(BEHAVIOURS, key=lambda name: (name != meant, list(BEHAVIOURS).index(name)))
    lines = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(3.1 * _COLUMNS, 2.35 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, name, values, [row[name] for row in rows], trend[name], framed=name == meant)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel in panels[max(len(names) - _COLUMNS, 0) : len(names)]:
        panel.set_xlabel(coefficient)
    figure.suptitle(
        f"Blue: follows {coefficient} (|rank correlation| of {FOLLOWS_RANK:g} or more, and a change of more than "
        f"{FOLLOWS_ERRORS:g} standard errors). Red frame: is meant to.",
        fontsize=11,
    )
    write_figure(path, figure)


def _draw(
    panel: Axes,
    name: str,
    values: Sequence[float],
    figures: Sequence[float | None],
    trend: Trend,
    framed: bool,
) -> None:
    shown = np.array([np.nan if figure is None else figure for figure in figures])
    colour = _FOLLOWS if trend.follows else _STAYS
    panel.plot(values, shown, color=colour, marker="o", markersize=4, linewidth=1.5)
    rank = "-" if trend.rank_correlation is None else f"{trend.rank_correlation:+.2f}"
    panel.set_title("\n".join(textwrap.wrap(f"{BEHAVIOURS[name]}  [{rank}]", 40)), fontsize=8.5, color=colour)
    panel.set_xticks(values)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    known = shown[np.isfinite(shown)]
    if known.size:
        middle, half = (known.max() + known.min()) / 2, (known.max() - known.min()) / 2
        half = 1.15 * max(half, 0.5 * _LEAST_SPAN * abs(middle), _LEAST_HALF)
        panel.set_ylim(middle - half, middle + half)
    if framed:
        for side in panel.spines.values():
            side.set(color=_FRAME, linewidth=2.0)
