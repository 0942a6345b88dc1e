"""Every combination is measured once, and the picture shows what was measured."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

import pytest
from PIL import Image

from benchmarks.renderer_curve import draw_curves, read_choices, renderer_curve
from gigapixel.bench.command import Workload
from gigapixel.bench.renderer import RendererSettings


def best_when_small(settings: RendererSettings) -> Workload:
    """A workload that claims a hundred times as many views for the smallest picture of one camera."""

    def call() -> int:
        time.sleep(0.001)
        return 400 if (settings.size, settings.cameras) == ("32x18", 1) else 4

    return Workload("sleeping", "views", "a bed", asdict(settings), call, rows={"with_step": lambda: 1})


def test_every_combination_is_measured(tmp_path):
    choices = {"size": ["32x18", "96x54"], "cameras": [1, 4]}
    result = renderer_curve(RendererSettings(window_s=0.02), choices, best_when_small)
    measured = [(point["size"], point["cameras"]) for point in result["curve"]]
    assert measured == [("32x18", 1), ("32x18", 4), ("96x54", 1), ("96x54", 4)]
    assert result["views_per_s"] == result["curve"][0]["views_per_s"]
    assert result["settings"]["size"] == "32x18"
    draw_curves(result, tmp_path / "curve.png")
    result["curve"][0]["views_per_s"] /= 7
    draw_curves(result, tmp_path / "other.png")
    pictures = [Image.open(tmp_path / name).tobytes() for name in ("curve.png", "other.png")]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize(
    "given, sentence",
    [({"sizes": "96"}, "96"), ({"cameras": "one"}, "--cameras one: expected whole numbers above 0")],
)
def test_impossible_choices_are_refused(given, sentence):
    nothing = {"sizes": "32x18", "cameras": None, "agents": None, "map": None, "backend": None}
    with pytest.raises(ValueError, match=sentence):
        read_choices(argparse.Namespace(**(nothing | given)))
