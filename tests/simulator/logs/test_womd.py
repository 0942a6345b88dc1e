"""Waymo scenes as JSON: faults of the files are corrected and counted or refused; real files agree with a plain
parser."""

from __future__ import annotations

import copy
import csv
import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.conventions import CAR, CYCLIST, GREEN, OFF, PEDESTRIAN, RED, TRUCK
from simulator.logs.import_logs import import_logs
from simulator.logs.readers.womd import read_womd
from simulator.logs.scene_pack import LoggedScene, ScenePack
from simulator.logs.traffic_log import repair_counts
from simulator.roads.road_map import StopKind

STEPS = 21
CENTRE = np.array([8000.0, -3000.0, 40.0])


def points(
    xy: list[tuple[float, float]], spacing: float = 0.5, heights: bool = True
) -> list[dict[str, float]]:
    """A polyline through `xy`, relative to CENTRE, as the files have it."""
    line = np.asarray(xy, float)
    fine = [line[0]]
    for first, last in itertools.pairwise(line):
        count = max(1, round(float(np.linalg.norm(last - first)) / spacing))
        fine += [first + (last - first) * k / count for k in range(1, count + 1)]
    names = ("x", "y", "z") if heights else ("x", "y")
    return [dict(zip(names, [*(place + CENTRE[:2]), CENTRE[2]], strict=False)) for place in np.array(fine)]


def agent(kind: str, x: float, y: float, speed: float, name: int, **size: float) -> dict[str, Any]:
    """A road user that moves east at constant speed."""
    length, width, height = size.get("length", 4.5), size.get("width", 2.0), size.get("height", 1.6)
    along = [x + speed * 0.1 * step for step in range(STEPS)]
    return {
        "position": [{"x": CENTRE[0] + a, "y": CENTRE[1] + y, "z": CENTRE[2] + height / 2} for a in along],
        "heading": [0.0] * STEPS, "velocity": [{"x": speed, "y": 0.0}] * STEPS, "valid": [True] * STEPS,
        "length": length, "width": width, "height": height, "type": kind, "id": name,
        "goalPosition": {"x": 0.0, "y": 0.0, "z": 0.0},
    }  # fmt: skip


def make_scene() -> dict[str, Any]:
    """A road along y = 0: two lanes east (y = -5.4, -1.8), two west (1.8, 5.4), kerbs at +-9, lights at x = 60."""
    roads = []
    for number, (kind, code, line) in enumerate([
        ("lane", 2, [(0, -1.8), (60, -1.8)]), ("lane", 2, [(60, -1.8), (100, -1.8)]),
        ("lane", 2, [(0, -5.4), (100, -5.4)]), ("lane", 2, [(100, 1.8), (0, 1.8)]),
        ("lane", 2, [(100, 5.4), (0, 5.4)]), ("lane", 3, [(0, -8.1), (100, -8.1)]),
        ("road_line", 6, [(0, -3.6), (100, -3.6)]), ("road_line", 12, [(0, 0), (100, 0)]),
        ("road_edge", 15, [(0, -9), (100, -9)]), ("road_edge", 15, [(100, 9), (0, 9)]),
    ]):  # fmt: skip
        roads.append({"type": kind, "map_element_id": code, "id": number, "geometry": points(line)})
    roads.append({"type": "crosswalk", "map_element_id": 18, "id": 20,
                  "geometry": points([(70, -9), (70, 9), (74, 9), (74, -9)], 100)})  # fmt: skip
    objects = [
        agent("vehicle", 10, -1.8, 10.0, 7), agent("vehicle", 5, -5.4, 8.0, 8, length=12.0, width=2.6, height=3.3),
        agent("pedestrian", 72, -8, 0.0, 9, length=0.7, width=0.7, height=1.7),
        agent("cyclist", 30, -8.1, 4.0, 10, length=1.8, width=0.7, height=1.7),
    ]  # fmt: skip
    lights = {"state": ["stop"] * 11 + ["arrow_go"] * 10, "x": [CENTRE[0] + 60] * 21, "y": [CENTRE[1] - 1.8] * 21,
              "z": [CENTRE[2]] * 21, "time_index": list(range(21)), "lane_id": [1] * 21}  # fmt: skip
    return {"name": "s.json", "scenario_id": "cafe", "objects": objects, "roads": roads, "tl_states": {"1": lights},
            "metadata": {"sdc_track_index": 1}}  # fmt: skip


def old_format(scene: dict[str, Any]) -> dict[str, Any]:
    """The same scene as older files have it: degrees, without heights and identifiers."""
    old = copy.deepcopy(scene)
    for key in ("scenario_id", "metadata"):
        del old[key]
    for item in old["objects"]:
        del item["id"], item["height"]
        item["heading"] = list(np.rad2deg(item["heading"]))
        for place in item["position"]:
            del place["z"]
    for road in old["roads"]:
        del road["id"], road["map_element_id"]
        for place in road["geometry"]:
            del place["z"]
    old["tl_states"] = {}
    return old


def imported(scene: dict[str, Any], folder: Path, name: str = "s.json") -> LoggedScene:
    path = folder / name
    path.write_text(json.dumps(scene))
    return read_womd(path)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LoggedScene:
    return imported(make_scene(), tmp_path_factory.mktemp("womd"))


def test_tracks_are_what_the_file_says(scene: LoggedScene) -> None:
    log = scene.log
    assert (log.name, log.source, log.timestep_s) == ("cafe", "womd", 0.1)
    assert log.track_ids.tolist() == ["7", "8", "9", "10"]
    assert log.kind.tolist() == [CAR, TRUCK, PEDESTRIAN, CYCLIST]
    assert log.ego_track == 1
    first = log.position[0].astype(float) + log.origin
    np.testing.assert_allclose(first[:, 0], CENTRE[0] + 10 + np.arange(STEPS), atol=1e-4)
    np.testing.assert_allclose(first[:, 1], CENTRE[1] - 1.8, atol=1e-4)
    np.testing.assert_allclose(
        first[:, 2], CENTRE[2], atol=1e-4
    )  # on the ground, not in the middle of the box
    np.testing.assert_allclose(log.speed[0], 10.0)
    assert np.abs(log.position).max() < 100  # near the scene's own origin


def test_lanes_links_and_sides(scene: LoggedScene) -> None:
    road_map = scene.road_map
    assert road_map.lane_ids.tolist() == ["0", "1", "2", "3", "4"]  # the bicycle lane is asphalt only
    assert road_map.lane_successors[:, 0].tolist() == [1, -1, -1, -1, -1]
    assert road_map.lane_predecessors[:, 0].tolist() == [-1, 0, -1, -1, -1]
    assert road_map.lane_right.tolist() == [2, 2, -1, 4, -1]
    assert road_map.lane_left.tolist()[2:] == [0, -1, 3]
    np.testing.assert_allclose(road_map.lane_width_m, 3.6, atol=0.11)  # paint at 0 and -3.6, kerbs at 9
    for lane in range(2):
        start = road_map.lane_start[lane]
        np.testing.assert_allclose(
            road_map.point_left_xyz[start, 1] + scene.log.origin[1], CENTRE[1], atol=0.05
        )


def test_the_drivable_area_extends_from_kerb_to_kerb(scene: LoggedScene) -> None:
    import shapely

    from simulator.roads.drivable_area import drivable_area

    area = drivable_area(scene.road_map.pieces("drivable"))
    offset = (CENTRE - scene.log.origin)[:2]
    inside = shapely.transform(area, lambda xy: xy - offset)
    assert shapely.box(1, -8.9, 99, 8.9).within(shapely.buffer(inside, 0.05))
    assert inside.area == pytest.approx(1800, rel=0.01)


def test_lights_are_at_their_lane_and_change(scene: LoggedScene) -> None:
    road_map, log = scene.road_map, scene.log
    assert road_map.stop_line_kind.tolist() == [StopKind.TRAFFIC_LIGHT]
    middle = road_map.stop_line_xyz[0].mean(axis=0) + log.origin
    np.testing.assert_allclose(middle, CENTRE + np.array([60, -1.8, 0]), atol=0.1)
    assert road_map.stop_line_junction.tolist() == [0]
    assert log.light_state.tolist() == [[RED] * 11 + [GREEN] * 10]


def test_old_files_are_completed_and_counted_by_name(scene: LoggedScene, tmp_path: Path) -> None:
    """Only names, heights and types differ from the new file of the same scene."""
    source = old_format(make_scene())
    for item in source["objects"]:
        item["heading"] = [720.0] * STEPS
    old = imported(source, tmp_path, "tfrecord-7.json")
    repairs = repair_counts(old.log)
    assert old.log.name == "tfrecord-7"
    assert old.log.ego_track == -1
    for name, count in {
        "headings in degrees converted": 4, "tracks without height put at z = 0": 4, "missing height by kind": 4,
        "tracks named by their place in the file": 4, "self-driving car not named by the source": 1,
        "scene without types of lanes and paint": 1, "paint without a kind judged by its lanes": 2,
    }.items():  # fmt: skip
        assert repairs[name] == count, name
    np.testing.assert_allclose(old.log.yaw, 0.0, atol=1e-5)
    cut = scene.log.valid & ~old.log.valid  # before the map's start; a recording car would be left alone
    assert cut.sum() == repairs["states beyond the end of the map made invalid"] == 1
    same = old.log.valid
    np.testing.assert_allclose(old.log.position[same, :2], scene.log.position[same, :2], atol=1e-4)
    assert (old.log.position[..., 2] == 0).all()
    assert old.road_map.num_lanes == 6  # nothing says that one is for bicycles
    assert [int(kind) for kind in old.road_map.marking_type] == [1, 3]  # dashed white, solid yellow


def test_padded_states_are_invalid(tmp_path: Path) -> None:
    source = make_scene()
    item = source["objects"][0]
    for step in (0, 1, 20):
        item["position"][step] = {"x": -10000.0, "y": -10000.0, "z": -10000.0}
        item["velocity"][step] = {"x": -10000.0, "y": -10000.0}
        item["heading"][step] = -10000.0
        item["valid"][step] = step == 1  # one of them even claims to be valid
    log = imported(source, tmp_path).log
    assert np.flatnonzero(~log.valid[0]).tolist() == [0, 1, 20]
    assert repair_counts(log)["padded -10000 states made invalid"] == 3
    assert "headings in degrees converted" not in repair_counts(log)


def test_jumps_and_nan_are_corrected(tmp_path: Path) -> None:
    source = make_scene()
    for step in range(12, STEPS):
        source["objects"][0]["position"][step]["y"] += 3.6 * 3
    source["objects"][1]["position"][4]["x"] = None
    log = imported(source, tmp_path).log
    assert repair_counts(log)["tracks cut at a jump"] == 1
    assert repair_counts(log)["states with NaN made invalid"] == 1
    assert log.track_ids.tolist() == ["7", "7/2", "8", "9", "10"]
    assert log.ego_track == 2


def test_tracks_with_one_identifier_are_merged(tmp_path: Path) -> None:
    source = make_scene()
    source["objects"].append(copy.deepcopy(source["objects"][2]))
    log = imported(source, tmp_path).log
    assert log.num_tracks == 4
    assert repair_counts(log)["tracks with a duplicated identifier joined"] == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("objects"), r"objects is missing or empty; expected a list"),
        (lambda s: s.update(roads=[]), r"roads is missing or empty"),
        (
            lambda s: s["objects"][1].pop("heading"),
            r"objects\[1\]\.heading has 0 entries; expected 21, one per step",
        ),
        (
            lambda s: s["objects"][2]["position"].pop(),
            r"objects\[2\]\.position has 20 entries; expected 21 points",
        ),
        (lambda s: s["roads"][3].pop("geometry"), r"roads\[3\]\.geometry is missing"),
        (
            lambda s: s.update(roads=s["roads"][6:]),
            r"scene cafe has no lane; expected at least one centreline",
        ),
        (lambda s: [o.update(valid=[False] * STEPS) for o in s["objects"]], r"no track has a valid state"),
        (
            lambda s: [v.update(x=50.0) for o in s["objects"] for v in o["velocity"]],
            r"scene cafe: timestep_s is 0\.1, but tracks",
        ),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    source = make_scene()
    source["objects"] = [agent("vehicle", 5, y, 10.0, n) for n, y in enumerate((-5.4, -1.8, 1.8, 5.4))]
    change(source)
    with pytest.raises(ValueError, match=rf"s\.json: {sentence}"):
        imported(source, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, share: float) -> None:
    whole = gzip.compress(json.dumps(make_scene()).encode())
    (tmp_path / "s.json.gz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"s\.json\.gz: truncated or not JSON .*expected a scene"):
        read_womd(tmp_path / "s.json.gz")


def test_two_processes_give_the_same_pack_as_one(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(make_scene() | {"scenario_id": f"scene {number}"}))
    for workers in (1, 2):
        import_logs(paths, read_womd, tmp_path / f"{workers}.h5", workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()
    with ScenePack(tmp_path / "1.h5") as pack:
        assert pack.names == ["scene 0", "scene 1", "scene 2"]


@pytest.fixture(scope="module")
def real_scenes() -> list[tuple[dict[str, str], dict[str, Any], LoggedScene]]:
    """One file with heights, radians and names, one without: (row of the index, contents, imported)."""
    data = os.environ.get("GIGAPIXEL_DATA")
    if not data or not (Path(data) / "logs" / "womd_index.csv").is_file():
        pytest.skip(
            "Waymo scenes are read from the folder in GIGAPIXEL_DATA, which has no logs/womd_index.csv"
        )
    with open(Path(data) / "logs" / "womd_index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    named = next(row for row in rows if row["sdc_index"] and row["cyclists"] != "0")
    flat = next(row for row in rows if row["heading_unit"] == "deg" and row["cyclists"] != "0")
    result = []
    for row in (named, flat):
        path = Path(data) / "logs" / row["file"]
        result.append((row, json.loads(gzip.decompress(path.read_bytes())), read_womd(path)))
    return result


def test_real_scenes_agree_with_their_index(real_scenes: list) -> None:
    for row, _, scene in real_scenes:
        log = scene.log
        assert log.num_steps == int(row["steps"]) == 91
        kinds = np.bincount(log.kind, minlength=4)
        cut = repair_counts(log).get("tracks cut at a jump", 0)
        assert abs(kinds[CAR] + kinds[TRUCK] - int(row["vehicles"])) <= cut
        assert kinds[PEDESTRIAN] == int(row["pedestrians"])
        assert kinds[CYCLIST] == int(row["cyclists"])
        assert log.valid.sum() == pytest.approx(int(row["valid_agent_steps"]), abs=10)
        bicycle = repair_counts(log).get("bicycle lanes taken as asphalt only", 0)
        assert scene.road_map.num_lanes == int(row["lanes"]) - bicycle
        assert ("headings in degrees converted" in repair_counts(log)) == (row["heading_unit"] == "deg")
        assert (log.ego_track >= 0) == bool(row["sdc_index"])


def test_real_positions_agree_with_the_file(real_scenes: list) -> None:
    """Each valid state has the position of the file, and tracks move in the direction of their heading."""
    for _, contents, scene in real_scenes:
        log = scene.log
        agree: list[bool] = []
        for number, item in enumerate(contents["objects"]):
            name = str(item.get("id", number))
            if name not in log.track_ids:
                continue
            row = log.track_ids.tolist().index(name)
            for step in np.flatnonzero(log.valid[row])[::10]:
                place = item["position"][step]
                found = log.position[row, step, :2] + log.origin[:2]
                np.testing.assert_allclose(found, [place["x"], place["y"]], atol=2e-3)
                velocity = item["velocity"][step]
                fast = np.hypot(velocity["x"], velocity["y"])
                if log.kind[row] <= TRUCK and fast > 3:
                    course = np.arctan2(velocity["y"], velocity["x"])
                    agree.append(abs(np.sin(course - log.yaw[row, step])) < 0.2)
                    agree.append(abs(abs(log.speed[row, step]) - fast) < 0.05 * fast)
        assert len(agree) > 50
        assert np.mean(agree) > 0.97


def test_lights_without_a_state_are_off(tmp_path: Path) -> None:
    source = make_scene()
    source["tl_states"]["1"]["state"][:5] = ["unknown"] * 5
    assert imported(source, tmp_path).log.light_state[0, :5].tolist() == [OFF] * 5


def test_the_command_continues_after_a_refused_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text(json.dumps(make_scene()))
    command = ["womd", "--input", str(folder), "--workers", "1", "--output"]
    assert main([*command, str(tmp_path / "pack.h5")]) == 0
    printed = capsys.readouterr()
    assert "1 scenes, 1 refused" in printed.out
    assert "refused: " in printed.err
    assert "a.json: truncated or not JSON" in printed.err
    with pytest.raises(ValueError, match=r"a\.json: truncated or not JSON"):
        main([*command, str(tmp_path / "strict.h5"), "--strict"])
    assert not (tmp_path / "strict.h5").exists()
    (folder / "b.json").unlink()
    with pytest.raises(ValueError, match=r"none of 1 sources could be imported"):
        main([*command, str(tmp_path / "none.h5")])
    with pytest.raises(ValueError, match=r"--output .*pack\.txt must end in \.h5 or \.hdf5"):
        main([*command, str(tmp_path / "pack.txt")])
    monkeypatch.delenv("GIGAPIXEL_DATA", raising=False)
    with pytest.raises(ValueError, match=r"--input is not given and GIGAPIXEL_DATA is not set"):
        main(["womd", "--output", str(tmp_path / "pack.h5")])
