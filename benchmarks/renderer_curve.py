"""`python -m benchmarks.renderer_curve --sizes 32x18,96x54 --output FILE.json [--NAME VALUE ...]`: speed against size.

Measures the renderer's benchmark for every combination of image size, number of cameras, agents, map and backend, and
draws the curves beside the file (FILE.png). Other options are those of `gigapixel bench renderer`; `--step true`
measures stepped worlds as well (of a town).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from benchmarks.curve_command import curve_parser, write_curve
from gigapixel.bench.command import make_settings, settings_from_options
from gigapixel.bench.harness import Workload, run_benchmark
from gigapixel.bench.renderer import RendererSettings, renderer_workload
from gigapixel.pictures.render_command import parse_size
from gigapixel.run_folder.exit_codes import run_command

OPTIONS = ("size", "cameras", "agents", "map", "backend")
SPEEDS = ("views_per_s", "windows_per_s", "with_step_per_s", "share_of_copying")


def renderer_curve(
    settings: RendererSettings,
    choices: dict[str, Sequence[Any]],
    make_workload: Callable[[RendererSettings], Workload] = renderer_workload,
) -> dict[str, Any]:
    """The `bench_result` of the fastest combination, with `curve`: one entry per combination.

    `choices` gives the values of some of OPTIONS. An entry of `curve` holds its values and those of SPEEDS that were
    measured.
    """
    results, curve = [], []
    for values in itertools.product(*choices.values()):
        combination = dict(zip(choices, values, strict=True))
        workload = make_workload(replace(settings, **combination))
        result = run_benchmark("renderer", workload, settings.window_s)
        print(f"{combination}: {result['views_per_s']:,.0f} views/s", flush=True)
        results.append(result)
        curve.append(combination | {name: result[name] for name in SPEEDS if name in result})
    return max(results, key=lambda one: one["views_per_s"]) | {"curve": curve}


def plot_renderer_curve(result: dict[str, Any]) -> Figure:
    """Views per second against pixels per view, from a result of `renderer_curve`; one line per other combination."""
    curve = result["curve"]
    others = [name for name in OPTIONS if name != "size" and len({point.get(name) for point in curve}) > 1]
    lines: dict[str, list[dict[str, Any]]] = {}
    for point in curve:
        lines.setdefault(", ".join(f"{name} {point[name]}" for name in others) or "all", []).append(point)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        pixels = [width * height for width, height in (parse_size(point["size"]) for point in points)]
        (line,) = axes.plot(pixels, [point["views_per_s"] for point in points], marker="o", label=name)
        if "with_step_per_s" in points[0]:
            stepped = [point["with_step_per_s"] for point in points]
            axes.plot(pixels, stepped, marker=".", linestyle=":", color=line.get_color())
    sizes = {point["size"]: None for point in curve}
    ticks = [width * height for width, height in map(parse_size, sizes)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, list(sizes))
    low, high = axes.get_ylim()
    levels = [step * 10**power for power in range(7) for step in (1, 2, 5)]
    levels = [level for level in levels if low <= level <= high]
    axes.set_yticks(levels, [f"{level:,}" for level in levels])
    axes.minorticks_off()
    axes.set_xlabel("picture, pixels")
    axes.set_ylabel("pictures per second")
    dotted = ", dotted: with a simulator step before each" if "with_step_per_s" in curve[0] else ""
    axes.set_title(f"{result['device']}, {result['cores']} cores{dotted}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def read_choices(arguments: argparse.Namespace) -> dict[str, list[Any]]:
    """Values per option. Raises ValueError that names a bad image size or number."""
    choices: dict[str, list[Any]] = {"size": arguments.sizes.split(",")}
    for size in choices["size"]:
        parse_size(size)
    for name in OPTIONS[1:]:
        text = getattr(arguments, name)
        if text is None:
            continue
        parts: list[Any] = text.split(",")
        if name in ("cameras", "agents"):
            if not all(part.isdigit() and int(part) > 0 for part in parts):
                raise ValueError(f"--{name} {text}: expected whole numbers above 0, for example 1,4")
            parts = [int(part) for part in parts]
        choices[name] = parts
    return choices


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = curve_parser("renderer_curve", __doc__, "WIDTHxHEIGHT,...", "of a picture")
    for name in OPTIONS[1:]:
        parser.add_argument(f"--{name}", metavar="A,B,...", help=f"{name} to compare")
    arguments, rest = parser.parse_known_args(argv)
    settings = make_settings(RendererSettings, settings_from_options(rest), "options")
    write_curve(renderer_curve(settings, read_choices(arguments)), plot_renderer_curve, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "error"))
