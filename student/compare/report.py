"""The results of a comparison as comparison.json and comparison.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from student.compare.run import Outcome
from student.compare.statistics import CLEAR, METRICS, Comparison, Difference, Mean
from student.compare.study import Study

TITLES = {
    "driving_score": "driving score",
    "goal_rate": "goals",
    "collision_rate": "collided",
    "offroad_rate": "off-road",
    "red_light_rate": "red lights",
}
AXES = {"agent_steps": "agent-steps", "labels": "labels"}


def content(
    study: Study, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], about: dict[str, Any]
) -> dict[str, Any]:
    """comparison.json: every point of every run, the means, the differences, and `about` (commit, devices)."""
    runs: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in study.arms}
    for one in outcomes:
        runs[one.arm].append({"seed": one.seed, "points": one.points})
    return {
        "question": study.question,
        "agent_steps": study.agent_steps,
        **about,
        "runs": runs,
        "comparisons": [
            asdict(one)
            | {"differences": [asdict(each) | {"is_clear": each.is_clear} for each in one.differences]}
            for one in comparisons
        ],
    }


def markdown(study: Study, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> str:
    """comparison.md: a table and the differences at equal agent-steps, and at equal numbers of labels."""
    commits = sorted({point["commit"] for one in outcomes for point in one.points})
    parts = [
        f"# {study.question}",
        _runs(study, outcomes),
        f"Commits of the evaluations: {', '.join(commits)}.",
    ]
    for one in comparisons:
        parts += [f"## At {one.at:,.0f} {AXES[one.axis]}", _table(one), _statements(one.differences)]
    if not comparisons:
        parts.append("Fewer than two arms have finished runs; there is nothing to compare yet.")
    return "\n\n".join(parts) + "\n"


def _runs(study: Study, outcomes: Sequence[Outcome]) -> str:
    counts = {arm.name: sum(one.arm == arm.name for one in outcomes) for arm in study.arms}
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"Finished runs of {study.agent_steps:,} agent-steps: {shown}. Means over seeds ± standard error."


def _table(comparison: Comparison) -> str:
    names = [name for name in METRICS if all(name in row for row in comparison.means.values())]
    heads = ["", "agent-steps", "labels", "optimiser steps", *(TITLES[name] for name in names)]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for arm, row in comparison.means.items():
        counts = [f"{row[name].mean:,.0f}" for name in ("agent_steps", "labels", "optimiser_steps")]
        lines.append(_row([arm, *counts, *(_shown(row[name]) for name in names)]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: Mean) -> str:
    spread = "" if value.standard_error is None else f" ± {value.standard_error:.3f}"
    return f"{value.mean:.3f}{spread}"


def _statements(differences: Sequence[Difference]) -> str:
    """One line per pair of arms."""
    return "\n".join(f"- {_statement(one)}" for one in differences)


def _statement(one: Difference) -> str:
    said = f"{one.first} against {one.second}: {one.difference:+.3f}"
    if one.standard_error is None:
        return f"{said}; one of them has a single seed, so that no standard error is known."
    verdict = "exceeds" if one.is_clear else "does not exceed"
    return f"{said} ± {one.standard_error:.3f}, which {verdict} {CLEAR:g} standard errors."
