"""Every combination is measured once, and the plot shows what was measured."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

import pytest

from benchmarks.renderer_curve import plot_renderer_curve, read_choices, renderer_curve
from gigapixel.bench.harness import Workload
from gigapixel.bench.renderer import RendererSettings


def best_when_small(settings: RendererSettings) -> Workload:
    """A workload that claims a hundred times as many views for the smallest picture of one camera."""

    def call() -> int:
        time.sleep(0.001)
        return 400 if (settings.size, settings.cameras) == ("32x18", 1) else 4

    return Workload("sleeping", "views", "a bed", asdict(settings), call, variants={"with_step": lambda: 1})


def test_every_combination_is_measured():
    choices = {"size": ["32x18", "96x54"], "cameras": [1, 4]}
    result = renderer_curve(RendererSettings(window_s=0.02), choices, best_when_small)
    measured = [(point["size"], point["cameras"]) for point in result["curve"]]
    assert measured == [("32x18", 1), ("32x18", 4), ("96x54", 1), ("96x54", 4)]
    assert result["views_per_s"] == result["curve"][0]["views_per_s"]
    assert result["settings"]["size"] == "32x18"


def test_the_plot_has_a_line_per_combination_and_a_dotted_one_with_steps():
    curve = [
        {"size": size, "cameras": cameras, "views_per_s": speed, "with_step_per_s": speed / 2}
        for size, cameras, speed in (("32x18", 1, 90), ("64x36", 1, 50), ("32x18", 4, 80), ("64x36", 4, 40))
    ]
    (axes,) = plot_renderer_curve({"curve": curve, "device": "a bed", "cores": 2}).axes
    drawn = {(line.get_label(), line.get_linestyle()): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["cameras 1", "-"] == [[32 * 18, 90], [64 * 36, 50]]
    assert drawn["cameras 4", "-"] == [[32 * 18, 80], [64 * 36, 40]]
    dotted = [points for (_, style), points in drawn.items() if style == ":"]
    assert dotted == [[[32 * 18, 45], [64 * 36, 25]], [[32 * 18, 40], [64 * 36, 20]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cameras 1", "cameras 4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32x18", "64x36"]
    assert axes.get_title() == "a bed, 2 cores, dotted: with a simulator step before each"


@pytest.mark.parametrize(
    "given, sentence",
    [({"sizes": "96"}, "96"), ({"cameras": "one"}, "--cameras one: expected whole numbers above 0")],
)
def test_impossible_choices_are_refused(given, sentence):
    nothing = {"sizes": "32x18", "cameras": None, "agents": None, "map": None, "backend": None}
    with pytest.raises(ValueError, match=sentence):
        read_choices(argparse.Namespace(**(nothing | given)))
