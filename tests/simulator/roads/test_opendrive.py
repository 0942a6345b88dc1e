"""OpenDRIVE files become connected road maps; damaged ones are refused with a message that names the file."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import shapely

from simulator import __main__ as command
from simulator.roads.drivable_area import drivable_area, small_islands
from simulator.roads.lane_geometry import resample_lane
from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import find_source, import_town, known_towns
from simulator.roads.stop_lines import derive_stop_lines, phase_groups

STRAIGHT = Path(__file__).parents[1] / "straight_road.xodr"


@pytest.fixture(scope="module", params=["Town02", "Town03", "Town07", "Town10HD"])
def town(request: pytest.FixtureRequest) -> RoadMap:
    return load_maps([request.param])[0]


def _broken(folder: Path, old: str, new: str) -> Path:
    text = STRAIGHT.read_text()
    assert old in text
    path = folder / "broken.xodr"
    path.write_text(text.replace(old, new))
    return path


# ---------------------------------------------------------------------------- what a good file becomes


def test_straight_road_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        road = import_town(STRAIGHT)
    assert "2 lanes without a speed limit, which get 13.9 m/s" in caplog.text
    assert road.name == "straight_road"
    assert road.num_lanes == 2
    np.testing.assert_allclose(road.lane_length_m, 50.0, atol=1e-4)
    np.testing.assert_allclose(road.lane_width_m, 3.5, atol=1e-4)
    np.testing.assert_allclose(road.lane_speed_limit_mps, 13.9)
    east = int(np.flatnonzero(np.cos(road.point_yaw[road.lane_start]) > 0)[0])
    centre = road.lane(east)
    np.testing.assert_allclose(
        centre[[0, -1]], [[0, -1.75, 0], [50, -1.75, 0]], atol=1e-4
    )  # keeps to the right
    west = road.lane(1 - east)
    np.testing.assert_allclose(west[[0, -1]], [[50, 1.75, 0], [0, 1.75, 0]], atol=1e-4)
    assert road.marking_type.tolist() == [MarkingType.DASHED_YELLOW]
    assert len(road.stop_line_yaw) == 0
    assert road.lane_left.tolist() == [-1, -1]  # the lane on the left comes the other way


def test_speed_limit_is_read(tmp_path: Path) -> None:
    path = _broken(tmp_path, 'type="town">', 'type="town"><speed max="36" unit="km/h"/>')
    np.testing.assert_allclose(import_town(path).lane_speed_limit_mps, 10.0)


def test_importing_twice_gives_the_same_map(tmp_path: Path) -> None:
    packed = tmp_path / "straight_road.xodr.gz"
    packed.write_bytes(gzip.compress(STRAIGHT.read_bytes()))
    first, second, third = import_town(STRAIGHT), import_town(STRAIGHT), import_town(packed)
    np.testing.assert_array_equal(first.point_xyz, second.point_xyz)
    np.testing.assert_array_equal(first.point_xyz, third.point_xyz)
    assert first.source_sha256 == second.source_sha256 != third.source_sha256


def test_short_lane_has_a_direction() -> None:
    """Lanes of a centimetre exist; where all points of a centreline coincide, yaw is perpendicular to the
    boundaries."""
    centre = np.array([[0.0, 0, 0], [0.01, 0, 0]])
    side = np.array([0.0, 2, 0])
    here, _, _, yaw = resample_lane(centre, centre + side, centre - side)
    assert here.shape == (2, 3)
    np.testing.assert_allclose(yaw, 0.0, atol=1e-9)
    place = np.zeros((2, 3))
    side = np.array([-2.0, 0, 0])
    _, _, _, yaw = resample_lane(place, place + side, place - side)
    np.testing.assert_allclose(yaw, np.pi / 2, atol=1e-9)


def test_resampling_keeps_a_quarter_circle() -> None:
    angle = np.linspace(0, np.pi / 2, 400)
    ray = np.stack([np.sin(angle), 1 - np.cos(angle), 0 * angle], axis=1)  # turns left around (0, 1)
    centre = [0, 20, 0] + (ray - [0, 1, 0]) * 20
    left = [0, 20, 0] + (ray - [0, 1, 0]) * 18
    right = [0, 20, 0] + (ray - [0, 1, 0]) * 22
    here, to_left, to_right, yaw = resample_lane(centre, left, right)
    radius = [np.linalg.norm(points[:, :2] - [0, 20], axis=1) for points in (here, to_left, to_right)]
    for found, expected in zip(radius, (20, 18, 22), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)
    stations = np.linspace(0, np.pi / 2, len(here))
    np.testing.assert_allclose(yaw[1:-1], stations[1:-1], atol=1e-3)


def test_every_lane_has_consistent_successors(town: RoadMap) -> None:
    assert (town.lane_successors[:, 0] >= 0).all()
    apart = []
    for lane, nexts in enumerate(town.lane_successors):
        end = town.lane(lane)[-1]
        for following in nexts[nexts >= 0]:
            assert lane in town.lane_predecessors[following]
            apart.append(float(np.linalg.norm(town.lane(following)[0] - end)))
    # Lanes also begin and end beside others, by links within one road: 14 of the 503 of Town03, up to 6 m across.
    assert np.sum(np.array(apart) > 0.1) <= 0.03 * len(apart)
    assert max(apart) < 6.1


def test_links_are_in_order(town: RoadMap) -> None:
    """The reader's own order changes between processes, and with it every random route would."""
    for links in (town.lane_successors, town.lane_predecessors):
        for row in links:
            found = row[row >= 0]
            assert (np.diff(found) > 0).all()
            assert (row[: len(found)] >= 0).all()


def test_neighbours_have_the_same_direction_and_are_mutual(town: RoadMap) -> None:
    for lane in range(town.num_lanes):
        right = town.lane_right[lane]
        if right >= 0:
            assert town.lane_left[right] == lane
            turn = town.point_yaw[town.lane_start[lane]] - town.point_yaw[town.lane_start[right]]
            assert np.cos(turn) > 0.5


def test_road_edges_are_the_border_of_the_drivable_area(town: RoadMap) -> None:
    border = drivable_area(town.pieces("drivable")).boundary
    edges = shapely.union_all([shapely.LineString(edge[:, :2]) for edge in town.pieces("edge")])
    assert border.intersection(shapely.buffer(edges, 0.3)).length > 0.999 * border.length
    # Some edges lie inside: kerbs of bridges over other roads, and tips of gores that closing seams has paved.
    assert edges.intersection(shapely.buffer(border, 0.3)).length > 0.97 * edges.length


def test_small_holes_are_road(town: RoadMap) -> None:
    assert not small_islands(town.pieces("drivable"))


def test_a_hole_between_two_levels_stays_open() -> None:
    """Four roads around a square of 5 x 5 m: it is road when all are level, and a hole when two of them are bridges."""

    def road(x: float, y: float, length: float, width: float, z: float) -> np.ndarray:
        ring = shapely.segmentize(shapely.box(x, y, x + length, y + width), 2.0)
        return np.pad(shapely.get_coordinates(ring)[:-1], ((0, 0), (0, 1)), constant_values=z)

    for bridge_z, paved in ((0.0, 1), (6.0, 0)):
        rings = [
            road(-20, -5, 45, 5, bridge_z),
            road(-20, 5, 45, 5, bridge_z),
            road(-5, -20, 5, 45, 0.0),
            road(5, -20, 5, 45, 0.0),
        ]
        assert len(small_islands(rings)) == paved


# ---------------------------------------------------------------------------- stop lines


def test_every_lane_into_a_lit_junction_has_one_line(town: RoadMap) -> None:
    lit = len(town.junction_groups)
    lights = town.stop_line_kind == StopKind.TRAFFIC_LIGHT
    assert lights.sum() > 0
    for lane in np.flatnonzero((town.lane_junction >= 0) & (town.lane_junction < lit)):
        for before in town.lane_predecessors[lane]:
            if before < 0 or town.lane_junction[before] == town.lane_junction[lane]:
                continue
            end = town.lane(before)[-1]
            lines = town.stop_line_xyz[lights & (town.stop_line_junction == town.lane_junction[lane])]
            first, along = lines[:, 0], lines[:, 1] - lines[:, 0]
            share = np.sum((end - first) * along, axis=1) / np.sum(along**2, axis=1)
            apart = np.linalg.norm(first + np.clip(share, 0, 1)[:, None] * along - end, axis=1)
            assert (apart < 0.3).sum() == 1


def test_stop_lines_run_from_left_to_right_of_the_direction_of_travel(town: RoadMap) -> None:
    across = town.stop_line_xyz[:, 0, :2] - town.stop_line_xyz[:, 1, :2]
    left = np.stack([-np.sin(town.stop_line_yaw), np.cos(town.stop_line_yaw)], axis=1)
    width = np.linalg.norm(across, axis=1)
    assert (np.sum(across * left, axis=1) > 0.9 * width).all()
    assert (width > 2.5).all()
    assert (width < 15.0).all()


def test_opposing_approaches_share_a_phase(town: RoadMap) -> None:
    for junction in range(len(town.junction_groups)):
        here = np.flatnonzero(town.stop_line_junction == junction)
        groups = town.stop_line_group[here]
        assert set(groups) == set(range(town.junction_groups[junction]))
        apart = np.abs(np.sin(town.stop_line_yaw[here][:, None] - town.stop_line_yaw[here][None]))
        together = groups[:, None] == groups[None]
        assert apart[together].max() < np.sin(np.deg2rad(45)) + 1e-6
        if not together.all():
            assert apart[~together].min() > np.sin(np.deg2rad(40))


@pytest.mark.parametrize("turn", np.linspace(0, 2 * np.pi, 9))
def test_phase_groups_do_not_depend_on_north(turn: float) -> None:
    crossing = np.array([0.0, np.pi / 2, np.pi, -np.pi / 2])
    skewed = np.deg2rad([0.0, 170.0, 75.0])
    assert phase_groups(crossing + turn).tolist() == [0, 1, 0, 1]
    assert phase_groups(skewed + turn).tolist() == [0, 0, 1]


def _lane(start: tuple[float, float], end: tuple[float, float], width: float = 3.0) -> tuple:
    """A straight lane as resample_lane gives it."""
    centre = np.linspace([*start, 0.0], [*end, 0.0], 5)
    forward = (centre[-1] - centre[0]) / np.linalg.norm(centre[-1] - centre[0])
    left = np.array([-forward[1], forward[0], 0.0]) * width / 2
    return resample_lane(centre, centre + left, centre - left)


def test_one_line_spans_the_lanes_of_an_approach() -> None:
    """Two lanes going east into a junction, one going north without a light in the file, a sign elsewhere."""
    stations = [
        _lane((-50, 1.5), (-10, 1.5)),  # 0 left approach lane
        _lane((-50, -1.5), (-10, -1.5)),  # 1 right approach lane
        _lane((-10, 1.5), (0, 1.5)),  # 2, 3 inside the junction, named by the signal
        _lane((-10, -1.5), (0, -1.5)),
        _lane((0, -1.5), (10, -1.5)),  # 4 inside, further on, named as well
        _lane((0, -40), (0, -10)),  # 5 approach from the south, not lit in the file
        _lane((0, -10), (0, 10)),  # 6 its way through
        _lane((80, 0), (100, 0)),  # 7 approach to a stop sign
        _lane((100, 0), (110, 0)),  # 8 the other junction
    ]
    junction = [None, None, "a", "a", "a", None, "a", None, "b"]
    before: list[list[int]] = [[], [], [0], [1], [3], [], [5], [], [7]]
    lines, lane_junction = derive_stop_lines(
        stations,
        junction,
        before,
        [(StopKind.STOP_SIGN, [8]), (StopKind.TRAFFIC_LIGHT, [2, 3, 4])],
    )
    assert lane_junction.tolist() == [-1, -1, 0, 0, 0, -1, 0, -1, 1]  # lit junctions come first
    np.testing.assert_allclose(lines["stop_line_xyz"][0], [[-10, 3, 0], [-10, -3, 0]], atol=1e-6)
    np.testing.assert_allclose(lines["stop_line_xyz"][1], [[-1.5, -10, 0], [1.5, -10, 0]], atol=1e-6)
    np.testing.assert_allclose(lines["stop_line_xyz"][2], [[100, 1.5, 0], [100, -1.5, 0]], atol=1e-6)
    assert lines["stop_line_kind"].tolist() == [StopKind.TRAFFIC_LIGHT] * 2 + [StopKind.STOP_SIGN]
    assert lines["stop_line_junction"].tolist() == [0, 0, -1]
    assert lines["stop_line_group"].tolist() == [0, 1, 0]
    assert lines["junction_groups"].tolist() == [2]
    np.testing.assert_allclose(lines["stop_line_yaw"], [0, np.pi / 2, 0], atol=1e-6)


# ---------------------------------------------------------------------------- refusals


def test_unknown_town_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"map 'Town99' is unknown; expected one of Town01, Town02"):
        find_source("Town99")
    assert {"Town01", "Town10HD"} <= set(known_towns())


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"road\.xodr: no such OpenDRIVE file"):
        import_town(tmp_path / "road.xodr")


def test_corrupt_files_are_refused(tmp_path: Path) -> None:
    whole = known_towns()["Town02"].read_bytes()
    cases = {
        "cut.xodr.gz": whole[: len(whole) // 2],
        "flipped.xodr.gz": whole[:2000] + bytes(200) + whole[2200:],
        "cut.xodr": gzip.decompress(whole)[:50_000],
        "words.xodr": b"not a map at all",
        "empty.xodr": b"",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"{name}: not a readable OpenDRIVE map \(.*\); expected an intact"
        ):
            import_town(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('type="driving"', 'type="sidewalk"', "no driving lanes; expected"),
        ('x="0.0" y="0.0"', 'x="nan" y="0.0"', "broken.xodr: .*; expected"),
        ('x="0.0" y="0.0"', 'x="here" y="0.0"', r"road 0, geometry 1: x is 'here'; expected a finite number"),
        ('length="50.0" id="0"', 'length="nan" id="0"', r"length is 'nan'; expected a finite number"),
    ],
)
def test_invalid_roads_are_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        import_town(_broken(tmp_path, old, new))


# ---------------------------------------------------------------------------- the command


def test_command_imports_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "packs" / "road.h5"
    assert command.main(["opendrive", "--input", str(STRAIGHT), "--output", str(pack)]) == 0
    assert command.main(["check", str(pack)]) == 0
    shown = capsys.readouterr().out
    assert "straight_road" in shown
    assert "2 lanes, 0.1 km" in shown
    assert sorted(path.name for path in pack.parent.iterdir()) == ["road.h5", "road.png"]


def test_command_checks_towns_by_name_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["check", "Town02"]) == 0
    assert command.main(["check", str(STRAIGHT), "--picture", "deep/road.png"]) == 0
    shown = capsys.readouterr().out
    assert "88 lanes, 2.9 km" in shown
    assert "2 lanes, 0.1 km" in shown
    assert (tmp_path / "Town02.png").is_file()
    assert (tmp_path / "deep" / "road.png").is_file()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.h5", None, r"none\.h5: no such file"),
        ("folder/none", None, r"folder/none: no such file"),
        ("none.xodr", None, r"none\.xodr: no such OpenDRIVE file"),
        ("Atlantis", None, r"map 'Atlantis' is unknown; expected one of Town01"),
        ("text.h5", b"not a pack", r"text\.h5: is not an HDF5 file; expected"),
        ("notes", b"not a pack", r"notes: is not an HDF5 file"),
        ("half.xodr", b"<OpenDRIVE><road", r"half\.xodr: not a readable OpenDRIVE map"),
    ],
)
def test_command_refuses_files_that_hold_no_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        command.main(["check", name])
    assert not list(tmp_path.glob("*.png"))


def test_command_refuses_truncated_and_other_packs(tmp_path: Path) -> None:
    pack = tmp_path / "road.h5"
    import_town(STRAIGHT).save(pack)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(pack.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.h5: truncated or damaged file"):
        command.main(["check", str(cut)])
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file.attrs["format"] = "somebody's grid"
    with pytest.raises(ValueError, match=r"foreign\.h5: attribute format is \"somebody's grid\"; expected"):
        command.main(["check", str(foreign)])
    with pytest.raises(ValueError, match=r"--picture road\.jpg must end in \.png"):
        command.main(["check", str(pack), "--picture", "road.jpg"])


def test_command_leaves_nothing_behind_when_it_refuses(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    with pytest.raises(ValueError, match="no driving lanes"):
        command.main(
            ["opendrive", "--input", str(_broken(tmp_path, "driving", "border")), "--output", str(output)]
        )
    with pytest.raises(ValueError, match="must end in"):
        command.main(["towns", "--input", "Town02", "--output", str(tmp_path / "out.zip")])
    assert [path.name for path in tmp_path.iterdir()] == ["broken.xodr"]
