"""Lane maps: drivable area, markings and edges of nuScenes logs, cropped and triangulated."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from adaptation.pairs.lanes import CROP_SEGMENT_M, lane_map_of, load_lane_map
from simulator.roads.road_map import MarkingType


def square(side: float, clockwise: bool = False) -> list[tuple[float, float]]:
    """A closed square around the origin."""
    half = side / 2
    points = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)]
    return points[::-1] if clockwise else points


def lane(polygon: list[tuple[float, float]]) -> dict[str, Any]:
    """A lane of the file: its surface, and a centreline whose third column is the heading."""
    centre = [(12.0, 0.0, 0.0), (20.0, 0.0, 0.0)]
    return {"type": "LANE_SURFACE_STREET", "polyline": centre, "polygon": polygon}


def features() -> dict[str, Any]:
    """A lane, two lines, and a drivable square of 40 m with a hole of 10 m."""
    return {
        "boundary_0": {
            "type": "ROAD_LINE_SOLID_SINGLE_WHITE",
            "polyline": np.array(square(40, clockwise=True)),
        },
        "boundary_1": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": np.array(square(10))},
        "a": lane([(12, -3), (20, -3), (20, 3), (12, 3)]),
        "b": {"type": "ROAD_LINE_BROKEN_SINGLE_WHITE", "polyline": [(-100.0, 8.0), (100.0, 8.0)]},
        "c": {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW", "polyline": [(-15.0, -8.0), (15.0, -8.0)]},
    }


def write(path: Path, contents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(contents)))
    return path


class RunsCommand:
    """Runs a command when it is unpickled by Python's own reader."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_a_log_that_names_code_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"log\.pkl\.gz: names (posix|nt|os)\.system; expected nothing but numpy"
    ):
        load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": RunsCommand()}))


def test_outlines_bound_the_drivable_area_and_outlines_inside_are_holes(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    assert lane_map.drivable.area == pytest.approx(40 * 40 - 10 * 10)
    assert len(lane_map.edges) == 2
    assert sorted(kind for _, kind in lane_map.markings) == [
        MarkingType.DASHED_WHITE,
        MarkingType.SOLID_YELLOW,
    ]
    for edge, side in zip(lane_map.edges, (20.0, 5.0), strict=True):
        np.testing.assert_array_equal(np.abs(edge), side)


def test_triangles_cover_the_drivable_area_once(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    triangles = [shapely.Polygon(corners) for corners in lane_map.triangles()]
    assert sum(triangle.area for triangle in triangles) == pytest.approx(lane_map.drivable.area)
    assert shapely.union_all(triangles).symmetric_difference(lane_map.drivable).area == pytest.approx(
        0, abs=1e-6
    )


def test_a_crop_keeps_all_lines_within_its_radius_and_nothing_else(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    near = lane_map.near(np.array([0.0, 8.0]), 20.0)
    (dashed, _), (solid, _) = near.markings
    np.testing.assert_allclose(dashed[[0, -1]], [(-20.0, 8.0), (20.0, 8.0)])  # of 200 m
    for line in (dashed, solid, *near.edges):
        assert np.linalg.norm(line - (0.0, 8.0), axis=1).max() <= 20.0 + 1e-9
    assert np.ptp(solid[:, 0]) == pytest.approx(
        24.0, abs=2 * CROP_SEGMENT_M
    )  # the chord 16 m below the centre
    assert lane_map.near(np.array([500.0, 0.0]), 20.0).markings == ()
    assert near.drivable.symmetric_difference(
        lane_map.drivable.intersection(shapely.Point(0.0, 8.0).buffer(20.0))
    ).area == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "map_features is missing or empty"),
        (
            {"a": lane([(0, 0), (1, float("nan")), (2, 2)])},
            r"\['a\.polygon'\] has points of shape",
        ),
        ({"b": {"type": "ROAD_LINE_X", "polyline": "long"}}, r"\['b'\] is not a list of points"),
        ({"b": {"type": "ROAD_LINE_X", "polyline": [(0.0, 0.0), (1.0, 0.0)]}}, "no lane with a polygon"),
    ],
)
def test_unusable_maps_are_errors(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "log.pkl.gz", {"map_features": change})
    with pytest.raises(ValueError, match=words):
        load_lane_map(path)


def test_maps_belong_to_scenes_of_the_data_set_in_their_frame(tmp_path: Path) -> None:
    write(tmp_path / "logs/nuscenes_scenarionet/sd_nuscenes_scene-0001.pkl.gz", {"map_features": features()})
    assert lane_map_of(tmp_path, "nuscenes_mini", "scene-0001") is not None
    assert lane_map_of(tmp_path, "nuscenes_mini", "scene-0002") is None
    assert lane_map_of(tmp_path, "kitti_object12", "scene-0001") is None
