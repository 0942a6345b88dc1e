"""The curve has one point per size, in the given order, and the plot shows these points."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest

from benchmarks.batch_curve import batch_curve, plot_batch_curve, read_sizes
from gigapixel.bench.harness import Workload
from gigapixel.bench.simulator import SimulatorSettings
from gigapixel.bench.student import StudentSettings


def best_at_four(settings: SimulatorSettings) -> Workload:
    """A workload that claims a hundred times as many steps for four worlds as for any other number."""

    def call() -> int:
        time.sleep(0.001)
        return 400 if settings.worlds == 4 else 4

    return Workload("sleeping", "agent_steps", "a bed", asdict(settings), call)


def test_one_point_per_size():
    result = batch_curve(SimulatorSettings(window_s=0.02), [2, 4, 8], best_at_four)
    assert [point["worlds"] for point in result["curve"]] == [2, 4, 8]
    speeds = [point["agent_steps_per_s"] for point in result["curve"]]
    assert result["agent_steps_per_s"] == max(speeds) == speeds[1]
    assert result["settings"]["worlds"] == 4


def test_a_row_of_the_student_by_batch_size():
    """The curve is of the row that was asked for, in its own unit; unknown rows are refused."""

    def learns(settings: StudentSettings) -> Workload:
        def learn() -> int:
            time.sleep(0.001)
            return settings.batch_size

        rows, units = {"learn": learn}, {"learn": "samples"}
        settings_of = asdict(settings)
        return Workload(
            "", "agent_steps", "a bed", settings_of, lambda: 1, variants=rows, variant_units=units
        )

    settings = StudentSettings(window_s=0.02)
    result = batch_curve(settings, [8, 80], learns, "batch_size", "learn")
    assert [point["batch_size"] for point in result["curve"]] == [8, 80]
    assert result["samples_per_s"] == result["curve"][1]["samples_per_s"]
    (axes,) = plot_batch_curve(result).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("batch size", "samples per second")
    with pytest.raises(ValueError, match="--row lern: expected one of learn"):
        batch_curve(settings, [8], learns, "batch_size", "lern")


def test_the_plot_shows_every_speed_and_the_spread_of_its_windows():
    curve = [
        {"worlds": 2, "agent_steps_per_s": 30.0, "windows_per_s": [30.0, 28.0, 33.0]},
        {"worlds": 8, "agent_steps_per_s": 70.0, "windows_per_s": [70.0, 61.0, 75.0]},
    ]
    settings = {"agents": 5, "observation": "lean"}
    result = {"curve": curve, "curve_of": "worlds", "counts": "agent_steps", "row": ""}
    (axes,) = plot_batch_curve(result | {"settings": settings, "device": "a bed"}).axes
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[2, 30], [8, 70]]
    spreads = [segment.tolist() for segment in axes.collections[0].get_segments()]
    assert spreads == [[[2, 28], [2, 33]], [[8, 61], [8, 75]]]
    assert [label.get_text() for label in axes.texts] == ["30", "70"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "8"]
    assert axes.get_ylim() == (0, pytest.approx(1.15 * 75))
    assert axes.get_title() == "a bed, lean observation"


@pytest.mark.parametrize("text", ["4,many", "0", "-2", "4,,8"])
def test_impossible_sizes_are_refused(text):
    with pytest.raises(ValueError, match=r"--sizes: .* is not a size"):
        read_sizes(text)
