"""`python -m benchmarks.batch_curve --sizes 4,16,64 --output FILE.json [--NAME VALUE ...]`: speed against batch size.

Measures a benchmark once per number of worlds and draws the curve beside the file (FILE.png): the simulator's, or
with `--room student` the student's, of which `--row whole` (or collect, label, learn) is a part. `--setting batch_size`
varies another setting than the number of worlds. Other options are those of `gigapixel bench ROOM`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from benchmarks.curve_command import curve_parser, write_curve
from gigapixel.bench.command import make_settings, settings_from_options
from gigapixel.bench.harness import Workload, bench_result, measure
from gigapixel.bench.registry import WORKLOADS
from gigapixel.bench.simulator import SimulatorSettings
from gigapixel.bench.student import StudentSettings
from gigapixel.run_folder.exit_codes import run_command

ROOMS = ("simulator", "student")

Settings = SimulatorSettings | StudentSettings


def batch_curve(
    settings: Settings,
    sizes: Sequence[int],
    make_workload: Callable[[Any], Workload],
    setting: str = "worlds",
    row: str = "",
) -> dict[str, Any]:
    """The `bench_result` of the fastest size, with `curve`: [{<setting>, <unit>_per_s, windows_per_s}, ...], `curve_of`
    (the setting) and `counts` (the unit).

    `row` names a variant of the workload; empty: its main call. `make_workload` raises ValueError for a size that
    cannot be measured.
    """
    results = []
    for size in sizes:
        varied: dict[str, Any] = {setting: size}
        workload = _row(make_workload(replace(settings, **varied)), row)
        measurement = measure(workload, settings.window_s)
        print(f"{setting} {size}: {measurement.per_s:,.0f} {workload.unit.replace('_', '-')}/s", flush=True)
        room = "student" if isinstance(settings, StudentSettings) else "simulator"
        results.append(bench_result(room, workload, measurement, {}, {}, settings.window_s))
    speed = f"{workload.unit}_per_s"
    curve = [
        {setting: size} | {name: one[name] for name in (speed, "windows_per_s")}
        for size, one in zip(sizes, results, strict=True)
    ]
    names = {"curve": curve, "curve_of": setting, "counts": workload.unit, "row": row}
    return max(results, key=lambda one: one[speed]) | names


def _row(workload: Workload, row: str) -> Workload:
    """The workload with one of its variants as the main call."""
    if not row:
        return workload
    if row not in workload.variants:
        raise ValueError(f"--row {row}: expected one of {', '.join(workload.variants)}")
    unit = workload.variant_units.get(row, workload.unit)
    return replace(
        workload, call=workload.variants[row], unit=unit, description=f"{row} of {workload.description}"
    )


def plot_batch_curve(result: dict[str, Any]) -> Figure:
    """Speed against size, from a result of `batch_curve`; bars show the spread of the windows."""
    curve, setting, unit = result["curve"], result["curve_of"], result["counts"]
    sizes = [point[setting] for point in curve]
    speed = [point[f"{unit}_per_s"] for point in curve]
    slowest, fastest = ([pick(point["windows_per_s"]) for point in curve] for pick in (min, max))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(sizes, speed, marker="o", color="#1f5fa8")
    axes.vlines(sizes, slowest, fastest, color="#1f5fa8", linewidth=3, alpha=0.4)
    for x, y in zip(sizes, speed, strict=True):
        axes.annotate(f"{y:,.0f}", (x, y), textcoords="offset points", xytext=(0, 8), ha="center", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(0, 1.15 * max(fastest))
    settings = result["settings"]
    agents = f" of {settings['agents']} agents" if setting == "worlds" and settings["agents"] else ""
    axes.set_xlabel(f"{setting.replace('_', ' ')}{agents}")
    axes.set_ylabel(f"{unit.replace('_', '-')} per second")
    what = (
        f"{settings['observation']} observation" if "observation" in settings else result["row"] or "driving"
    )
    axes.set_title(f"{result['device']}, {what}")
    axes.grid(alpha=0.3)
    return figure


def read_sizes(text: str) -> list[int]:
    """Sizes from a comma-separated list. Raises ValueError that names the first bad entry."""
    sizes = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) == 0:
            raise ValueError(
                f"--sizes: {part!r} is not a size; expected whole numbers from 1, for example 4,16,64"
            )
        sizes.append(int(part))
    return sizes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = curve_parser("batch_curve", __doc__, "N,N,...", "numbers of worlds, or of `--setting`")
    parser.add_argument("--room", choices=ROOMS, default=ROOMS[0], help="whose benchmark is measured")
    parser.add_argument(
        "--row", default="", help="a part of the benchmark, such as learn; default: the main one"
    )
    parser.add_argument("--setting", default="worlds", help="what the sizes are, such as batch_size")
    arguments, rest = parser.parse_known_args(argv)
    settings_class, make_workload = WORKLOADS[arguments.room]
    sizes = read_sizes(arguments.sizes)
    values = settings_from_options(rest) | {arguments.setting: sizes[0]}
    settings = make_settings(settings_class, values, "options")
    result = batch_curve(settings, sizes, make_workload, arguments.setting, arguments.row)
    write_curve(result, plot_batch_curve, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "error"))
