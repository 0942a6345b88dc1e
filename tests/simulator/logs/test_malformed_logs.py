"""What is malformed in a log is left out and counted, or the scene is refused in one sentence; other scenes are
imported all the same."""

from __future__ import annotations

import copy
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.conventions import GREEN, OFF, RED
from simulator.logs.import_logs import import_logs
from simulator.logs.readers.malformed import refuse_malformed
from simulator.logs.readers.womd import read_womd
from simulator.logs.scene_pack import LoggedScene, ScenePack
from simulator.logs.traffic_log import repair_counts
from tests.simulator.logs.test_scene_pack import make_scene

CONTROL = json.loads(gzip.decompress((Path(__file__).parent / "cases" / "womd_control.json.gz").read_bytes()))
"""A Waymo scene of 41 steps: three cars that drive east, west and east at 10, 9 and 7 m/s, and a pedestrian that walks
north at 1.2 m/s; five lanes, three painted lines, two road edges."""
HEADINGS, SPEEDS = [0.0, np.pi, 0.0, np.pi / 2], [10.0, 9.0, 7.0, 1.2]
Change = Callable[[dict[str, Any]], object]


def changed(change: Change, name: str = "scene") -> dict[str, Any]:
    scene = copy.deepcopy(CONTROL) | {"scenario_id": name}
    change(scene)
    return scene


def imported(scene: dict[str, Any], folder: Path) -> LoggedScene:
    path = folder / "scene.json"
    path.write_text(json.dumps(scene))
    return read_womd(path)


def assert_control(scene: LoggedScene) -> None:
    middle = scene.log.num_steps // 2
    np.testing.assert_allclose(np.cos(scene.log.yaw[:, middle] - HEADINGS), 1.0, atol=1e-6)
    np.testing.assert_allclose(scene.log.speed[:, middle], SPEEDS, atol=1e-3)


# ---------------------------------------------------------------------------- what one scene lacks


def test_the_control_needs_no_correction_of_its_headings(tmp_path: Path) -> None:
    scene = imported(CONTROL, tmp_path)
    assert_control(scene)
    assert scene.road_map.num_lanes == 5
    assert not [name for name in repair_counts(scene.log) if "heading" in name or "left out" in name]


def test_one_full_turn_more(tmp_path: Path) -> None:
    scene = imported(changed(lambda s: s["objects"][1].update(heading=[3 * np.pi] * 41)), tmp_path)
    assert_control(scene)
    assert repair_counts(scene.log)["tracks with headings of more than a turn wrapped"] == 1


def _road(kind: str, geometry: Any) -> Change:
    return lambda s: s["roads"].append({"type": kind, "map_element_id": 7, "id": 62, "geometry": geometry})


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        (_road("road_line", [None, None]), {"map points with NaN": 2, "map elements without enough points": 1}),
        (_road("road_line", None), {"map elements without enough points": 1}),
        (_road("road_edge", []), {"map elements without enough points": 1}),
        (_road("lane", [{"x": 5200.0, "y": 1690.0, "z": 12.0}]), {"map elements without enough points": 1}),
        (_road("lane", [{"x": 5200.0, "y": 1690.0, "z": 12.0}] * 2), {"lanes without length": 1}),
        (_road("crosswalk", [{"x": 5200.0, "y": 1690.0 + y, "z": 12.0} for y in range(2)]),
         {"map elements of kind 'crosswalk' with too few points": 1}),
        (_road("speed_bump", CONTROL["roads"][0]["geometry"]), {"map elements of kind 'speed_bump'": 1}),
        (_road("tram_stop", CONTROL["roads"][0]["geometry"]), {"map elements of kind 'tram_stop'": 1}),
        (_road("road_edge", [{"x": 1e30, "y": 0.0, "z": 0.0}, {"x": 5200.0, "y": 0.0, "z": 0.0}]),
         {"road edges farther than 10 km from the traffic": 1}),
        (_road("road_edge", [{"x": 5200.0 + 3000.0 * (n % 2), "y": 1690.0, "z": 12.0} for n in range(9)]),
         {"road edges longer than 20 km": 1}),
        (lambda s: s["objects"].append(CONTROL["objects"][0] | {"id": 7, "type": "unset"}),
         {"objects of no known kind": 1}),
        (lambda s: s["objects"].append(CONTROL["objects"][0] | {"id": 7, "valid": [False] * 41}),
         {"tracks without a valid state": 1}),
        (lambda s: s["objects"][2]["position"].__setitem__(3, None), {}),
        (lambda s: s["objects"][2]["position"].__setitem__(3, {"x": 10**400, "y": 0, "z": 0}), {}),
        (lambda s: s["objects"][2]["position"].__setitem__(3, {"x": 1e300, "y": 0, "z": 0}), {}),
        (lambda s: s["objects"][2].update(height=None, length=1e9), {}),
        (lambda s: s.update(tl_states=None), {}),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted_by_name(
    tmp_path: Path, change: Change, left_out: dict[str, int]
) -> None:
    scene = imported(changed(change), tmp_path)
    assert_control(scene)
    assert scene.road_map.num_lanes == 5
    counts = repair_counts(scene.log) | scene.remarks
    assert {name: count for name, count in counts.items() if name.endswith("left out")} == {
        f"{name} left out": count for name, count in left_out.items()
    }


def test_broken_states_and_sizes_are_counted_too(tmp_path: Path) -> None:
    def change(s: dict[str, Any]) -> None:
        s["objects"][0]["position"][3] = None
        s["objects"][1]["position"][3] = {"x": 1e300, "y": 0.0, "z": 0.0}
        s["objects"][2]["length"] = 1e9
        s["objects"][3] |= {"valid": [False] * 20 + [True] + [False] * 20}  # a track of one step

    scene = imported(changed(change), tmp_path)
    repairs = repair_counts(scene.log)
    assert repairs["states with NaN made invalid"] == 1
    assert repairs["states farther than 10 km from the others made invalid"] == 1
    assert repairs["sizes of more than 100 m taken as missing"] == 1
    assert scene.log.valid.sum(axis=1).tolist() == [40, 40, 41, 1]
    assert scene.log.size[2, 0] < 6.0


def test_a_map_element_of_the_name_of_another_gets_a_new_one(tmp_path: Path) -> None:
    scene = imported(changed(lambda s: s["roads"][3].update(id=s["roads"][0]["id"])), tmp_path)
    assert_control(scene)
    assert sorted(scene.road_map.lane_ids.tolist()) == ["1", "1/2", "11", "2", "4"]


# ---------------------------------------------------------------------------- scenes that are refused

LIGHT = {"state": ["stop"], "x": [5280.0], "y": [1698.2], "z": [17.0], "time_index": [0]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.update(tl_states=[LIGHT]), r"tl_states is a list of 1; expected an object of lights by lane"),
        (lambda s: s.update(tl_states={"11": None}), r'tl_states\["11"\] is null; expected an object with state'),
        (lambda s: s.update(tl_states={"11": "red"}), r'tl_states\["11"\] is "red"; expected an object'),
        (lambda s: s.update(tl_states={"11": LIGHT | {"state": "stop"}}), r'"11"\]\.state is "stop"; expected a list'),
        (lambda s: s.update(tl_states={"11": LIGHT | {"time_index": [0, 1]}}), r"time_index has 2 entries; expected 1"),
        (lambda s: s.update(tl_states={"11": LIGHT | {"time_index": ["a"]}}), r'time_index\[0\] is "a"; expected the'),
        (lambda s: s["roads"].append(None), r"roads\[10\] is null; expected an object"),
        (lambda s: s["objects"].append([1]), r"objects\[4\] is a list of 1; expected an object"),
        (lambda s: s["objects"][0].update(valid=None), r"objects\[0\]\.valid has 0 entries; expected one per step"),
        (lambda s: s["objects"][1].update(heading=3.0), r"objects\[1\]\.heading has 0 entries; expected 41"),
        (lambda s: s["objects"][1]["velocity"].__setitem__(2, 9.0), r"velocity\[2\] is 9\.0; expected a point with x"),
        (lambda s: s["roads"][0].update(map_element_id="two"), r'roads\[0\]\.map_element_id is "two"; expected'),
        (lambda s: s["roads"][1].update(geometry="here"), r"roads\[1\]\.geometry is missing; expected a list"),
        (lambda s: s["roads"][1]["geometry"].append(7), r"roads\[1\]\.geometry\[81\] is 7; expected a point"),
        (lambda s: s.update(roads=s["roads"][5:]), r"scene scene has no lane; expected at least one centreline"),
    ],
)  # fmt: skip
def test_malformed_scenes_are_refused_by_field(tmp_path: Path, change: Change, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"scene\.json: (.*){sentence}"):
        imported(changed(change), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xfa", b"[" * 100_000, b"null", b"[]", b"\x1f\x8b rest"])
def test_files_of_other_content_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scene.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"scene\.json: (truncated or not JSON|holds )"):
        read_womd(tmp_path / "scene.json")


def test_whatever_a_reader_raises_is_a_refusal() -> None:
    def failing(error: Exception) -> None:
        @refuse_malformed
        def read(path: Path) -> None:
            raise error

        read(Path("a") / "log")

    with pytest.raises(ValueError, match=r"^a/log: malformed \(KeyError: 1\); expected a log of this format"):
        failing(KeyError(1))
    with pytest.raises(ValueError, match=r"^a/log: no zero norm$"):
        failing(ValueError("no zero norm\nsecond line"))
    with pytest.raises(ValueError, match=r"^log: scene of ours$"):
        failing(ValueError("log: scene of ours"))
    with pytest.raises(PermissionError):
        failing(PermissionError("of the system"))


# ---------------------------------------------------------------------------- an import of many


@pytest.fixture
def lights(tmp_path: Path) -> Path:
    """A folder of one good scene and two with malformed lights."""
    folder = tmp_path / "lights"
    folder.mkdir()
    times = [*range(5), *range(30, 35)]
    good = {name: [LIGHT[name][0]] * 10 for name in "xyz"} | {
        "state": ["stop"] * 5 + ["go"] * 5, "time_index": times
    }  # fmt: skip
    for name, states in (("a_list", [LIGHT]), ("a_null", {"11": None}), ("good", {"11": good})):
        scene = changed(lambda s, states=states: s.update(tl_states=states), name)
        (folder / f"{name}.json").write_text(json.dumps(scene))
    return folder


def test_malformed_scenes_do_not_end_an_import(
    lights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pack.h5"
    command = ["womd", "--input", str(lights), "--workers", "1", "--output", str(output)]
    assert main(command) == 0
    printed = capsys.readouterr()
    refused = printed.err.splitlines()
    assert [line.split(":")[0] for line in refused] == ["refused", "refused"]
    assert "a_list.json: tl_states is a list of 1" in refused[0]
    assert 'a_null.json: tl_states["11"] is null' in refused[1]
    assert "1 scenes, 2 refused" in printed.out
    with ScenePack(output) as pack:
        assert pack.names == ["good"]
        states = pack[0].log.light_state[0]
    assert states.tolist() == [RED] * 5 + [OFF] * 25 + [GREEN] * 5 + [OFF] * 6

    before = output.read_bytes()
    with pytest.raises(
        ValueError, match=r"a_list\.json: tl_states .*\(2 of 3 scenes refused: .* is not written"
    ):
        main([*command, "--strict"])
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lights", "pack.h5"]


def test_what_is_left_out_is_printed_in_one_line_per_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("a", "b"):
        scene = changed(_road("speed_bump", CONTROL["roads"][0]["geometry"]), name)
        _road("road_line", [None] * int(name == "b"))(scene)
        (folder / f"{name}.json").write_text(json.dumps(scene))
    assert main(["womd", "--input", str(folder), "--workers", "1", "--output", str(tmp_path / "p.h5")]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "left out: 2 map elements of kind 'speed_bump', in scenes: 2",
        "left out: 2 map elements without enough points, in scenes: 2",
        "left out: 1 map points with NaN, in scenes: 1",
    ]


def test_text_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text(json.dumps(changed(lambda s: s["objects"][0].update(id="\ud800"), "a")))
    paths[1].write_text(json.dumps(changed(lambda s: None, "b")))
    report = import_logs(paths, read_womd, tmp_path / "pack.h5")
    assert report.refused == [r"'a.json': track_ids holds '\ud800'; expected Unicode text"]
    with ScenePack(tmp_path / "pack.h5") as pack:
        assert pack.names == ["b"]
        pack[0].validate()


def _crashing_reader(path: Path) -> LoggedScene:
    if "bad" in path.name:
        os._exit(3)
    return make_scene(path.name)


def test_a_scene_that_ends_its_process_is_refused(tmp_path: Path) -> None:
    sources = [Path("a"), Path("bad"), Path("c")]
    report = import_logs(sources, _crashing_reader, tmp_path / "pack.h5", workers=2)
    assert report.imported == ["a", "c"]
    assert report.refused == [
        "bad: ended the process that read it; expected an intact log, and enough memory"
    ]
