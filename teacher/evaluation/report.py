"""The metrics of an evaluation as one JSON object and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from teacher.evaluation.clips.clip_selection import Clip

SUBSETS = ("by_town", "by_pack")
SHOWN = ("driving_score", "goal_rate", "failure_rate", "progress_ratio", "km", "km_per_incident")
"""Metrics printed for each map or pack."""


def to_json(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics in the first traffic, flat; with several kinds of traffic also those in all, by name."""
    first = dict(next(iter(results.values())))
    return first | {"by_traffic": dict(results)} if len(results) > 1 else first


def text_lines(values: Mapping[str, Any], heading: bool) -> Iterator[str]:
    """One line for each metric, then one for each map or pack."""
    if heading:
        yield f"traffic: {values['traffic']}"
    for name, value in values.items():
        if name not in SUBSETS:
            yield f"{name:>23}  {plain(value)}"
    for part in SUBSETS:
        for name, row in values.get(part, {}).items():
            yield f"{name:>23}  " + "  ".join(
                f"{key} {plain(row[key])}" for key in SHOWN if row.get(key) is not None
            )


def plain(value: object) -> str:
    """A metric as text, floats with four decimals."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def video_title(clip: Clip, name: str, traffic: str, driver: str) -> str:
    """The two title lines of a video: the event, and the episode it is from."""
    time_s = clip.event_step * clip.episodes.config.timestep_s
    first = f"{name}: {clip.outcome} after {time_s:g} s"
    second = (
        f"{clip.map_name}, world {clip.world}, agent {clip.agent}   driver {driver}, traffic {traffic}   "
        f"score {clip.driving_score:.2f}"
    )
    return f"{first}\n{second}"
