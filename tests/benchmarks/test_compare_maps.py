"""What was changed in a map is found, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare_maps import compare_maps, main, views_picture
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.opendrive import import_town

CASES = Path(__file__).parents[1] / "simulator" / "roads" / "opendrive_cases"


@pytest.fixture(scope="module")
def road() -> RoadMap:
    return import_town(CASES / "shifted.xodr")


def test_a_map_does_not_differ_from_itself(road: RoadMap) -> None:
    rows = compare_maps(road, road)
    assert rows["centrelines moved"] == rows["borders moved"] == rows["limits changed"] == "0"
    assert rows["lanes"] == "8 -> 8, of the same name 8"
    assert rows["links"] == "8 -> 8, the same 8"
    assert rows["crosswalks"] == "1 -> 1, moved 0"


def test_what_was_moved_is_found(road: RoadMap) -> None:
    crosswalk = road.crosswalk_points + np.array([3.0, 4.0, 0.0])
    other = replace(
        road, crosswalk_points=crosswalk.astype("float32"), lane_speed_limit_mps=road.lane_speed_limit_mps + 1
    )
    rows = compare_maps(road, other)
    assert rows["crosswalks"] == "1 -> 1, moved 1, by up to 5.00 m"
    assert rows["limits changed"] == "8"
    assert rows["centrelines moved"] == "0"


def test_before_and_now_are_drawn_side_by_side(road: RoadMap) -> None:
    bare = replace(road, marking_start=road.marking_start[:0], marking_count=road.marking_count[:0],
                   marking_points=road.marking_points[:0], marking_type=road.marking_type[:0])  # fmt: skip
    picture = views_picture([(bare, road)], [(40.0, 0.0, 60.0)])
    half = picture.width // 2 - 4
    before, now = (
        picture.crop((left, 26, left + half, picture.height)) for left in (0, picture.width - half)
    )
    assert before.tobytes() != now.tobytes()


def test_packs_come_in_pairs(tmp_path: Path, road: RoadMap) -> None:
    road.save(tmp_path / "one.h5")
    with pytest.raises(ValueError, match="1 packs; expected pairs"):
        main([str(tmp_path / "one.h5")])
