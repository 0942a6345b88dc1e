"""The demo's report: one HTML file that carries its pictures inside and explains itself."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigapixel.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = (
    ("teacher", "Teacher, sees the state of the world"),
    ("student_before", "Student before training"),
    ("student_after", "Student after DAgger, sees four pictures"),
    ("adaptation.unadapted", "Student seeing the stand-in, unadapted"),
    ("adaptation.adapted", "Student seeing the stand-in, adapted"),
)
COLUMNS = (
    ("driving_score", "driving score"),
    ("goal_rate", "goals reached"),
    ("collision_rate", "collisions"),
    ("at_fault_collision_rate", "of these at fault"),
    ("offroad_rate", "left the road"),
    ("red_light_rate", "red lights run"),
    ("stop_sign_rate", "stop signs run"),
    ("km_per_incident", "km per incident"),
)
FIGURES = (
    ("cameras.png", "What one agent sees", "Four cameras of one agent (nuPlan's rig) and the same instant from above. "
     "Boxes have a colour for every face, so that a heading can be read; the agent itself is not drawn."),
    ("learning.png", "DAgger", "Every round drives some seconds in all worlds, asks the teacher what it would do in "
     "each state the agents got into, and trains on the answers. The teacher's share of the driving falls to zero."),
    ("film.png", "The same episode, driven by both", "The car with the most traffic around it, through its front "
     "camera and from above (white; the fan is what that camera covers). Every agent in the town is the student, then "
     "the teacher. The student sees only its own four pictures; the teacher sees the state of the world, and its "
     "pictures show what a student would see in its place."),
    ("stand_in.png", "The stand-in for real cameras", "The renderer under a fixed photometric and textural shift. It "
     "is not real data: it takes the place of real frames on machines that have none."),
    ("real.png", "Real frames and their renderings", "Each real picture beside the rendering of the same moment "
     "through its own calibration, and one laid over the other."),
)  # fmt: skip
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1b2430; background: #f6f7f9; margin: 0 auto; max-width: 1180px;
  padding: 24px; }
h1 { margin-bottom: 0; } h2 { margin-top: 44px; } p { max-width: 780px; }
table { border-collapse: collapse; background: #fff; } th, td { padding: 8px 14px; text-align: right;
  border-bottom: 1px solid #e3e7ec; } th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; border-radius: 8px; } .faint { color: #6b7684; }
"""


def write_report(output: Path, summary: Mapping[str, Any]) -> Path:
    """Writes ``output``/report.html from the summary and the pictures that lie in ``output``."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Gigapixel demo</title>",
        f"<style>{STYLE}</style></head><body>",
        "<h1>Gigapixel demo</h1>",
        f"<p class='faint'>{_facts(summary)}</p>",
        f"<p>{_verdict(summary)}</p>",
        _table(summary),
        "<p class='faint'>Rates are shares of agents to which the event happened in an episode. The driving score is "
        "the mean over agents of route progress, times 0.5 per collision, 0.65 per departure from the road and 0.7 per "
        "red light run; stop signs are counted beside it. A collision is an agent's fault when it hits with its front, "
        "hits somebody who stands, or meets another flank while out of its lane. Everybody drives the same "
        "episodes.</p>",
    ]
    for name, title, text in FIGURES:
        picture = output / name
        if picture.is_file():
            parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{_image(picture, title)}")
    parts.append("</body></html>")
    target = output / "report.html"
    with whole_file(target) as partial:
        partial.write_text("\n".join(parts))
    return target


def _facts(summary: Mapping[str, Any]) -> str:
    config = summary["config"]
    return html.escape(
        f"Test town {config['test_map']}, trained in {', '.join(config['train_maps'])}; seed {summary['seed']}; commit "
        f"{summary['commit']}; {summary['wall_s']:.0f} s in all."
    )


def _verdict(summary: Mapping[str, Any]) -> str:
    teacher, before, after = (
        summary[name]["driving_score"] for name in ("teacher", "student_before", "student_after")
    )
    minutes = summary["wall_s_by_part"]["dagger"] / 60
    return (
        f"On a town that neither was trained on, the teacher scores {teacher:.2f}. The student, which sees only "
        f"pictures, scores {before:.2f} untrained and <b>{after:.2f}</b> after {minutes:.1f} "
        "minutes of self-play DAgger."
    )


def _table(summary: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{title}</th>" for _, title in COLUMNS)
    lines = [f"<table><tr><th></th>{head}</tr>"]
    for path, title in ROWS:
        metrics: Any = summary
        for key in path.split("."):
            metrics = metrics[key]
        cells = "".join(f"<td>{_number(name, metrics[name])}</td>" for name, _ in COLUMNS)
        lines.append(f"<tr><td>{html.escape(title)}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "no incident" if name == "km_per_incident" else "unknown"
    return f"{value:.2f}"


def _image(path: Path, title: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(title)}' src='data:image/png;base64,{content}'>"


def learning_curves(metrics: Path, output: Path) -> None:
    """Plots imitation error, the teacher's share and the collected experience over the rounds of a run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), constrained_layout=True)
    curves = (
        ("student/train/ade_m", "mean distance to the teacher's plan, m"),
        ("student/data/beta", "teacher's share of the driving"),
        ("student/data/agent_steps", "agent-steps driven"),
    )
    for axis, (name, title) in zip(axes, curves, strict=True):
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axis.plot(*zip(*points, strict=True) if points else ([], []), color="#2563eb", linewidth=1.6)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("optimiser steps")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, output)


def save_figure(figure: Figure, output: Path) -> None:
    """A figure of matplotlib as a PNG, whole or not at all; the figure is closed."""
    from matplotlib import pyplot as plt

    from teacher.run.run_folder import write_figure

    write_figure(output, figure, dpi=110)
    plt.close(figure)
