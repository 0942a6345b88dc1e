"""An evaluation's figures as one JSON object and as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from teacher.evaluation.clips.clip_selection import Clip

PARTS = ("by_town", "by_pack")
SHOWN = ("driving_score", "goal_rate", "failure_rate", "progress_ratio", "km", "km_per_incident")
"""Figures of a town or pack that are worth a line."""


def combined(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures in the first traffic, flat, and those in all by the traffic's name where there are several."""
    first = dict(next(iter(results.values())))
    return first | {"by_traffic": dict(results)} if len(results) > 1 else first


def lines(values: Mapping[str, Any], heading: bool) -> Iterator[str]:
    """Every figure on a line of its own, then a line for each town or pack."""
    if heading:
        yield f"traffic: {values['traffic']}"
    for name, value in values.items():
        if name not in PARTS:
            yield f"{name:>23}  {plain(value)}"
    for part in PARTS:
        for name, row in values.get(part, {}).items():
            yield f"{name:>23}  " + "  ".join(
                f"{key} {plain(row[key])}" for key in SHOWN if row.get(key) is not None
            )


def plain(value: object) -> str:
    """A figure as people read it."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def title_of(clip: Clip, name: str, traffic: str, driver: str) -> str:
    """Two lines over a film: what it shows, and where it was."""
    time_s = clip.event_step * clip.episodes.config.timestep_s
    first = f"{name}: {clip.outcome} after {time_s:g} s"
    second = (
        f"{clip.place}, world {clip.world}, agent {clip.agent}   driver {driver}, traffic {traffic}   "
        f"score {clip.driving_score:.2f}"
    )
    return f"{first}\n{second}"
