"""Small OpenDRIVE files of many kinds become the right map: `stadium` is a ring of four two-lane roads, `theta` the
same with a cross street and two junctions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.roads.opendrive.import_map import read_opendrive
from simulator.roads.opendrive.import_report import ImportReport
from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from simulator.roads.sources.opendrive import import_town

CASES = Path(__file__).parent / "opendrive_cases"


def _read(name: str) -> RoadMap:
    return import_town(CASES / f"{name}.xodr")


def _report(path: Path) -> ImportReport:
    return read_opendrive(path, "0" * 64, "test")[1]


def _changed(folder: Path, name: str, *pairs: tuple[str, str]) -> Path:
    """A copy of a case with text replaced, each at least once."""
    text = (CASES / f"{name}.xodr").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.xodr"
    path.write_text(text)
    return path


def _links(road: RoadMap) -> int:
    return int((road.lane_successors >= 0).sum())


@pytest.mark.parametrize(
    ("name", "lanes", "links"),
    [
        ("stadium", 8, 8), ("theta", 26, 32), ("bare", 8, 8), ("no_elevation", 8, 8), ("words", 26, 32),
        ("lane_without_width", 8, 8), ("tree_without_heading", 8, 8), ("only_in_the_junction", 26, 32),
        ("joint_off_by_15_cm", 8, 8), ("arc_without_curvature", 8, 8), ("longer_than_plan", 8, 8),
        ("cul_de_sac", 18, 20), ("utm", 8, 8), ("two_sections", 24, 24),
    ],
)  # fmt: skip
def test_lanes_and_links(name: str, lanes: int, links: int) -> None:
    road = _read(name)
    assert (road.num_lanes, _links(road)) == (lanes, links)
    np.testing.assert_allclose(road.lane_width_m, 3.5, atol=1e-3)
    dead_ends = int((road.lane_successors[:, 0] < 0).sum())
    assert dead_ends == (1 if name == "cul_de_sac" else 0)


def test_a_slope_with_two_sections_is_level_across_and_continuous() -> None:
    road = _read("two_sections")
    mine = [lane for lane in range(road.num_lanes) if str(road.lane_ids[lane]).startswith("1_")]
    for lane in mine:
        rows = slice(road.lane_start[lane], road.lane_start[lane] + road.lane_count[lane])
        for line in (road.point_left_xyz[rows], road.point_right_xyz[rows], road.point_xyz[rows]):
            np.testing.assert_allclose(line[:, 2], 0.05 * line[:, 0], atol=1e-4)


def test_objects_count_from_the_reference_line_not_from_the_lane_offset() -> None:
    (ring,) = _read("shifted").pieces("crosswalk")
    np.testing.assert_allclose([ring.min(0), ring.max(0)], [[38.5, 0, 0], [41.5, 7, 0]], atol=1e-4)
    (ring,) = _read("crosswalk_outlines").pieces("crosswalk")
    np.testing.assert_allclose([ring.min(0), ring.max(0)], [[38, -3.5, 0], [42, 3.5, 0]], atol=1e-4)


def test_paint_is_what_the_file_says_along_the_road() -> None:
    assert len(_read("none").marking_type) == 0
    road = _read("change_along_the_road")
    dashed = (MarkingType.DASHED_WHITE, MarkingType.DASHED_YELLOW)
    assert len(road.marking_type) == 6  # three borders, two patterns each
    for line, kind in zip(road.pieces("marking"), road.marking_type, strict=True):
        expected = [20, 80] if kind in dashed else [0, 20]
        np.testing.assert_allclose([line[:, 0].min(), line[:, 0].max()], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "curb", "grass", "edge", "a mark of tomorrow"])
def test_marks_without_paint_are_not_painted(tmp_path: Path, kind: str) -> None:
    path = _changed(tmp_path, "stadium", ('type="solid"', f'type="{kind}"'))
    road, report = read_opendrive(path, "0" * 64, "test")
    assert set(road.marking_type.tolist()) == {MarkingType.DASHED_YELLOW}
    said = any("road marks" in name for name in report.left_out)
    assert said == (kind in ("grass", "a mark of tomorrow"))


def test_lines_of_one_mark_lie_beside_each_other(tmp_path: Path) -> None:
    mark = 'type="broken" weight="standard" color="yellow" width="0.12" laneChange="both"/>'
    lines = '<type name="two" width="0.1"><line length="3" space="6" tOffset="0.2" sOffset="0" width="0.1"/>'
    lines += '<line length="0" space="0" tOffset="-0.2" sOffset="0" width="0.1"/></type></roadMark>'
    path = _changed(tmp_path, "stadium", (mark, mark.replace("/>", f">{lines}")))
    road = import_town(path)
    first = [line for line in road.pieces("marking") if np.ptp(line[:, 0]) > 79 and abs(line[0, 1]) < 1]
    kinds = {round(float(line[0, 1]), 3) for line in first}
    assert kinds == {0.2, -0.2}
    assert (road.marking_type == MarkingType.DASHED_YELLOW).sum() == 4
    assert (road.marking_type == MarkingType.SOLID_YELLOW).sum() == 4


def test_lights_on_the_approaches_control_their_junctions() -> None:
    road = _read("lights_on_approaches")
    assert road.stop_line_kind.tolist() == [StopKind.TRAFFIC_LIGHT] * 6
    assert len(road.junction_groups) == 2
    assert np.bincount(road.stop_line_junction).tolist() == [3, 3]


def test_a_light_in_mid_block_stops_traffic_there(tmp_path: Path) -> None:
    light = '<signals><signal s="30" t="-4" id="7" dynamic="yes" orientation="+" type="1000001"/></signals></road>'
    path = _changed(tmp_path, "stadium", ('</road>\n<road name="" length="62.8318530718" id="2"',
                    f'{light[:-7]}</road>\n<road name="" length="62.8318530718" id="2"'))  # fmt: skip
    road = import_town(path)
    assert road.stop_line_kind.tolist() == [StopKind.TRAFFIC_LIGHT]
    np.testing.assert_allclose(road.stop_line_xyz[0], [[30, 0, 0], [30, -3.5, 0]], atol=1e-3)
    assert _links(road) == road.num_lanes == 10


def test_a_light_for_pedestrians_stops_nobody_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "walk.xodr"
    text = (CASES / "stadium.xodr").read_text()
    light = '<signals><signal s="30" t="-4" id="7" dynamic="yes" orientation="+" type="1000002"/></signals>'
    path.write_text(text.replace("</road>", f"{light}</road>", 1))
    road = import_town(path)
    assert len(road.stop_line_kind) == 0
    assert road.num_lanes == 8
    assert road.left_out == "1 lights that are not for vehicles"


def test_a_far_map_is_the_near_one_moved() -> None:
    far, near = _read("utm"), _read("stadium")
    shift = far.origin[:2] - [690123.4, 5334567.8]
    np.testing.assert_allclose(far.point_xyz[:, :2] + shift, near.point_xyz[:, :2], atol=1e-3)
    turn = np.angle(np.exp(1j * (far.point_yaw - near.point_yaw)))
    np.testing.assert_allclose(turn, 0.0, atol=1e-3)


def test_a_pack_remembers_origin_and_what_was_left_out(tmp_path: Path) -> None:
    left = '<lane id="1" type="{}"'
    path = _changed(tmp_path, "utm", (left.format("driving"), left.format("bus")))
    road = import_town(path)
    assert road.left_out == "4 bus lanes"
    road.save(tmp_path / "far.h5")
    again = RoadMap.load(tmp_path / "far.h5")
    np.testing.assert_array_equal(again.origin, road.origin)
    assert again.left_out == "4 bus lanes"
    with pytest.raises(ValueError, match=r"utm\.xodr: left out: 4 bus lanes"):
        import_town(path, strict=True)


def test_speeds_in_every_unit(tmp_path: Path) -> None:
    road = _read("units")
    limits = {
        str(name)[0]: speed for name, speed in zip(road.lane_ids, road.lane_speed_limit_mps, strict=True)
    }
    np.testing.assert_allclose([limits[key] for key in "1234"], [8.33, 12.5, 11.176, 8.333], atol=1e-3)
    free = _changed(tmp_path, "stadium", ('max="50" unit="km/h"', 'max="no limit"'))
    np.testing.assert_allclose(import_town(free).lane_speed_limit_mps, 36.1, atol=1e-5)
    odd = _changed(tmp_path, "stadium", ('unit="km/h"', 'unit="knots"'))
    with pytest.raises(ValueError, match=r"road 1.*speed: unit is 'knots'; expected m/s, km/h or mph"):
        import_town(odd)


def test_a_limit_that_changes_along_the_road_cuts_the_lane(tmp_path: Path) -> None:
    extra = (
        '<type s="40" type="town"><speed max="10" unit="m/s"/></type><planView><geometry s="0" x="0" y="0"'
    )
    road = import_town(_changed(tmp_path, "stadium", ('<planView><geometry s="0" x="0" y="0"', extra)))
    assert (road.num_lanes, _links(road)) == (10, 10)
    slow = np.flatnonzero(np.isclose(road.lane_speed_limit_mps, 10.0))
    for lane in slow:
        np.testing.assert_allclose(sorted(road.lane(lane)[[0, -1], 0]), [40, 80], atol=1e-3)


def test_left_hand_traffic_drives_on_the_left(tmp_path: Path) -> None:
    """Lane -1 lies on the right of the reference line; where traffic keeps left it comes the other way."""
    path = _changed(tmp_path, "stadium", ('junction="-1"', 'junction="-1" rule="LHT"'))
    road, control = import_town(path), _read("stadium")
    assert _links(road) == 8
    for name, lane in zip(road.lane_ids, range(road.num_lanes), strict=True):
        other = int(np.flatnonzero(control.lane_ids == name)[0])
        np.testing.assert_allclose(road.lane(lane), control.lane(other)[::-1], atol=1e-4)
        across = road.point_left_xyz[road.lane_start[lane]] - road.point_right_xyz[road.lane_start[lane]]
        yaw = road.point_yaw[road.lane_start[lane]]
        assert across[:2] @ [-np.sin(yaw), np.cos(yaw)] == pytest.approx(3.5, abs=0.02)


def test_a_parametric_curve_over_its_arc_length() -> None:
    """v(p) = c p^2 + d p^3, u(p) = b p with p from 0 to the length."""
    road = _read("arc_length")
    lane = int(np.flatnonzero(road.lane_ids == "1_0_right_-1")[0])
    rows = slice(road.lane_start[lane], road.lane_start[lane] + road.lane_count[lane])
    border = road.point_left_xyz[rows]
    p = border[:, 0] / 0.998503845195
    np.testing.assert_allclose(border[:, 1], 0.00186939361663 * p**2 - 1.55549726199e-05 * p**3, atol=0.05)


def test_a_single_road_without_links_is_a_map(tmp_path: Path) -> None:
    text = (CASES / "stadium.xodr").read_text()
    first = text[text.index('<road name="" length="80" id="1"') : text.index("</road>") + len("</road>")]
    first = first[: first.index("<link>")] + first[first.index("</link>") + len("</link>") :]
    path = tmp_path / "alone.xodr"
    path.write_text(f"<OpenDRIVE>{first}</OpenDRIVE>")
    road = import_town(path)
    assert (road.num_lanes, _links(road)) == (2, 0)
    assert len(road.edge_start) > 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("joint_off_by_15_cm", "joints with a gap"),
        ("longer_than_plan", "roads longer than their plan view"),
        ("cross_street_missing", "links to roads that the file does not hold"),
    ],
)
def test_contradictions_are_said(name: str, kind: str) -> None:
    report = _report(CASES / f"{name}.xodr")
    assert kind in {**report.warnings, **report.left_out}
    assert report.examples[kind]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "<arc curvature",
            "<helix curvature",
            r"road 2, geometry 1: holds <helix>; expected one of line, arc",
        ),
        ('contactPoint="end"', 'contactPoint="middle"', r"contactPoint is 'middle'; expected start or end"),
        ('length="80" id="1"', 'length="90" id="1"', r"road 1: length is 90 but planView ends at s=80"),
        ('id="2" junction', 'id="1" junction', "road 1 is there twice"),
        ('a="3.5"', 'a="wide"', r"lane 1, width 1: a is 'wide'; expected a finite number"),
        ('a="3.5"', 'a="1e9"', r"1_0_left_1 is 1e\+09 m wide; expected at most 500"),
        ('junction="-1"', 'junction="-1" rule="MIDDLE"', "rule is 'MIDDLE'; expected RHT or LHT"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        import_town(_changed(tmp_path, "stadium", (old, new)))
    assert str(refused.value).startswith(str(tmp_path / "stadium.xodr"))
