"""ScenarioNet's pickles: only plain data is unpickled; faults of nuScenes are corrected and counted."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.conventions import CAR, CYCLIST, GREEN, OFF, PEDESTRIAN, RED, TRUCK, YELLOW
from simulator.logs.readers.nuscenes import EGO_CENTRE_M
from simulator.logs.readers.safe_pickle import load_plain_pickle
from simulator.logs.readers.scenarionet import read_scenarionet, scenarionet_files
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import PARKED_M, repair_counts
from simulator.roads.road_map import StopKind

STEPS = 30
CENTRE = np.array([600.0, 1600.0])


def track(
    category: str, x: float, y: float, speed: float, size: tuple[float, float, float]
) -> dict[str, Any]:
    along = x + speed * 0.1 * np.arange(STEPS)
    position = np.stack([CENTRE[0] + along, np.full(STEPS, CENTRE[1] + y), np.full(STEPS, 3.0)], axis=1)
    kind = "PEDESTRIAN" if category.startswith("human") else "VEHICLE"
    state = {
        "position": position, "heading": np.zeros(STEPS), "velocity": np.tile([speed, 0.0], (STEPS, 1)),
        "valid": np.ones(STEPS),
    }  # fmt: skip
    state |= {
        name: np.full((STEPS, 1), side)
        for name, side in zip(("length", "width", "height"), size, strict=True)
    }
    return {"type": kind, "state": state, "metadata": {"type": category}}


def make_scene() -> dict[str, Any]:
    """One lane of 60 m with its surface, a connector of 20 m, and the outline of a square with a hole."""

    def line(xy: list[tuple[float, float]]) -> list[tuple[float, ...]]:
        fine = np.stack([np.linspace(xy[0][k], xy[1][k], 61) for k in (0, 1)], axis=1) + CENTRE
        return [(*place, 0.3) for place in fine.tolist()]  # the third column is a heading, not a height

    def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]) + CENTRE
        return corners.tolist()

    features = {
        "lane": {
            "type": "LANE_SURFACE_STREET",
            "polyline": line([(0, 0), (60, 0)]),
            "polygon": ring(0, -2, 60, 2),
        },
        "connector": {
            "type": "LANE_SURFACE_STREET",
            "polyline": line([(60, 0), (80, 0)]),
            "speed_limit_kmh": 100,
        },
        "paint": {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW", "polyline": line([(0, 2), (60, 2)])},
        "boundary_0": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": np.array(ring(-5, -20, 85, 20))},
        "boundary_1": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": np.array(ring(20, 6, 40, 16))},
    }
    tracks = {
        "ego": track("vehicle.car", 5, 0, 8.0, (1.73, 4.08, 1.56)),
        "bus": track("vehicle.bus.rigid", 40, 0, 0.0, (11.0, 2.9, 3.5)),
        "walker": track("human.pedestrian.adult", 30, -8, 1.0, (0.7, 0.7, 1.8)),
        "bike": track("vehicle.bicycle", 10, -4, 3.0, (1.7, 0.6, 1.4)),
        "cone": track("movable_object.trafficcone", 20, 5, 0.0, (0.4, 0.4, 0.8)) | {"type": "TRAFFIC_CONE"},
    }
    metadata = {"dataset": "nuscenes", "ts": np.arange(STEPS) * 0.1, "sdc_id": "ego"}
    return {"id": "scene-1", "version": "v", "length": STEPS, "metadata": metadata, "tracks": tracks,
            "map_features": features, "dynamic_map_states": {}}  # fmt: skip


def imported(scene: dict[str, Any], folder: Path, name: str = "s.pkl") -> LoggedScene:
    (folder / name).write_bytes(pickle.dumps(scene))
    return read_scenarionet(folder / name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LoggedScene:
    return imported(make_scene(), tmp_path_factory.mktemp("nuscenes"))


def test_the_size_and_position_of_the_ego_are_corrected(scene: LoggedScene) -> None:
    log = scene.log
    assert log.track_ids[log.ego_track] == "ego"
    np.testing.assert_allclose(log.size[log.ego_track], [4.08, 1.73, 1.56], rtol=1e-6)
    place = log.position[log.ego_track, 0, :2] + log.origin[:2]
    np.testing.assert_allclose(place, CENTRE + np.array([5 + EGO_CENTRE_M, 0]), atol=1e-3)
    repairs = repair_counts(log)
    assert repairs["length and width changed places"] == 1
    assert repairs["self-driving car moved from its rear axle to its middle"] == 1


def test_kinds_and_heights(scene: LoggedScene) -> None:
    log = scene.log
    assert dict(zip(log.track_ids.tolist(), log.kind.tolist(), strict=True)) == {
        "ego": CAR, "bus": TRUCK, "walker": PEDESTRIAN, "bike": CYCLIST
    }  # fmt: skip
    assert repair_counts(log)["objects that are no road users left out"] == 1
    assert (log.position[..., 2] == 0).all()
    assert repair_counts(log)["boxes put on the flat map"] == 4


def test_the_road(scene: LoggedScene) -> None:
    import shapely

    from simulator.roads.drivable_area import drivable_area

    road_map = scene.road_map
    assert road_map.lane_successors[:, 0].tolist() == [1, -1]
    np.testing.assert_allclose(road_map.lane_width_m, 4.0, atol=0.05)  # the connector is as wide as its lane
    np.testing.assert_allclose(road_map.lane_speed_limit_mps, 13.9)  # never the placeholder of 100 km/h
    assert (road_map.point_xyz[:, 2] == 0).all()
    assert road_map.marking_type.tolist() == [3]  # outlines are no paint
    area = drivable_area(road_map.pieces("drivable"))
    assert area.area == pytest.approx(90 * 40 - 20 * 10, rel=0.01)
    hole = shapely.Point(CENTRE + np.array([30, 11]) - scene.log.origin[:2])
    assert area.distance(hole) == pytest.approx(5.0, abs=0.1)


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("echo this must never run > /dev/null",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (_Evil(), "posix.system"),
        (Path("x"), "pathlib"),
        ({"a": [eval]}, "builtins.eval"),
        (slice(1), "builtins.slice"),
    ],
)
def test_pickles_that_name_other_things_are_refused(tmp_path: Path, content: object, name: str) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"s\.pkl: names {name}.*; expected nothing but numpy arrays"):
        read_scenarionet(tmp_path / "s.pkl")


def test_plain_pickles_of_every_protocol_are_read(tmp_path: Path) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        content = {"a": np.arange(3.0), "b": [np.float32(2.5), ("x", 1)], "c": {1, 2}}
        (tmp_path / "s.pkl.gz").write_bytes(gzip.compress(pickle.dumps(content, protocol)))
        found = load_plain_pickle(tmp_path / "s.pkl.gz")
        np.testing.assert_array_equal(found["a"], content["a"])
        assert found["b"] == content["b"]
        assert found["c"] == content["c"]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("name", ["s.pkl", "s.pkl.gz"])
def test_truncated_pickles_are_refused(tmp_path: Path, name: str, share: float) -> None:
    whole = pickle.dumps(make_scene())
    whole = gzip.compress(whole) if name.endswith("gz") else whole
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"truncated or damaged pickle"):
        read_scenarionet(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("tracks"), "tracks is missing or empty; expected a dictionary"),
        (
            lambda s: s["metadata"].update(dataset="kitti"),
            "metadata.dataset is 'kitti'; expected 'nuscenes' or",
        ),
        (lambda s: s["metadata"].update(ts=np.arange(STEPS) ** 2 * 0.1), "metadata.ts has steps of 0.100 to"),
        (
            lambda s: s["tracks"]["bus"]["state"].update(heading=np.zeros(4)),
            r"heading has shape \(4,\); expected \(30,",
        ),
        (
            lambda s: s["tracks"].update(van={"type": "VEHICLE"}),
            r"tracks\['van'\].state is missing; expected a dictionary of arrays",
        ),
        (
            lambda s: s["tracks"]["bus"].update(
                state={k: v[:9] for k, v in s["tracks"]["bus"]["state"].items()}
            ),
            "tracks hold 9 to 30 states each; expected equally many",
        ),
        (
            lambda s: s["map_features"]["lane"].update(polyline=[1, 2]),
            r"map_features\['lane'\] has points of shape \(2,\)",
        ),
        (
            lambda s: s["map_features"].update(lane=None),
            r"map_features\['lane'\] is a NoneType; expected a dict",
        ),
        (
            lambda s: s["map_features"]["lane"].update(polyline="x"),
            r"map_features\['lane'\] is not a list of points",
        ),
        (lambda s: s["tracks"].update(bus=None), r"tracks\['bus'\] is a NoneType; expected a dictionary"),
        (
            lambda s: s["tracks"]["bus"]["state"].update(heading=["a"] * STEPS),
            r"tracks\['bus'\].state.heading is no array of numbers",
        ),
        (
            lambda s: s["metadata"].update(ts=np.arange(40) * 0.1),
            "metadata.ts has 40 entries; expected 30, one per",
        ),
        (
            lambda s: s["metadata"].update(ts=None),
            "metadata.ts holds 1 time stamps; expected at least 2 finite ones",
        ),
        (lambda s: s["metadata"].update(ts=np.arange(STEPS) * 1e-12), "metadata.ts fits no unit"),
        (
            lambda s: s["metadata"].update(ts=np.arange(STEPS) * 1.0),
            "metadata.ts has steps of 1 s, but tracks cover 0.10 of speed times time; expected 0.67 to 1.5",
        ),
    ],
)
def test_broken_scenes_are_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    source = make_scene()
    change(source)
    with pytest.raises(ValueError, match=rf"s\.pkl: .*{sentence}"):
        imported(source, tmp_path)


@pytest.mark.parametrize(("unit", "ticks"), [("s", 0.1), ("ms", 100), ("us", 100_000), ("ns", 100_000_000)])
@pytest.mark.parametrize("epoch_s", [0, 1_600_000_000])
def test_time_stamps_are_read_in_any_unit_and_it_is_said(
    tmp_path: Path, unit: str, ticks: float, epoch_s: int
) -> None:
    source = make_scene()
    source["metadata"]["ts"] = 10 * epoch_s * ticks + ticks * np.arange(STEPS)
    scene = imported(source, tmp_path)
    assert scene.log.timestep_s == 0.1
    assert scene.remarks == {f"time stamps of metadata.ts are in {unit}": 1}
    corrected = f"time stamps of metadata.ts taken as {unit}, not s, by their spacing"
    assert (corrected in repair_counts(scene.log)) == (unit != "s")


def test_features_without_points_are_left_out(tmp_path: Path) -> None:
    source = make_scene()
    features = source["map_features"]
    point = features["paint"]["polyline"][0]
    features |= {
        "no lane": {"type": "LANE_SURFACE_STREET", "polyline": None},
        "empty lane": {"type": "LANE_SURFACE_STREET", "polyline": []},
        "one point": {"type": "LANE_SURFACE_STREET", "polyline": [point]},
        "no surface": features["connector"] | {"polygon": [point[:2]]},
        "broken paint": {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW", "polyline": [None, (np.nan, 0.0, 0.0)]},
        "pavement": {"type": "SIDEWALK", "polygon": [point]},
    }
    scene = imported(source, tmp_path)
    assert scene.road_map.lane_ids.tolist() == ["lane", "connector", "no surface"]
    assert len(scene.road_map.marking_start) == 1
    repairs = repair_counts(scene.log)
    assert repairs["map features without points left out"] == 3
    assert repairs["map points with NaN left out"] == 2
    assert repairs["lanes without length left out"] == 1
    assert repairs["surfaces of lanes without enough points left out"] == 1
    assert scene.remarks["map features of kind 'SIDEWALK' left out"] == 1


def test_headings_in_degrees_move_the_ego_the_right_way(tmp_path: Path, scene: LoggedScene) -> None:
    source = make_scene()
    for item in source["tracks"].values():
        item["state"]["heading"] = item["state"]["heading"] + 360.0
    log = imported(source, tmp_path).log
    np.testing.assert_allclose(log.position[log.ego_track], scene.log.position[log.ego_track], atol=1e-4)


def test_scenes_are_found_in_a_database_of_scenarionet(tmp_path: Path) -> None:
    (tmp_path / "database_0").mkdir()
    for name in ("dataset_summary.pkl", "dataset_mapping.pkl", "database_0/dataset_summary.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps({}))
    for name in ("b.pkl.gz", "database_0/a.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(make_scene()))
    found = scenarionet_files(tmp_path)
    assert [path.name for path in found] == ["b.pkl.gz", "a.pkl"]
    assert [read_scenarionet(path).log.name for path in found] == ["scene-1"] * 2  # not compressed, as named


def test_waymo_scenes_in_the_same_format(tmp_path: Path) -> None:
    """Links, limits and lights come from the file; a light without a state is off; heights are kept."""
    source = make_scene()
    source["metadata"] |= {"dataset": "waymo", "sdc_id": "ego"}

    def line(x0: float, x1: float, z: float) -> np.ndarray:
        along = np.linspace(x0, x1, 81)
        return np.stack([CENTRE[0] + along, np.full(81, CENTRE[1]), np.full(81, z)], axis=1)

    lane = {"type": "LANE_FREEWAY", "speed_limit_mph": 40.0, "left_neighbor": [], "right_neighbor": []}
    source["map_features"] = {
        "1": lane | {"polyline": line(0, 60, 1.0), "exit_lanes": [2], "entry_lanes": []},
        "2": lane | {"polyline": line(60.2, 90, 1.0), "exit_lanes": [], "entry_lanes": [1]},
        "3": {"type": "STOP_SIGN", "lane": [2], "position": np.array([CENTRE[0] + 80, CENTRE[1] - 5, 3.0])},
    }
    states = ["LANE_STATE_STOP"] * 10 + ["LANE_STATE_CAUTION"] * 5 + [None] * 5 + ["LANE_STATE_ARROW_GO"] * 10
    source["dynamic_map_states"] = {
        "2": {
            "lane": 2,
            "stop_point": np.array([CENTRE[0] + 61.0, CENTRE[1], 1.0]),
            "state": {"object_state": states},
        }
    }
    for item in source["tracks"].values():
        item["state"]["position"][:, 2] = 1.0 + item["state"]["height"][:, 0] / 2
    scene = imported(source, tmp_path)
    road_map, log = scene.road_map, scene.log
    assert road_map.lane_successors[:, 0].tolist() == [1, -1]
    np.testing.assert_allclose(road_map.lane_speed_limit_mps, 40 * 0.44704)
    np.testing.assert_allclose(log.position[..., 2] + log.origin[2], 1.0, atol=1e-5)
    assert road_map.stop_line_kind.tolist() == [StopKind.TRAFFIC_LIGHT, StopKind.STOP_SIGN]
    middles = road_map.stop_line_xyz.mean(axis=1)[:, 0] + log.origin[0] - CENTRE[0]
    np.testing.assert_allclose(middles, [61, 80], atol=1.1)
    assert log.light_state[0].tolist() == [RED] * 10 + [YELLOW] * 5 + [OFF] * 5 + [GREEN] * 10
    assert log.source == "womd"
    for lights, sentence in (
        ([1], "dynamic_map_states is a list; expected a dictionary of lights"),
        ({"2": None}, r"dynamic_map_states\['2'\] has no state.object_state; expected a light"),
        (
            {"2": {"lane": 2, "state": {"object_state": None}}},
            r"dynamic_map_states\['2'\] has no state.object_state",
        ),
    ):
        with pytest.raises(ValueError, match=rf"s\.pkl: {sentence}"):
            imported(source | {"dynamic_map_states": lights}, tmp_path)


@pytest.fixture(scope="module")
def logs_folder() -> Path:
    data = os.environ.get("GIGAPIXEL_DATA")
    if not data or not (Path(data) / "logs" / "nuscenes_scenarionet").is_dir():
        pytest.skip(
            "nuScenes logs are read from the folder in GIGAPIXEL_DATA, which has no logs/nuscenes_scenarionet"
        )
    return Path(data) / "logs"


def test_the_ego_agrees_with_its_odometry(logs_folder: Path) -> None:
    """Against the CAN bus of the same scene, which ScenarioNet does not use: rear axle, heading and speed."""
    scene = read_scenarionet(next((logs_folder / "nuscenes_scenarionet").glob("*scene-0103.pkl.gz")))
    poses = json.loads(
        gzip.decompress((logs_folder / "nuscenes_can_bus" / "scene-0103_pose.json.gz").read_bytes())
    )
    log = scene.log
    row = log.ego_track
    place = log.position[row, :, :2] + log.origin[:2]
    ahead = np.stack([np.cos(log.yaw[row]), np.sin(log.yaw[row])], axis=1)
    axle = place - EGO_CENTRE_M * ahead
    driven = np.array([pose["pos"][:2] for pose in poses])
    apart = np.linalg.norm(axle[:, None] - driven[None], axis=2)
    assert apart.min(axis=1).max() < 0.5  # on the path
    nearest = apart.argmin(axis=1)
    speeds = np.array([np.hypot(*pose["vel"][:2]) for pose in poses])[nearest]
    off = np.abs(
        log.speed[row] - speeds
    )  # poses were taken at sweeps that are up to half a step early or late
    assert np.median(off) < 0.2
    assert np.mean(off < 0.8) > 0.97
    assert 15 < np.ptp(np.array([pose["utime"] for pose in poses])[nearest]) / 1e6 < 25


def test_a_real_scene_agrees_with_its_pickle(logs_folder: Path) -> None:
    path = next((logs_folder / "nuscenes_scenarionet").glob("*scene-0757.pkl.gz"))
    contents, log = load_plain_pickle(path), read_scenarionet(path).log
    left_out = sum(
        name["type"] in ("TRAFFIC_CONE", "TRAFFIC_BARRIER") for name in contents["tracks"].values()
    )
    cut = repair_counts(log).get("tracks cut at a jump", 0)
    assert abs(log.num_tracks - (len(contents["tracks"]) - left_out)) <= cut
    for row, name in enumerate(log.track_ids.tolist()):
        if name in contents["tracks"] and row != log.ego_track:
            state = contents["tracks"][name]["state"]
            seen = log.valid[row]
            found = log.position[row, seen, :2] + log.origin[:2]
            stands = np.ptp(found, axis=0).max() == 0.0  # put at its median place
            np.testing.assert_allclose(found, state["position"][seen, :2], atol=PARKED_M if stands else 1e-3)
            turn = np.cos(log.yaw[row, seen] - state["heading"][seen])
            np.testing.assert_allclose(turn, 1.0, atol=0.02 if stands else 1e-5)
