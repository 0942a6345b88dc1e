"""Recorded traffic: any change of a good log gives scenes in a pack, or a sentence and no pack."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.feather
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.logs.import_logs import Reader, import_logs
from simulator.logs.readers.argoverse2 import read_av2
from simulator.logs.readers.scenarionet import read_scenarionet
from simulator.logs.readers.womd import read_womd
from simulator.logs.scene_pack import ScenePack
from tests.fuzz import hdf5_changes, table_changes, tree_changes
from tests.fuzz.byte_damage import ByteDamage, byte_damage
from tests.fuzz.judge import Judge
from tests.simulator.logs import test_av2, test_malformed_logs, test_nuscenes

POLYLINE_STEP = 8
"""Every eighth point of the case's polylines is kept, so that the entries that matter are changed more often."""


def _womd_scene() -> dict[str, Any]:
    scene = json.loads(json.dumps(test_malformed_logs.CONTROL))
    for road in scene["roads"]:
        road["geometry"] = road["geometry"][::POLYLINE_STEP]
    scene["tl_states"] = {"11": test_malformed_logs.LIGHT}
    scene["metadata"] = {"sdc_track_index": 0}
    return scene


def _plain(value: Any) -> Any:
    """Arrays as lists, tuples too."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _as_pickled(value: Any) -> Any:
    """Lists of numbers as arrays, as ScenarioNet pickles them."""
    if isinstance(value, dict):
        return {key: _as_pickled(entry) for key, entry in value.items()}
    if isinstance(value, list):
        try:
            array = np.array(value, float)
        except (ValueError, TypeError, OverflowError):
            return [_as_pickled(entry) for entry in value]
        return array if array.size else value
    return value


def _waymo_scene() -> dict[str, Any]:
    """The scene of nuScenes with every kind of feature that Waymo's map has."""
    scene = test_nuscenes.make_scene()
    x, y = test_nuscenes.CENTRE

    def line(first: float, last: float) -> np.ndarray:
        along = np.linspace(first, last, 21)
        return np.stack([x + along, np.full(21, y), np.full(21, 1.0)], axis=1)

    lane = {"type": "LANE_FREEWAY", "speed_limit_mph": 40.0, "right_neighbor": [], "left_neighbor": [
        {"feature_id": "2", "self_start_index": 0, "self_end_index": 3}]}  # fmt: skip
    scene["metadata"] |= {"dataset": "waymo"}
    scene["map_features"] = {
        "1": lane | {"polyline": line(0, 60), "exit_lanes": [2], "entry_lanes": []},
        "2": lane | {"polyline": line(60.2, 90), "exit_lanes": [], "entry_lanes": [1]},
        "3": {"type": "STOP_SIGN", "lane": [2], "position": np.array([x + 80, y - 5, 3.0])},
        "4": {"type": "CROSSWALK", "polygon": line(0, 10)},
        "5": {"type": "ROAD_EDGE_BOUNDARY", "polyline": line(0, 60)},
        "6": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": line(0, 60)},
        "7": {"type": "DRIVEWAY", "polygon": line(0, 10)}, "8": {"type": "LANE_BIKE_LANE", "polyline": line(0, 60)},
    }  # fmt: skip
    scene["dynamic_map_states"] = {"2": {
        "lane": 2, "stop_point": np.array([x + 61.0, y, 1.0]), "state": {"object_state": ["LANE_STATE_STOP"] * 30},
    }}  # fmt: skip
    return scene


def _judge_import(judge: Judge, source: Path, read: Reader, folder: Path) -> None:
    """Import one source; a pack is there and can be read, or there is nothing."""
    output = folder / "packs" / "pack.h5"
    shutil.rmtree(output.parent, ignore_errors=True)

    def attempt() -> None:
        import_logs([source], read, output)
        with ScenePack(output) as pack:
            for scene in pack:
                scene.validate()

    accepted = judge(attempt, source)
    left = [one.name for one in output.parent.iterdir()] if output.parent.is_dir() else []
    assert left == (["pack.h5"] if accepted else [])


def _content(
    scene: Any, changes: list[tree_changes.TreeChange] | ByteDamage, written: Callable[[Any], bytes]
) -> bytes:
    if isinstance(changes, ByteDamage):
        return changes.applied(written(scene))
    return written(tree_changes.changed(scene, changes))


WOMD = _womd_scene()
SCENARIONET = {"nuscenes": _plain(test_nuscenes.make_scene()), "waymo": _plain(_waymo_scene())}
Changes = tree_changes.tree_changes() | tree_changes.tree_changes() | byte_damage()


@given(changes=Changes, packed=st.booleans())
def test_womd(
    changes: list[tree_changes.TreeChange] | ByteDamage, packed: bool, judge: Judge, tmp_path: Path
) -> None:
    path = tmp_path / "scene.json"
    content = _content(WOMD, changes, lambda scene: json.dumps(scene).encode())
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    _judge_import(judge, path, read_womd, tmp_path)


@pytest.mark.parametrize("dataset", list(SCENARIONET))
@given(changes=Changes)
def test_scenarionet(
    dataset: str, changes: list[tree_changes.TreeChange] | ByteDamage, judge: Judge, tmp_path: Path
) -> None:
    path = tmp_path / "scene.pkl"
    content = _content(SCENARIONET[dataset], changes, lambda one: pickle.dumps(_as_pickled(one)))
    path.write_bytes(content)
    _judge_import(judge, path, read_scenarionet, tmp_path)


@pytest.fixture(scope="module")
def av2_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = test_av2.write_log(tmp_path_factory.mktemp("av2") / "log")
    (path,) = (folder / "map").iterdir()
    contents = json.loads(path.read_text())
    lanes = contents["lane_segments"]
    contents["pedestrian_crossings"] = {"9": {
        "id": 9, "edge1": lanes["1"]["left_lane_boundary"][:2], "edge2": lanes["2"]["left_lane_boundary"][:2],
    }}  # fmt: skip
    path.write_text(json.dumps(contents))
    return folder


@given(
    name=st.sampled_from(["annotations.feather", "city_SE3_egovehicle.feather", "map"]),
    tree=tree_changes.tree_changes(), table=table_changes.table_changes(), damage=st.none() | st.none() | byte_damage(),
)  # fmt: skip
def test_argoverse2(
    name: str, tree: list[tree_changes.TreeChange], table: list[table_changes.TableChange], damage: ByteDamage | None,
    judge: Judge, av2_log: Path, tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / "log"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(av2_log, folder)
    path = next((folder / "map").iterdir()) if name == "map" else folder / name
    if damage is not None:
        path.write_bytes(damage.applied(path.read_bytes()))
    elif name == "map":
        path.write_text(json.dumps(tree_changes.changed(json.loads(path.read_text()), tree)))
    else:
        columns = table_changes.changed(pyarrow.feather.read_table(path).to_pydict(), table)
        arrays = {column: _array(values) for column, values in columns.items()}
        pyarrow.feather.write_feather(pyarrow.table(arrays), path)
    _judge_import(judge, folder, read_av2, tmp_path)


def _array(values: list[Any]) -> pyarrow.Array:
    """A column; of text where its values are of several types."""
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
        return pyarrow.array([str(value) for value in values])


@pytest.fixture(scope="module")
def pack_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    (folder / "scene.json").write_text(json.dumps(WOMD))
    import_logs([folder / "scene.json"], read_womd, folder / "pack.h5")
    return folder / "pack.h5"


@given(changes=hdf5_changes.hdf5_changes() | byte_damage())
def test_scene_packs(
    changes: list[hdf5_changes.Hdf5Change] | ByteDamage, judge: Judge, pack_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mutant.h5"
    shutil.copy(pack_file, path)
    hdf5_changes.change(path, changes)

    def read() -> None:
        with ScenePack(path) as pack:
            for scene in pack:
                scene.validate()

    judge(read, path)
