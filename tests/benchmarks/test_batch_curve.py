"""The curve holds one point per size, in the order asked for, and is drawn."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
from PIL import Image

from benchmarks.batch_curve import batch_curve, draw_curve, read_sizes
from gigapixel.bench.command import Workload
from gigapixel.bench.simulator import SimulatorSettings


def best_at_four(settings: SimulatorSettings) -> Workload:
    """A workload that claims a hundred times as many steps for four worlds as for any other number."""

    def call() -> int:
        time.sleep(0.001)
        return 400 if settings.worlds == 4 else 4

    return Workload("sleeping", "agent_steps", "a bed", asdict(settings), call)


def test_one_point_per_size_and_a_picture(tmp_path):
    result = batch_curve(SimulatorSettings(window_s=0.02), [2, 4, 8], best_at_four)
    assert [point["worlds"] for point in result["curve"]] == [2, 4, 8]
    speeds = [point["agent_steps_per_s"] for point in result["curve"]]
    assert result["agent_steps_per_s"] == max(speeds) == speeds[1]
    assert result["settings"]["worlds"] == 4
    draw_curve(result, tmp_path / "curve.png")
    result["curve"][0]["agent_steps_per_s"] *= 3
    draw_curve(result, tmp_path / "other.png")
    pictures = [Image.open(tmp_path / name).tobytes() for name in ("curve.png", "other.png")]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("text", ["4,many", "0", "-2", "4,,8"])
def test_impossible_sizes_are_refused(text):
    with pytest.raises(ValueError, match=r"--sizes: .* is no number of worlds"):
        read_sizes(text)
