"""What `gigapixel scenes check` says about maps, counted by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.roads.map_contents import map_contents
from simulator.roads.road_map import MarkingType
from tests.bare_maps import bare_map
from tests.recorded import recorded_scene


def test_a_bare_road_holds_lanes_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare_map("a short lane between").save(tmp_path / "road.h5")
    assert main(["check", str(tmp_path / "road.h5")]) == 0
    said = capsys.readouterr().out
    assert "3 lanes, 0.1 km, 0 junctions of which 0 with lights" in said
    assert (
        "0 lanes inside junctions, 1 that lead nowhere, 1 that come from nowhere, 1 shorter than 5 m" in said
    )
    assert "0 with lights, 0 with stop signs, 0 with yield signs" in said
    assert "phase groups  none" in said
    assert "paint  none" in said
    assert "0 edge, 0 crosswalk, 1 drivable, 0 walkway" in said
    assert (tmp_path / "road.png").read_bytes().startswith(b"\x89PNG")


def test_paint_lights_and_crosswalks_are_counted() -> None:
    lit = recorded_scene("lit").road_map
    line = np.array([[0, 0, 0], [5, 0, 0]], np.float32)
    painted = dataclasses.replace(
        lit,
        marking_points=np.tile(line, (3, 1)),
        marking_start=np.array([0, 2, 4], np.int32),
        marking_count=np.full(3, 2, np.int32),
        marking_type=np.array(
            [MarkingType.SOLID_WHITE, MarkingType.DASHED_YELLOW, MarkingType.SOLID_WHITE], np.int32
        ),
    ).validate()
    found = map_contents(painted)
    assert found["paint"] == "2 solid white, 1 dashed yellow"
    assert found["stop lines"] == "1 with lights, 0 with stop signs, 0 with yield signs"
    assert "1 crosswalk" in found["pieces"]
