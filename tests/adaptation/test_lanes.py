"""Lane maps: only plain data is unpickled, and what is drivable is what the outlines say."""

from __future__ import annotations

import collections
import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from adaptation.pairs.lanes import lane_map_of, load_lane_map, load_plain_pickle


def square(side: float, clockwise: bool = False) -> list[tuple[float, float]]:
    """A closed square around the origin."""
    half = side / 2
    points = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)]
    return points[::-1] if clockwise else points


def features() -> dict[str, Any]:
    """A lane, two lines, and a drivable square of 40 m with a hole of 10 m."""
    return {
        "boundary_0": {
            "type": "ROAD_LINE_SOLID_SINGLE_WHITE",
            "polyline": np.array(square(40, clockwise=True)),
        },
        "boundary_1": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": np.array(square(10))},
        "a": {"type": "LANE_SURFACE_STREET", "polygon": [(12, -3), (20, -3), (20, 3), (12, 3)]},
        "b": {"type": "ROAD_LINE_BROKEN_SINGLE_WHITE", "polyline": [(-100.0, 8.0), (100.0, 8.0)]},
        "c": {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW", "polyline": [(-15.0, -8.0), (15.0, -8.0)]},
    }


def write(path: Path, contents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(contents)))
    return path


class Evil:
    """Runs a command when it is unpickled by a reader that lets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_plain_data_is_read(tmp_path: Path) -> None:
    contents = {"array": np.arange(3.0), "set": {1, 2}, "scalar": np.float64(2)}
    contents = collections.OrderedDict(contents)
    read = load_plain_pickle(write(tmp_path / "log.pkl.gz", contents))
    np.testing.assert_array_equal(read["array"], contents["array"])
    assert read["set"] == {1, 2}
    assert read["scalar"] == 2


def test_code_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.pkl\.gz: holds (posix|nt|os)\.system; only numpy arrays"):
        load_plain_pickle(write(tmp_path / "log.pkl.gz", {"map_features": Evil()}))
    with pytest.raises(ValueError, match="holds pathlib"):
        load_plain_pickle(write(tmp_path / "path.pkl.gz", tmp_path))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "log.pkl.gz", {"map_features": features()})
    (tmp_path / "short.pkl.gz").write_bytes(whole.read_bytes()[:100])
    (tmp_path / "text.pkl.gz").write_bytes(b"hello")
    (tmp_path / "half.pkl").write_bytes(gzip.decompress(whole.read_bytes())[:100])
    for name in ("short.pkl.gz", "text.pkl.gz", "half.pkl"):
        with pytest.raises(ValueError, match=f"{name}: is not a readable pickle"):
            load_plain_pickle(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such log"):
        load_plain_pickle(tmp_path / "nothing.pkl")


def test_outlines_bound_the_drivable_area_and_outlines_inside_are_holes(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    assert lane_map.drivable.area == pytest.approx(40 * 40 - 10 * 10)
    assert len(lane_map.edges) == 2
    assert sorted((line.dashed, line.yellow) for line in lane_map.markings) == [(False, True), (True, False)]


def test_triangles_cover_the_drivable_area_once(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    triangles = [shapely.Polygon(corners) for corners in lane_map.triangles()]
    assert sum(triangle.area for triangle in triangles) == pytest.approx(lane_map.drivable.area)
    assert shapely.union_all(triangles).symmetric_difference(lane_map.drivable).area == pytest.approx(
        0, abs=1e-6
    )


def test_only_what_is_near_is_kept(tmp_path: Path) -> None:
    lane_map = load_lane_map(write(tmp_path / "log.pkl.gz", {"map_features": features()}))
    near = lane_map.near(np.array([0.0, 8.0]), 20.0)
    for line in near.markings:
        assert np.linalg.norm(line.points - (0.0, 8.0), axis=1).max() <= 20.0
    assert lane_map.near(np.array([500.0, 0.0]), 20.0).markings == ()
    assert near.drivable.area < lane_map.drivable.area


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "map_features is missing or empty"),
        (
            {"a": {"type": "LANE", "polygon": [(0, 0), (1, float("nan")), (2, 2)]}},
            r"\['a'\]\.polygon has shape",
        ),
        ({"b": {"type": "ROAD_LINE_X", "polyline": "long"}}, r"\['b'\]\.polyline is not a list of points"),
        ({"b": {"type": "ROAD_LINE_X", "polyline": [(0.0, 0.0), (1.0, 0.0)]}}, "no lane with a polygon"),
    ],
)
def test_unusable_maps_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "log.pkl.gz", {"map_features": change})
    with pytest.raises(ValueError, match=words):
        load_lane_map(path)


def test_maps_belong_to_scenes_of_the_data_set_in_their_frame(tmp_path: Path) -> None:
    write(tmp_path / "logs/nuscenes_scenarionet/sd_nuscenes_scene-0001.pkl.gz", {"map_features": features()})
    assert lane_map_of(tmp_path, "nuscenes_mini", "scene-0001") is not None
    assert lane_map_of(tmp_path, "nuscenes_mini", "scene-0002") is None
    assert lane_map_of(tmp_path, "kitti_object12", "scene-0001") is None
