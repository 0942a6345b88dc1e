"""Argoverse 2: boxes in the frame of a moving car, no sizes, duplicated rows; and logs converted by py123d."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.conventions import CAR, PEDESTRIAN, TRUCK
from simulator.logs.readers.argoverse2 import EGO_ID, av2_folders, read_av2
from simulator.logs.readers.py123d import py123d_folders, read_py123d
from simulator.logs.readers.py123d_map import marking_of
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import PARKED_M, TrafficLog, repair_counts
from simulator.roads.road_map import MarkingType

pyarrow = pytest.importorskip("pyarrow", reason="Argoverse tables need pyarrow, which comes with py123d")
pytest.importorskip("pyarrow.feather")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("py123d", reason="Argoverse maps are read by py123d, which is not installed")

STEPS = 20
CENTRE = np.array([5000.0, 2400.0, 60.0])
TURN = 0.5  # heading of the recording car, rad
LIFT = np.array([0.0, 0.0, 0.3])  # of the rear axle above the ground
NAMES = ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz",
         "tx_m", "ty_m", "tz_m", "num_interior_pts")  # fmt: skip


def make_map() -> dict[str, Any]:
    """Two lanes side by side to the east, a bicycle lane, one drivable area."""

    def line(y: float) -> list[dict[str, float]]:
        return [{"x": CENTRE[0] + x, "y": CENTRE[1] + y, "z": CENTRE[2]} for x in (-60.0, 0.0, 60.0)]

    def lane(name: int, left: float, right: float, kind: str, **links: Any) -> dict[str, Any]:
        return {"id": name, "is_intersection": False, "lane_type": kind, "left_lane_boundary": line(left),
                "right_lane_boundary": line(right), "left_lane_mark_type": "DASHED_WHITE",
                "right_lane_mark_type": "NONE", "successors": [], "predecessors": [], "left_neighbor_id": None,
                "right_neighbor_id": None} | links  # fmt: skip

    lanes = [lane(1, 3.5, 0.0, "VEHICLE", right_neighbor_id=2), lane(2, 0.0, -3.5, "VEHICLE", left_neighbor_id=1),
             lane(3, -3.5, -5.0, "BIKE")]  # fmt: skip
    ring = [(-60, 8), (60, 8), (60, -8), (-60, -8)]
    area = {
        "id": 7,
        "area_boundary": [{"x": CENTRE[0] + x, "y": CENTRE[1] + y, "z": CENTRE[2]} for x, y in ring],
    }
    return {"lane_segments": {str(one["id"]): one for one in lanes}, "drivable_areas": {"7": area},
            "pedestrian_crossings": {}}  # fmt: skip


def write_log(folder: Path) -> Path:
    """The ego is stationary, rotated; a car passes at 9 m/s to the east; a sign; one row twice, one contradicted."""
    (folder / "map").mkdir(parents=True)
    (folder / "map" / "log_map_archive_x____PIT_city_1.json").write_text(json.dumps(make_map()))
    times = 1_000_000_000 + 100_000_000 * np.arange(STEPS)
    half = np.array([np.cos(TURN / 2), 0.0, 0.0, np.sin(TURN / 2)])
    back = np.array([half[0], 0.0, 0.0, -half[3]])
    turn = np.array([[np.cos(TURN), np.sin(TURN)], [-np.sin(TURN), np.cos(TURN)]])
    rows = []
    for step, time in enumerate(times.tolist()):
        for name, kind, size, place in (
            ("car", "REGULAR_VEHICLE", (4.6, 1.9, 1.6), (-10 + 0.9 * step, -1.75)),
            ("bus", "BUS", (12.0, 2.9, 3.4), (30.0, 1.75)),
            ("walker", "PEDESTRIAN", (0.7, 0.7, 1.8), (5.0, -7.0)),
            ("sign", "SIGN", (0.5, 0.5, 2.0), (8.0, 9.0)),
        ):
            xy = turn @ np.array(place)
            rows.append((time, name, kind, *size, *back, *xy, size[2] / 2 - 0.3, 9))
    rows.append(rows[4])  # the car of the second step again
    rows.append((*rows[0][:10], rows[0][10] + 3.0, *rows[0][11:]))  # and of the first, elsewhere
    pyarrow.feather.write_feather(pyarrow.table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))),
                                  folder / "annotations.feather")  # fmt: skip
    poses = {
        "timestamp_ns": times,
        **{f"q{axis}": [float(v)] * STEPS for axis, v in zip("wxyz", half, strict=True)},
    }
    poses |= {f"t{axis}_m": [float(v)] * STEPS for axis, v in zip("xyz", CENTRE + LIFT, strict=True)}
    pyarrow.feather.write_feather(pyarrow.table(poses), folder / "city_SE3_egovehicle.feather")
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LoggedScene:
    return read_av2(write_log(tmp_path_factory.mktemp("av2") / "log"))


def test_boxes_are_transformed_to_the_city_frame(scene: LoggedScene) -> None:
    log = scene.log
    row = log.track_ids.tolist().index("car")
    place = log.position[row] + log.origin
    np.testing.assert_allclose(place[2:, 0], CENTRE[0] - 10 + 0.9 * np.arange(2, STEPS), atol=1e-3)
    np.testing.assert_allclose(place[2:, 1], CENTRE[1] - 1.75, atol=1e-3)
    np.testing.assert_allclose(place[2:, 2], CENTRE[2], atol=1e-3)
    np.testing.assert_allclose(log.yaw[row, 2:], 0.0, atol=1e-6)
    np.testing.assert_allclose(log.speed[row, 3:], 9.0, rtol=1e-4)
    assert log.kind.tolist() == [CAR, TRUCK, PEDESTRIAN, CAR]


def test_the_ego_is_placed_by_its_poses(scene: LoggedScene) -> None:
    log = scene.log
    assert log.track_ids[log.ego_track] == EGO_ID
    np.testing.assert_allclose(log.yaw[log.ego_track], TURN, atol=1e-6)
    apart = log.position[log.ego_track, 0] + log.origin - CENTRE
    ahead = apart[:2] @ [np.cos(TURN), np.sin(TURN)]
    assert 1.2 < ahead < 1.5  # its poses are those of the rear axle
    assert abs(apart[2]) < 0.1  # and lie a wheel's radius above the ground
    np.testing.assert_allclose(log.speed[log.ego_track], 0.0, atol=1e-6)


def test_second_boxes_at_one_moment(scene: LoggedScene) -> None:
    repairs = repair_counts(scene.log)
    assert repairs["duplicated states dropped"] == 1
    assert repairs["contradicting duplicated states made invalid"] == 1
    assert repairs["boxes that are no road users left out"] == STEPS
    assert not scene.log.valid[0, 0]
    assert scene.log.valid[0, 1:].all()


def test_the_map(scene: LoggedScene) -> None:
    road_map = scene.road_map
    assert road_map.lane_ids.tolist() == ["1", "2"]
    assert (road_map.lane_right.tolist(), road_map.lane_left.tolist()) == ([1, -1], [-1, 0])
    np.testing.assert_allclose(road_map.lane_width_m, 3.5, atol=1e-3)
    assert set(road_map.marking_type.tolist()) == {int(MarkingType.DASHED_WHITE)}
    assert repair_counts(scene.log)["bicycle lanes taken as asphalt only"] == 1
    assert len(road_map.edge_start) > 0


def test_a_forecasting_scenario_has_sizes_by_kind_and_heights_of_the_map(tmp_path: Path) -> None:
    (tmp_path / "log_map_archive_x.json").write_text(json.dumps(make_map()))
    rows = [
        {"track_id": name, "object_type": kind, "timestep": step, "position_x": CENTRE[0] + x + 0.8 * step,
         "position_y": CENTRE[1] + y, "heading": 0.0, "velocity_x": 8.0, "velocity_y": 0.0}
        for name, kind, x, y in (("AV", "vehicle", 0, -1.75), ("b", "bus", -30, 1.75), ("s", "static", 5, 6))
        for step in range(STEPS)
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "scenario_x.parquet")
    log = read_av2(tmp_path).log
    assert log.track_ids.tolist() == ["AV", "b"]
    assert log.ego_track == 0
    np.testing.assert_allclose(log.position[..., 2] + log.origin[2], CENTRE[2], atol=1e-5)
    assert log.size[1, 0] > 2 * log.size[0, 0] - 2
    repairs = repair_counts(log)
    assert repairs["missing length by kind"] == 2
    assert repairs["tracks lifted to the nearest lane"] == 2
    assert repairs["boxes that are no road users left out"] == STEPS


def test_broken_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder; expected an Argoverse 2 log"):
        read_av2(tmp_path / "nowhere")
    folder = write_log(tmp_path / "log")
    whole = (folder / "annotations.feather").read_bytes()
    (folder / "annotations.feather").write_bytes(whole[:500])
    with pytest.raises(ValueError, match=r"annotations\.feather: truncated or damaged table"):
        read_av2(folder)
    pyarrow.feather.write_feather(pyarrow.table({"timestamp_ns": [1]}), folder / "annotations.feather")
    with pytest.raises(ValueError, match=r"annotations\.feather: has no column track_uuid; expected"):
        read_av2(folder)
    (folder / "annotations.feather").write_bytes(whole)
    boxes = pyarrow.feather.read_table(folder / "annotations.feather")
    pyarrow.feather.write_feather(boxes.slice(0, 0), folder / "annotations.feather")
    with pytest.raises(ValueError, match=r"annotations\.feather: has no rows; expected at least one"):
        read_av2(folder)
    (folder / "annotations.feather").write_bytes(whole)
    (folder / "map" / "log_map_archive_x____PIT_city_1.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"log_map_archive_x.*: lane_segments is missing; expected an object"
    ):
        read_av2(folder)


def _change_table(path: Path, **columns: Any) -> None:
    """Replace columns of a table; a value for one of its rows is (row, value)."""
    table = pyarrow.feather.read_table(path).to_pydict()
    for name, value in columns.items():
        if isinstance(value, tuple):
            table[name][value[0]] = value[1]
        else:
            table[name] = value
    pyarrow.feather.write_feather(pyarrow.table(table), path)


@pytest.mark.parametrize(("unit", "ticks_per_s"), [("us", 10**6), ("ms", 10**3)])
def test_time_stamps_are_read_in_any_unit_and_it_is_said(
    tmp_path: Path, scene: LoggedScene, unit: str, ticks_per_s: int
) -> None:
    folder = write_log(tmp_path / "log")
    for name in ("annotations.feather", "city_SE3_egovehicle.feather"):
        stamps = pyarrow.feather.read_table(folder / name)["timestamp_ns"].to_pylist()
        _change_table(folder / name, timestamp_ns=[stamp * ticks_per_s // 10**9 for stamp in stamps])
        # First the boxes alone: two tables of one log in different units.
        log = read_av2(folder).log
        assert log.timestep_s == 0.1
        np.testing.assert_array_equal(log.position, scene.log.position)
        assert f"time stamps of timestamp_ns taken as {unit}, not ns, by their spacing" in repair_counts(log)


def test_broken_rows_are_left_out_or_made_invalid(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    _change_table(
        folder / "annotations.feather",
        track_uuid=(20, None),
        tx_m=(24, float("nan")),
        qw=(28, 0.0),
        qz=(28, 0.0),
    )
    _change_table(folder / "city_SE3_egovehicle.feather", qw=(9, 0.0), qz=(9, 0.0))
    log = read_av2(folder).log
    repairs = repair_counts(log)
    assert repairs["rows of feather tables without a value left out"] == 1
    assert repairs["states with NaN made invalid"] == 6  # two boxes; the ego and its three boxes at step 9
    assert not log.valid[:, 9].any()
    assert np.flatnonzero(~log.valid[0]).tolist() == [0, 5, 6, 7, 9]


def test_map_features_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    archive = folder / "map" / "log_map_archive_x____PIT_city_1.json"
    contents = make_map()
    lanes = contents["lane_segments"]
    lanes["4"] = lanes["2"] | {"id": 4, "left_lane_boundary": None}
    lanes["5"] = lanes["2"] | {"id": 5, "right_lane_boundary": lanes["2"]["right_lane_boundary"][:1]}
    lanes["6"] = lanes["2"] | {
        "id": 6,
        "left_lane_boundary": [{"x": 1e30, "y": 0.0, "z": 0.0}, {"x": 0, "y": 0}],
    }
    lanes["1"] |= {"left_lane_mark_type": None, "successors": None, "left_lane_boundary":
                   [*lanes["1"]["left_lane_boundary"][:2], None, lanes["1"]["left_lane_boundary"][2]]}  # fmt: skip
    del lanes["2"]["left_neighbor_id"]
    contents["drivable_areas"]["8"] = {"id": 8, "area_boundary": []}
    edge = lanes["2"]["right_lane_boundary"]
    contents["pedestrian_crossings"] = {
        "9": {"id": 9, "edge1": edge[:1], "edge2": edge[:2]}, "10": {"id": 10, "edge1": edge, "edge2": edge[::-1]}
    }  # fmt: skip
    archive.write_text(json.dumps(contents))
    scene = read_av2(folder)
    assert scene.road_map.lane_ids.tolist() == ["1", "2"]
    assert len(scene.road_map.crosswalk_start) == 1
    repairs = repair_counts(scene.log)
    for name, count in {
        "lane segments without enough finite points left out": 3,
        "drivable areas without enough finite points left out": 1,
        "pedestrian crossings without enough finite points left out": 1, "map points with NaN left out": 1,
        "missing fields of lanes completed": 2, "marks of lanes without a known type left out": 1,
        "edges of crosswalks taken as straight": 2,
    }.items():  # fmt: skip
        assert repairs[name] == count, name
    archive.write_text(json.dumps(contents | {"lane_segments": {"1": None}}))
    with pytest.raises(ValueError, match=r"lane_segments\['1'\] is a NoneType; expected an object"):
        read_av2(folder)


def test_a_log_without_one_of_its_files_is_refused_by_name(tmp_path: Path) -> None:
    files = {
        "annotations.feather": "annotations.feather: no such file",
        "city_SE3_egovehicle.feather": "city_SE3_egovehicle.feather: no such file",
        "map/log_map_archive_x____PIT_city_1.json": r"holds no log_map_archive_\*\.json",
    }
    for number, name in enumerate(files):
        (write_log(tmp_path / f"log {number}") / name).unlink()
    found = av2_folders(tmp_path)
    assert [folder.name for folder in found] == ["log 0", "log 1", "log 2"]
    for folder, sentence in zip(found, files.values(), strict=True):
        with pytest.raises(FileNotFoundError, match=sentence):
            read_av2(folder)


def test_marking_types_by_name() -> None:
    assert marking_of("DASHED_WHITE") == MarkingType.DASHED_WHITE
    assert marking_of("DOUBLE_DASH_YELLOW") == MarkingType.DASHED_YELLOW
    assert marking_of("SOLID_DASH_YELLOW") == MarkingType.DOUBLE_YELLOW
    assert marking_of("SOLID_BLUE") == MarkingType.SOLID_WHITE
    assert marking_of("UNKNOWN") is None


def _convert(source: Path, root: Path) -> None:
    """Write one sensor log with py123d's own parser and writer, boxes and poses only, as its command would."""
    from py123d.api.map.arrow.arrow_map_writer import ArrowMapWriter
    from py123d.api.scene.arrow.arrow_log_writer import ArrowLogWriter
    from py123d.api.scene.arrow.utils.log_writer_config import LogWriterConfig
    from py123d.parser.av2.av2_map_parser import Av2MapParser
    from py123d.parser.av2.av2_sensor_parser import Av2SensorLogParser, _extract_av2_sensor_ego_state
    from py123d.parser.av2.utils.av2_constants import AV2_SENSOR_BOX_DETECTIONS_SE3_METADATA as BOXES
    from py123d.parser.av2.utils.av2_constants import AV2_SENSOR_EGO_STATE_SE3_METADATA as EGO
    from py123d.parser.base_dataset_parser import ModalitiesSync

    parser = Av2SensorLogParser(source, "av2-sensor_val", "nearest")
    poses = pyarrow.feather.read_feather(source / "city_SE3_egovehicle.feather")
    writer = ArrowLogWriter(LogWriterConfig(), root / "logs", root / "sensors")
    assert writer.reset(parser.get_log_metadata())
    for boxes in parser._iter_box_detections_se3(BOXES):
        ego = _extract_av2_sensor_ego_state(poses, boxes.timestamp.time_ns, EGO)
        writer.write_sync(ModalitiesSync(timestamp=boxes.timestamp, modalities=[ego, boxes]))
    writer.close()
    maps = ArrowMapWriter(False, root / "maps", root / "logs")
    map_parser = Av2MapParser(source, "av2-sensor_val")
    assert maps.reset(map_parser.get_map_metadata())
    for item in map_parser.iter_map_objects():
        maps.write_map_object(item)
    maps.close()


def test_a_log_converted_by_py123d_is_the_same_scene(scene: LoggedScene, tmp_path: Path) -> None:
    _convert(write_log(tmp_path / "source" / "log"), tmp_path / "py123d")
    folders = py123d_folders(tmp_path / "py123d")
    assert [folder.name for folder in folders] == ["log"]
    (again,) = read_py123d(folders[0])
    assert again.log.source == "py123d:av2-sensor"
    for name in scene.road_map.lane_ids.tolist():
        here, there = (
            one.road_map.lane(one.road_map.lane_ids.tolist().index(name)) + one.log.origin
            for one in (scene, again)
        )
        np.testing.assert_allclose(here, there, atol=1e-2)
    for name in ("car", "bus", "walker"):
        first, second = (one.log.track_ids.tolist().index(name) for one in (scene, again))
        here, there = (
            scene.log.position[first] + scene.log.origin,
            again.log.position[second] + again.log.origin,
        )
        np.testing.assert_allclose(here[2:], there[2:], atol=1e-2)
        np.testing.assert_allclose(scene.log.yaw[first, 2:], again.log.yaw[second, 2:], atol=1e-5)
        np.testing.assert_allclose(scene.log.speed[first, 3:], again.log.speed[second, 3:], atol=1e-2)
    assert again.log.ego_track >= 0
    assert again.remarks["time stamps of sync.timestamp_us are in us"] == 1
    cut = (
        tmp_path / "py123d" / "logs" / "cut" / "log"
    )  # elsewhere: py123d keeps the tables of the first mapped
    shutil.copytree(folders[0], cut)
    table = next(cut.glob("box_detections*.arrow"))
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=r"box_detections.*arrow: malformed \(ArrowInvalid.*expected an intact table"
    ):
        read_py123d(cut)
    (cut / "sync.arrow").unlink()
    assert cut in py123d_folders(tmp_path / "py123d")  # refused by name, not passed over
    with pytest.raises(FileNotFoundError, match=r"holds no sync\.arrow"):
        read_py123d(tmp_path)


@pytest.fixture(scope="module")
def real_logs() -> list[Path]:
    data = os.environ.get("GIGAPIXEL_DATA")
    if not data or not (Path(data) / "logs" / "av2_sensor_logs").is_dir():
        pytest.skip(
            "Argoverse logs are read from the folder in GIGAPIXEL_DATA, which has no logs/av2_sensor_logs"
        )
    return av2_folders(Path(data) / "logs" / "av2_sensor_logs") + av2_folders(
        Path(data) / "logs" / "av2_forecasting"
    )


def _stands(log: TrafficLog, track: int) -> bool:
    """Whether a track was put at its median position."""
    return bool(np.ptp(log.position[track, log.valid[track]], axis=0).max() == 0.0)


def test_a_real_sensor_log_agrees_with_its_tables(real_logs: list[Path]) -> None:
    """Independently: the first box of every track, by quaternion arithmetic on the raw row."""
    folder = next(path for path in real_logs if (path / "calibration").is_dir())
    log = read_av2(folder).log
    boxes = pyarrow.feather.read_table(folder / "annotations.feather").to_pylist()
    poses = {row["timestamp_ns"]: row for row in
             pyarrow.feather.read_table(folder / "city_SE3_egovehicle.feather").to_pylist()}  # fmt: skip
    times = sorted({row["timestamp_ns"] for row in boxes})
    assert log.num_steps == len(times) == 156
    names = log.track_ids.tolist()
    checked = 0
    for row in boxes[::97]:
        if row["track_uuid"] not in names:
            continue
        pose = poses[row["timestamp_ns"]]
        w, u = pose["qw"], np.array([pose["qx"], pose["qy"], pose["qz"]])
        v = np.array([row["tx_m"], row["ty_m"], row["tz_m"]])
        world = v + 2 * np.cross(u, np.cross(u, v) + w * v) + [pose["tx_m"], pose["ty_m"], pose["tz_m"]]
        step, track = times.index(row["timestamp_ns"]), names.index(row["track_uuid"])
        if log.valid[track, step]:
            found = log.position[track, step] + log.origin
            tolerance = PARKED_M if _stands(log, track) else 1e-3
            np.testing.assert_allclose(found[:2], world[:2], atol=tolerance)
            assert found[2] == pytest.approx(world[2] - row["height_m"] / 2, abs=tolerance)
            checked += 1
    assert checked > 50


def test_a_real_forecasting_scenario_agrees_with_its_table(real_logs: list[Path]) -> None:
    folder = next(path for path in real_logs if list(path.glob("scenario_*.parquet")))
    log = read_av2(folder).log
    rows = pyarrow.parquet.read_table(next(folder.glob("scenario_*.parquet"))).to_pylist()
    assert log.num_steps == rows[0]["num_timestamps"]
    names = log.track_ids.tolist()
    for row in rows[::23]:
        if row["track_id"] in names and log.valid[names.index(row["track_id"]), row["timestep"]]:
            found = log.position[names.index(row["track_id"]), row["timestep"], :2] + log.origin[:2]
            tolerance = PARKED_M if _stands(log, names.index(row["track_id"])) else 1e-3
            np.testing.assert_allclose(found, [row["position_x"], row["position_y"]], atol=tolerance)
