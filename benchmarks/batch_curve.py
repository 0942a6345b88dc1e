"""`python -m benchmarks.batch_curve --sizes 4,16,64 --output FILE.json [--NAME VALUE ...]`: speed against batch size.

Measures the simulator's benchmark once per number of worlds and draws the curve beside the file (FILE.png). Other
options are those of `gigapixel bench simulator`.
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
from gigapixel.bench.simulator import SimulatorSettings, simulator_workload
from gigapixel.run_folder.exit_codes import run_command


def batch_curve(
    settings: SimulatorSettings,
    sizes: Sequence[int],
    make_workload: Callable[[SimulatorSettings], Workload] = simulator_workload,
) -> dict[str, Any]:
    """The `bench_result` of the fastest batch, with `curve`: [{worlds, agent_steps_per_s, windows_per_s}, ...].

    `make_workload` raises ValueError for a number of worlds that cannot be divided among the devices.
    """
    results = []
    for worlds in sizes:
        workload = make_workload(replace(settings, worlds=worlds))
        measurement = measure(workload, settings.window_s)
        print(f"{worlds} worlds: {measurement.per_s:,.0f} agent-steps/s", flush=True)
        results.append(bench_result("simulator", workload, measurement, {}, {}, settings.window_s))
    speeds = ("agent_steps_per_s", "windows_per_s")
    curve = [
        {"worlds": worlds} | {name: one[name] for name in speeds}
        for worlds, one in zip(sizes, results, strict=True)
    ]
    return max(results, key=lambda one: one["agent_steps_per_s"]) | {"curve": curve}


def plot_batch_curve(result: dict[str, Any]) -> Figure:
    """Speed against number of worlds, from a result of `batch_curve`; bars show the spread of the windows."""
    curve = result["curve"]
    worlds = [point["worlds"] for point in curve]
    speed = [point["agent_steps_per_s"] for point in curve]
    slowest, fastest = ([pick(point["windows_per_s"]) for point in curve] for pick in (min, max))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(worlds, speed, marker="o", color="#1f5fa8")
    axes.vlines(worlds, slowest, fastest, color="#1f5fa8", linewidth=3, alpha=0.4)
    for x, y in zip(worlds, speed, strict=True):
        axes.annotate(f"{y:,.0f}", (x, y), textcoords="offset points", xytext=(0, 8), ha="center", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(worlds, [str(size) for size in worlds])
    axes.set_ylim(0, 1.15 * max(fastest))
    axes.set_xlabel(f"worlds of {result['settings']['agents']} agents in the batch")
    axes.set_ylabel("agent-steps per second")
    axes.set_title(f"{result['device']}, {result['settings']['observation']} observation")
    axes.grid(alpha=0.3)
    return figure


def read_sizes(text: str) -> list[int]:
    """Numbers of worlds from a comma-separated list. Raises ValueError that names the first bad entry."""
    sizes = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) == 0:
            raise ValueError(
                f"--sizes: {part!r} is not a number of worlds; expected whole numbers, for example 4,16,64"
            )
        sizes.append(int(part))
    return sizes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = curve_parser("batch_curve", __doc__, "N,N,...", "numbers of worlds")
    arguments, rest = parser.parse_known_args(argv)
    settings = make_settings(SimulatorSettings, settings_from_options(rest), "options")
    write_curve(batch_curve(settings, read_sizes(arguments.sizes)), plot_batch_curve, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "error"))
