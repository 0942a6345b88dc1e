"""Scene packs return scenes bit for bit, and damaged packs are refused with a message."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from simulator import conventions
from simulator.__main__ import main
from simulator.logs.import_logs import import_logs
from simulator.logs.scene_pack import STAMP, LoggedScene, ScenePack, ScenePackWriter, holds_logged_scenes
from simulator.roads import array_file
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from tests.recorded import logged_scene, straight_road

STEPS = 12


def make_scene(name: str, cars: int = 3) -> LoggedScene:
    """Cars one behind the other on one straight lane."""
    position = np.zeros((cars, STEPS, 3))
    position[..., 0] = 20.0 * np.arange(cars)[:, None] + 7.3 * 0.1 * np.arange(STEPS)
    position[..., 2] = 1.0
    return logged_scene(
        straight_road(200.0, 41, z=1.0), position, 7.3, name=name, track_ids=[f"käfer {i}" for i in range(cars)],
        ego_track=cars - 1, origin=(1e4 / 3, -2e4 / 3, 0.1), repairs=["nothing: 1"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def scenes() -> list[LoggedScene]:
    return [make_scene(f"scene {number}", cars=2 + number) for number in range(3)]


@pytest.fixture(scope="module")
def pack(scenes: list[LoggedScene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packs") / "four.h5"
    _write(path, scenes)
    return path


def _write(path: Path, scenes: list[LoggedScene]) -> None:
    with ScenePackWriter(path) as writer:
        for scene in scenes:
            writer.add(scene)


def assert_same(first: LoggedScene, second: LoggedScene) -> None:
    for part in ("road_map", "log"):
        for field in dataclasses.fields(getattr(first, part)):
            before, after = (getattr(getattr(scene, part), field.name) for scene in (first, second))
            assert type(before) is type(after), field.name
            if isinstance(before, np.ndarray):
                assert (before.dtype, before.shape) == (after.dtype, after.shape), field.name
                assert before.tobytes() == after.tobytes(), field.name
            else:
                assert before == after, field.name


def test_scenes_are_returned_bit_for_bit_in_any_order(scenes: list[LoggedScene], pack: Path) -> None:
    with ScenePack(pack) as reader:
        assert reader.names == [scene.log.name for scene in scenes]
        for number in (2, 0, -1):
            assert_same(reader[number], scenes[number])
        assert_same(reader["scene 1"], scenes[1])
        assert [scene.log.num_tracks for scene in reader] == [2, 3, 4]


def test_one_scene_is_read_without_the_others(pack: Path, tmp_path: Path) -> None:
    """The rest of the file may even be missing."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes(pack.read_bytes())
    with h5py.File(copy, "a") as file:
        for key in ("00000", "00001"):
            del file[f"scenes/{key}/log"]
    with ScenePack(copy) as reader:
        assert reader[2].log.name == "scene 2"
        with pytest.raises(ValueError, match=r"truncated or damaged file .*expected intact"):
            reader[0]


def test_unknown_scenes_are_refused(pack: Path) -> None:
    with ScenePack(pack) as reader:
        with pytest.raises(ValueError, match=r"no scene 'scene 9'; expected one of scene 0, scene 1"):
            reader["scene 9"]
        with pytest.raises(IndexError):
            reader[3]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_packs_are_refused(pack: Path, tmp_path: Path, share: float) -> None:
    whole = pack.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(
        ValueError, match=r"cut\.h5: (is not an HDF5 file|truncated or damaged file).*import them again$"
    ):
        _read_all(tmp_path / "cut.h5")


def test_flipped_bytes_are_refused_or_harmless(
    scenes: list[LoggedScene], pack: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Every array and every structure of the file has a checksum: no damage is read as data."""
    whole = bytearray(pack.read_bytes())
    refused = 0
    for place in rng.integers(0, len(whole), 40):
        broken = whole.copy()
        broken[place] ^= 0xFF
        (tmp_path / "flipped.h5").write_bytes(broken)
        found = _read_or_sentence(tmp_path / "flipped.h5")
        if isinstance(found, str):
            assert "flipped.h5" in found
            refused += 1
            continue
        for before, after in zip(scenes, found, strict=True):
            assert_same(before, after)
    assert refused > 10


def _read_or_sentence(path: Path) -> list[LoggedScene] | str:
    try:
        return _read_all(path)
    except ValueError as error:
        return str(error)


def _read_all(path: Path) -> list[LoggedScene]:
    with ScenePack(path) as reader:
        return list(reader)


@pytest.mark.parametrize("name", ["schema_version", "road_map_schema_version"])
def test_unknown_schema_versions_are_refused(pack: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "new.h5"
    copy.write_bytes(pack.read_bytes())
    with h5py.File(copy, "a") as file:
        file.attrs[name] = 99
    with pytest.raises(ValueError, match=rf"new\.h5: {name} is 99; expected 1, import the source again"):
        ScenePack(copy)


def test_a_pack_written_under_other_conventions_is_refused(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack carries the conventions it was written under; packs of earlier versions have none and are read."""
    with h5py.File(pack) as file:
        stored = json.loads(file.attrs[STAMP])
    assert stored == json.loads(json.dumps(conventions.stamp(conventions.SCENE_PACK_CONVENTIONS)))
    monkeypatch.setattr(conventions, "KIND_NAMES", ("car", "van", "cyclist", "pedestrian"))
    with pytest.raises(
        ValueError,
        match=r"four\.h5: made with kinds=\['car', 'truck'.*has kinds=\['car', 'van'.*import the source again",
    ):
        ScenePack(pack)
    older = tmp_path / "older.h5"
    older.write_bytes(pack.read_bytes())
    with h5py.File(older, "a") as file:
        del file.attrs[STAMP]
    with ScenePack(older) as scenes:
        assert len(scenes) == 3


def test_a_damaged_stamp_is_refused(pack: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(pack.read_bytes())
    with h5py.File(damaged, "a") as file:
        file.attrs[STAMP] = "[1"
    with pytest.raises(
        ValueError, match=r"damaged\.h5: truncated or damaged file \(attribute conventions is not JSON"
    ):
        ScenePack(damaged)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5: no such file"):
        ScenePack(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(ValueError, match=r"other\.h5: attribute format is None; expected 'gigapixel traffic"):
        ScenePack(tmp_path / "other.h5")
    assert not holds_logged_scenes(tmp_path / "other.h5")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interrupted_import_leaves_no_pack(
    scenes: list[LoggedScene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Raised while the second scene is being written; an older pack of that name remains unchanged."""
    write, calls = array_file._write_field, []

    def interrupt(group: h5py.Group, name: str, value: object) -> None:
        calls.append(name)
        if calls.count("speed") == 2:
            raise error("stop")
        write(group, name, value)

    monkeypatch.setattr(array_file, "_write_field", interrupt)
    (tmp_path / "old.h5").write_text("old")
    for name in ("new.h5", "old.h5"):
        calls.clear()
        with pytest.raises(error, match="stop"):
            _write(tmp_path / name, scenes)
    assert [path.name for path in tmp_path.iterdir()] == ["old.h5"]
    assert (tmp_path / "old.h5").read_text() == "old"


def test_invalid_scenes_are_refused(scenes: list[LoggedScene], tmp_path: Path) -> None:
    scene = scenes[0]
    lights = np.zeros((2, STEPS), np.int32)
    lit = LoggedScene(scene.road_map, dataclasses.replace(scene.log, light_state=lights))
    with ScenePackWriter(tmp_path / "pack.h5") as writer:
        writer.add(scene)
        with pytest.raises(
            ValueError, match=r"scene 0: light_state has 2 rows; expected 0, one per stop line"
        ):
            writer.add(lit)
        with pytest.raises(
            ValueError, match=r"scene scene 0 is in .*pack\.h5 already; expected names to differ"
        ):
            writer.add(scene)
    with ScenePack(tmp_path / "pack.h5") as reader:
        assert reader.names == ["scene 0"]


def _reader(path: Path) -> LoggedScene:
    if "bad" in path.name:
        raise ValueError(f"{path}: holds nothing")
    return make_scene(path.name)


def test_refused_scenes_do_not_stop_an_import(tmp_path: Path) -> None:
    sources = [Path("a"), Path("bad"), Path("c"), Path("a")]
    report = import_logs(sources, _reader, tmp_path / "pack.h5")
    assert report.imported == ["a", "c"]
    assert report.refused[0] == "bad: holds nothing"
    assert "expected names to differ" in report.refused[1]
    with ScenePack(tmp_path / "pack.h5") as reader:
        assert reader.names == ["a", "c"]


def test_an_import_of_nothing_leaves_no_pack(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"none of 2 sources could be imported; first refusal: bad: holds nothing"
    ):
        import_logs([Path("bad"), Path("bad2")], _reader, tmp_path / "pack.h5")
    with pytest.raises(ValueError, match=r"^bad: holds nothing"):
        import_logs([Path("a"), Path("bad")], _reader, tmp_path / "pack.h5", strict=True)
    assert not list(tmp_path.iterdir())


def test_check_knows_both_kinds_of_pack(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, town = tmp_path / "logs.h5", tmp_path / "town.h5"
    logs.write_bytes(pack.read_bytes())
    road_map: RoadMap = load_maps(["Town02"])[0]
    road_map.save(town)
    assert main(["check", str(logs), "--report"]) == 0
    printed = capsys.readouterr().out
    assert "womd: 3 scenes, 3 with a named self-driving car" in printed
    assert "9: 9 cars, 0 trucks" in printed
    assert "0.00%  overlapping another vehicle" in printed
    assert "100.0%" in next(line for line in printed.splitlines() if line.endswith("  jerk"))
    assert main(["check", str(logs), "--scene", "scene 1"]) == 0
    assert main(["check", str(town)]) == 0
    assert "Town02" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--scene and --report expect a pack of logged scenes"):
        main(["check", str(town), "--report"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "logs.h5", "logs.png", "logs-scene 1.png", "town.h5", "town.png"
    }  # fmt: skip
