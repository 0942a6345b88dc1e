"""The report of the demo: one HTML file with embedded images and explanations."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigapixel.run_folder.atomic import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_ROWS = (
    ("teacher", "Teacher, sees the state of the world"),
    ("student_before", "Student before training"),
    ("student_after", "Student after DAgger, sees four images"),
    ("adaptation.unadapted", "Student seeing the stand-in, unadapted"),
    ("adaptation.adapted", "Student seeing the stand-in, adapted"),
)
TABLE_COLUMNS = (
    ("driving_score", "driving score"),
    ("goal_rate", "goals reached"),
    ("collision_rate", "collisions"),
    ("at_fault_collision_rate", "of these at fault"),
    ("offroad_rate", "left the road"),
    ("red_light_rate", "red lights run"),
    ("stop_sign_rate", "stop signs run"),
    ("km_per_incident", "km per incident"),
)
PICTURES = (
    ("cameras.png", "What one agent sees", "Four cameras of one agent (nuPlan's rig) and the same instant from above. "
     "Boxes have a colour for every face, so that a heading can be read; the agent itself is not drawn."),
    ("learning.png", "DAgger", "Every round drives some seconds in all worlds, labels each visited state with the "
     "plan of the teacher, and trains on the labels. The share of agents that the teacher drives falls to zero."),
    ("film.png", "The same episode, driven by both", "The car with the most traffic around it, through its front "
     "camera and from above (white; the shaded area is the field of view of that camera). All agents in the town are "
     "driven by the student, then by the teacher. The student sees only its own four images; the teacher sees the "
     "state of the world, and its images show what a student would see in its place."),
    ("stand_in.png", "The stand-in for real cameras", "The renderer under a fixed photometric and textural shift. It "
     "replaces real frames on machines that have none, and is not real data."),
    ("real.png", "Real frames and their renderings", "Each real image beside the rendering of the same instant "
     "with the calibration of its camera, and the two blended."),
)  # fmt: skip
PAGE_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1b2430; background: #f6f7f9; margin: 0 auto; max-width: 1180px;
  padding: 24px; }
h1 { margin-bottom: 0; } h2 { margin-top: 44px; } p { max-width: 780px; }
table { border-collapse: collapse; background: #fff; } th, td { padding: 8px 14px; text-align: right;
  border-bottom: 1px solid #e3e7ec; } th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; border-radius: 8px; } .faint { color: #6b7684; }
"""


def write_report(output: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``output``/report.html from the content of summary.json and the images there; returns its path."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Gigapixel demo</title>",
        f"<style>{PAGE_STYLE}</style></head><body>",
        "<h1>Gigapixel demo</h1>",
        f"<p class='faint'>{_run_description(summary)}</p>",
        f"<p>{_result_sentence(summary)}</p>",
        _table(summary),
        "<p class='faint'>Rates are shares of agents with such an event in an episode. The driving score is "
        "the mean over agents of route progress, times 0.5 per collision, 0.65 per off-road event and 0.7 per red "
        "light run; stop signs do not affect it. An agent is at fault for a collision when it hits with its front, "
        "hits a stationary agent, or collides sideways while outside its lane. All drivers drive the "
        "same episodes.</p>",
    ]
    for name, title, text in PICTURES:
        picture = output / name
        if picture.is_file():
            parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{_image(picture, title)}")
    parts.append("</body></html>")
    target = output / "report.html"
    write_text(target, "\n".join(parts))
    return target


def _run_description(summary: Mapping[str, Any]) -> str:
    config = summary["config"]
    return html.escape(
        f"Test town {config['test_map']}, trained in {', '.join(config['train_maps'])}; seed {summary['seed']}; commit "
        f"{summary['commit']}; {summary['wall_s']:.0f} s in total."
    )


def _result_sentence(summary: Mapping[str, Any]) -> str:
    teacher, before, after = (
        summary[name]["driving_score"] for name in ("teacher", "student_before", "student_after")
    )
    minutes = summary["wall_s_by_part"]["dagger"] / 60
    return (
        f"In a town that neither was trained in, the teacher scores {teacher:.2f}. The student, which sees only "
        f"images, scores {before:.2f} untrained and <b>{after:.2f}</b> after {minutes:.1f} "
        "minutes of self-play DAgger."
    )


def _table(summary: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{title}</th>" for _, title in TABLE_COLUMNS)
    lines = [f"<table><tr><th></th>{head}</tr>"]
    for path, title in TABLE_ROWS:
        metrics: Any = summary
        for key in path.split("."):
            metrics = metrics[key]
        cells = "".join(f"<td>{_number(name, metrics[name])}</td>" for name, _ in TABLE_COLUMNS)
        lines.append(f"<tr><td>{html.escape(title)}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "no incident" if name == "km_per_incident" else "unknown"
    return f"{value:.2f}"


def _image(path: Path, title: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(title)}' src='data:image/png;base64,{content}'>"


def plot_learning_curves(metrics: Path) -> Figure:
    """Imitation error, share of the teacher's driving and agent-steps against optimiser steps, from a metrics.csv."""
    from matplotlib.figure import Figure

    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(12, 3.4), constrained_layout=True)
    curves = (
        ("student/train/ade_m", "mean distance to the teacher's plan, m"),
        ("student/data/beta", "teacher's share of the driving"),
        ("student/data/agent_steps", "agent-steps driven"),
    )
    for axis, (name, title) in zip(figure.subplots(1, 3), curves, strict=True):
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axis.plot(*zip(*points, strict=True) if points else ([], []), color="#2563eb", linewidth=1.6)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("optimiser steps")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
