"""`python -m benchmarks.batch_curve --sizes 4,16,64 --output FILE.json [--NAME VALUE ...]`: speed against batch size.

Measures the simulator's benchmark once per number of worlds and draws the curve beside the file (FILE.png). Other
options are those of `gigapixel bench simulator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.script import curve_parser, run, write_curve
from gigapixel.bench.command import Workload, make_settings, measure, override, report
from gigapixel.bench.simulator import SimulatorSettings, simulator_workload
from gigapixel.report import save_figure


def batch_curve(
    settings: SimulatorSettings,
    sizes: Sequence[int],
    build: Callable[[SimulatorSettings], Workload] = simulator_workload,
) -> dict[str, Any]:
    """The bench report of the fastest batch, with `curve`: [{worlds, agent_steps_per_s, windows_per_s}, ...].

    `build` may raise ValueError where worlds of a size cannot be dealt over the devices.
    """
    reports = []
    for worlds in sizes:
        workload = build(replace(settings, worlds=worlds))
        measurement = measure(workload, settings.window_s)
        print(f"{worlds} worlds: {measurement.per_s:,.0f} agent-steps/s", flush=True)
        reports.append(
            report("simulator", workload, measurement, rows={}, facts={}, window_s=settings.window_s)
        )
    speeds = ("agent_steps_per_s", "windows_per_s")
    curve = [
        {"worlds": worlds} | {name: one[name] for name in speeds}
        for worlds, one in zip(sizes, reports, strict=True)
    ]
    return max(reports, key=lambda one: one["agent_steps_per_s"]) | {"curve": curve}


def draw_curve(result: dict[str, Any], output: Path) -> None:
    """The curve of a report of `batch_curve` as a PNG, with the spread of the windows as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    curve = result["curve"]
    worlds = [point["worlds"] for point in curve]
    speed = [point["agent_steps_per_s"] for point in curve]
    slowest, fastest = ([pick(point["windows_per_s"]) for point in curve] for pick in (min, max))
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
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
    save_figure(figure, output)


def read_sizes(text: str) -> list[int]:
    """Sizes from text; ValueError names the one that is none."""
    sizes = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) == 0:
            raise ValueError(
                f"--sizes: {part!r} is no number of worlds; expected whole numbers, for example 4,16,64"
            )
        sizes.append(int(part))
    return sizes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = curve_parser("batch_curve", __doc__, "N,N,...", "numbers of worlds")
    arguments, rest = parser.parse_known_args(argv)
    settings = make_settings(SimulatorSettings, override(rest), "options")
    write_curve(batch_curve(settings, read_sizes(arguments.sizes)), draw_curve, arguments.output)
    return 0


if __name__ == "__main__":
    run(main)
