"""Road maps survive saving and loading unchanged; invalid maps and files are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from simulator.roads import array_file
from simulator.roads.road_map import SCHEMA_VERSION, RoadMap, pack_pieces, pad_indices
from simulator.roads.sources.map_cache import load_maps


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_maps(["Town02"])[0]


def _refusal(road_map: RoadMap, **changes: np.ndarray) -> str:
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(road_map, **changes).validate()
    return str(caught.value)


def test_load_returns_what_save_wrote(town: RoadMap, tmp_path: Path) -> None:
    town.save(tmp_path / "town.h5")
    again = RoadMap.load(tmp_path / "town.h5")
    for field in dataclasses.fields(RoadMap):
        before, after = getattr(town, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(before, after, err_msg=field.name)
        if isinstance(before, np.ndarray) and before.dtype.kind != "U":
            assert before.dtype == after.dtype, field.name


def test_packed_pieces_are_returned_unchanged() -> None:
    lines = [np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[5.0, 5, 1], [6, 5, 1], [7, 5, 1]])]
    points, start, count = pack_pieces(lines)
    assert points.shape == (5, 3)
    assert start.tolist() == [0, 2]
    assert count.tolist() == [2, 3]
    np.testing.assert_array_equal(points[2:], lines[1])
    assert pack_pieces([])[0].shape == (0, 3)


def test_pad_indices() -> None:
    assert pad_indices([[3], [], [1, 2]]).tolist() == [[3, -1], [-1, -1], [1, 2]]


@pytest.mark.parametrize("name", ["Town02", "Town03", "Town07"])
def test_lane_geometry(name: str) -> None:
    """Points are dense, yaw is the direction of the line, and the left boundary is on the left."""
    road_map = load_maps([name])[0]
    for lane in range(road_map.num_lanes):
        start, count = road_map.lane_start[lane], road_map.lane_count[lane]
        here = slice(start, start + count)
        steps = np.diff(road_map.point_xyz[here, :2].astype(np.float64), axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        assert lengths.max() <= 2.0 + 1e-3
        yaw = road_map.point_yaw[here]
        forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        if road_map.lane_length_m[lane] > 1.0:
            assert (np.sum(steps * forward[:-1], axis=1) > 0.9 * lengths).all()
        across = road_map.point_left_xyz[here, :2] - road_map.point_right_xyz[here, :2]
        assert (forward[:, 0] * across[:, 1] - forward[:, 1] * across[:, 0] >= -1e-3).all()


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5: no such file; expected"):
        RoadMap.load(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_file_is_refused(town: RoadMap, tmp_path: Path, share: float) -> None:
    town.save(tmp_path / "town.h5")
    whole = (tmp_path / "town.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"cut\.h5: truncated or damaged file .* import it again"):
        RoadMap.load(tmp_path / "cut.h5")


def test_unknown_schema_version_is_refused(town: RoadMap, tmp_path: Path) -> None:
    town.save(tmp_path / "town.h5")
    with h5py.File(tmp_path / "town.h5", "a") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1
    with pytest.raises(
        ValueError, match=rf"schema_version is {SCHEMA_VERSION + 1}; expected {SCHEMA_VERSION}"
    ):
        RoadMap.load(tmp_path / "town.h5")


def test_missing_field_is_refused_by_name(town: RoadMap, tmp_path: Path) -> None:
    town.save(tmp_path / "town.h5")
    with h5py.File(tmp_path / "town.h5", "a") as file:
        del file["road_map/lane_left"]
    with pytest.raises(ValueError, match="lane_left"):
        RoadMap.load(tmp_path / "town.h5")


def test_other_hdf5_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(
        ValueError, match=r"other\.h5: attribute format is None; expected 'gigapixel scene pack'"
    ):
        RoadMap.load(tmp_path / "other.h5")


def test_interrupted_save_keeps_the_old_file(
    town: RoadMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(group: h5py.Group, name: str, value: object) -> None:
        if name == "point_yaw":
            raise KeyboardInterrupt

    (tmp_path / "town.h5").write_text("old")
    monkeypatch.setattr(array_file, "_write_field", interrupt)
    for name in ("town.h5", "new.h5"):
        with pytest.raises(KeyboardInterrupt):
            town.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["town.h5"]
    assert (tmp_path / "town.h5").read_text() == "old"


def test_nan_points_are_refused(town: RoadMap, tmp_path: Path) -> None:
    points = town.point_xyz.copy()
    points[7, 1] = np.nan
    assert "point_xyz[7] is" in _refusal(town, point_xyz=points)
    with pytest.raises(ValueError, match="expected finite numbers"):
        dataclasses.replace(town, point_xyz=points).save(tmp_path / "town.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("lane_successors", 9999, "lane_successors holds 9999; expected -1 to"),
        ("lane_left", -2, "lane_left holds -2; expected -1 to"),
        ("stop_line_kind", 7, "stop_line_kind holds 7; expected 0 to 2"),
        ("stop_line_group", 5, "stop_line_group holds 5"),
        ("lane_speed_limit_mps", 0.0, "lane_speed_limit_mps[0] is 0.0; expected more than 0"),
        ("lane_count", 1, "lane_count[0] is 1; expected more than 1"),
        ("edge_count", 1, "edge_start and edge_count must tile"),
    ],
)
def test_invalid_values_are_refused(town: RoadMap, field: str, value: float, sentence: str) -> None:
    array = getattr(town, field).copy()
    array.flat[0] = value
    assert sentence in _refusal(town, **{field: array})


def test_wrong_shapes_are_refused(town: RoadMap) -> None:
    assert "lane_width_m has 3 rows" in _refusal(town, lane_width_m=town.lane_width_m[:3])
    assert "point_xyz has shape" in _refusal(town, point_xyz=town.point_xyz[:, :2])
    assert "lane_left has type float32; expected int32" in _refusal(
        town, lane_left=town.lane_left.astype(np.float32)
    )


def test_map_without_lanes_is_refused(town: RoadMap) -> None:
    empty = {
        field.name: getattr(town, field.name)[:0]
        for field in dataclasses.fields(RoadMap)
        if field.name.startswith(("lane_", "point_"))
    }
    assert "expected at least one driving lane" in _refusal(town, **empty)
