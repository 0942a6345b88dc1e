"""Maps of logged scenes: widths, links, surfaces and stop lines derived from centrelines and kerbs, by hand
arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from simulator.roads.building.build_map import build_log_map
from simulator.roads.building.lane_links import (
    crossing_pairs,
    junctions_by_crossing,
    links_by_endpoints,
    reversed_links,
)
from simulator.roads.building.lane_widths import lane_sides
from simulator.roads.building.raw_map import RawLane, RawMap, Signal, SurfaceRule
from simulator.roads.building.repairs import Repairs
from simulator.roads.building.road_surface import (
    area_inside_outlines,
    close_seams,
    level_masks,
    rings_without_holes,
    strips_to_kerbs,
    with_open_gaps,
)
from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from tests.recorded import provenance


def line(*xyz: tuple[float, ...]) -> np.ndarray:
    """A polyline with a vertex every half metre."""
    corners = np.array([(*place, 0.0)[:3] for place in xyz], float)
    long = shapely.segmentize(shapely.LineString(corners), 0.5)
    return shapely.get_coordinates(long, include_z=True)


def arc(centre: tuple[float, float], radius: float, first_deg: float, last_deg: float) -> np.ndarray:
    angle = np.deg2rad(np.linspace(first_deg, last_deg, 40))
    return np.stack(
        [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), 0 * angle], axis=1
    )


def test_successors_start_where_a_lane_ends() -> None:
    lanes = [line((0, 0), (20, 0)), line((20.3, 0), (40, 0)), arc((20, 5), 5, -90, 0), line((20, 0), (0, 0)),
             line((20, 0, 6), (40, 0, 6))]  # fmt: skip
    links = links_by_endpoints(lanes)
    assert links[0] == [1, 2]  # neither the way back nor the bridge above
    assert reversed_links(links)[1] == [0]


def test_junctions_are_lanes_that_cross() -> None:
    """A crossing with a turn that starts with one of its lanes; a bridge over it; a merge beside it."""
    lanes = [
        line((0, 0), (30, 0)), line((15, -15), (15, 15)), arc((0, 10), 10, -90, 0), line((0, 5, 8), (30, 5, 8)),
        line((100, 0), (130, 0)), np.concatenate([line((100, 4), (120, 0.2)), line((120.5, 0.2), (130, 0))]),
    ]  # fmt: skip
    assert crossing_pairs(lanes) == [(0, 1)]
    entry = line((-20, 0), (0, 0))
    links = links_by_endpoints([*lanes, entry])
    groups = junctions_by_crossing(
        [*lanes, entry], [30, 30, 15, 30, 30, 30, 20], links, reversed_links(links)
    )
    assert groups[0] is not None
    assert groups[0] == groups[1] == groups[2]
    assert groups[3:] == [None] * 4


def test_widths_come_from_paint_then_lanes_then_kerbs() -> None:
    lanes = [
        line((0, 0), (50, 0)),
        line((0, 3.2), (50, 3.2)),
        line((50, 7.0), (0, 7.0)),
        line((0, 30), (50, 30)),
    ]
    sides = lane_sides(lanes, [line((0, -1.8), (50, -1.8))], [line((50, 9.2), (0, 9.2))])
    np.testing.assert_allclose(sides.half_right_m, [1.8, 1.6, 2.2, 1.75], atol=0.02)
    np.testing.assert_allclose(sides.half_left_m, [1.6, 1.9, 1.9, 1.75], atol=0.02)
    assert sides.known.tolist() == [True, True, True, False]
    assert sides.left.tolist() == [1, -1, -1, -1]  # the third lane is oncoming
    assert sides.right.tolist() == [-1, 0, -1, -1]


def test_a_lane_on_a_bridge_does_not_see_the_road_below() -> None:
    lanes = [line((0, 0), (50, 0)), line((0, 4, 6), (50, 4, 6))]
    assert lane_sides(lanes, [], []).known.tolist() == [False, False]


def seen(lanes: list[np.ndarray], edges: list[np.ndarray]) -> shapely.Geometry:
    """The drivable area around lanes that are 3.5 m wide."""
    half = np.full(len(lanes), 1.75)
    strips = strips_to_kerbs(lanes, half, half, edges)
    return strips.area(np.ones(len(strips.left), bool))


def test_the_drivable_area_ends_at_the_first_kerb() -> None:
    """A parking bay 4 m wide on the left; on the right a kerb and behind it another road."""
    lanes = [line((0, 0), (60, 0)), line((60, -10), (0, -10))]
    edges = [line((60, 6), (0, 6)), line((0, -4), (60, -4)), line((60, -6), (0, -6))]
    area = seen(lanes, edges)
    # 60 m of 10 m, and 60 m of a road that has a kerb on one side and nothing but its own width on the other
    assert area.area == pytest.approx(60 * 10 + 60 * (4 + 1.75), rel=0.01)
    assert not area.intersects(shapely.box(0, -5.9, 60, -4.1))


def test_the_drivable_area_without_a_kerb_extends_to_the_next_lane() -> None:
    lanes = [line((0, 0), (60, 0)), line((60, 8), (0, 8))]
    area = seen(lanes, [])
    assert area.area == pytest.approx(60 * (8 + 2 * 1.75), rel=0.01)


def test_gaps_are_drivable_unless_kerbed() -> None:
    """In a square of asphalt: a bare gap, a kerbed one, one of parking bays with a kerbed tree in it, and a block."""
    ring = shapely.box(0, 0, 120, 120)
    bare, kerbed, bays, block = (
        shapely.box(*corners)
        for corners in ((10, 10, 14, 14), (30, 30, 34, 34), (40, 5, 58, 45), (5, 60, 115, 115))
    )  # fmt: skip
    tree = shapely.box(47, 22, 51, 26)
    area = ring.difference(shapely.union_all([bare, kerbed, bays, block]))
    lines = [shapely.get_coordinates(one.exterior) for one in (kerbed, tree)]
    lines += [np.array([(40, 5), (58, 5)]), np.array([(40, 45), (58, 45)])]  # the short ends of the bays
    kerbs = [np.column_stack([xy, np.zeros(len(xy))]) for xy in lines]
    result = with_open_gaps(close_seams(area), kerbs)
    assert close_seams(area).area == pytest.approx(area.area)  # where a source draws surfaces, its holes stay
    for place, asphalt in (
        ((12, 12), True),
        ((32, 32), False),
        ((43, 25), True),
        ((49, 24), False),
        ((60, 90), False),
    ):
        assert result.contains(shapely.Point(place)) == asphalt, place
    assert result.area == pytest.approx(area.area + 16 + 18 * 40 - 16, abs=2)


def test_a_bridge_and_the_road_below_are_two_levels() -> None:
    lanes = [line((0, 0), (200, 0)), line((100, -100, 7), (100, 100, 7))]
    strips = strips_to_kerbs(lanes, np.full(2, 1.75), np.full(2, 1.75), [])
    below, above = level_masks(strips.stations)
    assert (below ^ above).all()
    assert strips.area(above).contains(shapely.Point(100, 0))
    assert strips.area(below).contains(shapely.Point(100, 0))
    assert not strips.area(below).contains(shapely.Point(100, 5))
    assert strips.stations.xyz[above, 2].min() == 7.0
    both = shapely.union(strips.area(below), strips.area(above))
    assert both.area == pytest.approx(2 * 200 * 3.5 - 3.5**2, rel=1e-3)  # no gap where one level ends
    assert len(level_masks(strips_to_kerbs(lanes[:1], np.ones(1), np.ones(1), []).stations)) == 1


def test_a_parked_car_off_the_map_gets_a_parking_area() -> None:
    """One beside the road gets one; one on it does not."""
    lane = RawLane("a", line((0, 0), (60, 0)))
    boxes = [shapely.box(10, 8, 14, 10), shapely.box(30, -1, 34, 1)]
    repairs = Repairs()
    road_map, _ = build_log_map(RawMap([lane]), provenance(), np.zeros(3), 12.0, 3, repairs, boxes)
    assert repairs.counts["parking places added under parked vehicles"] == 1
    rings = [shapely.Polygon(ring[:, :2]) for ring in road_map.pieces("drivable")]
    assert sum(ring.area for ring in rings) == pytest.approx(60 * 3.5 + 5 * 3, rel=0.001)


def test_rings_cover_an_area_with_holes() -> None:
    area = shapely.box(0, 0, 100, 60)
    for x, y in ((20, 20), (50, 30), (80, 40), (55, 45)):
        area = area.difference(shapely.Point(x, y).buffer(6))
    rings = [shapely.Polygon(ring) for ring in rings_without_holes(area)]
    assert len(rings) > 1
    assert sum(ring.area for ring in rings) == pytest.approx(area.area)
    assert shapely.union_all(rings).symmetric_difference(area).area < 1e-6


def test_outlines_inside_outlines_are_holes_and_islands_in_them_are_not() -> None:
    rings = [
        shapely.get_coordinates(shapely.box(a, a, b, b).exterior) for a, b in ((0, 40), (10, 30), (15, 20))
    ]
    assert area_inside_outlines(rings).area == pytest.approx(1600 - 400 + 25)
    apart = shapely.get_coordinates(shapely.box(100, 0, 110, 10).exterior)
    assert area_inside_outlines([*rings, apart]).area == pytest.approx(1225 + 100)


def build(source: RawMap, steps: int = 3) -> tuple[RoadMap, np.ndarray, dict[str, int]]:
    repairs = Repairs()
    road_map, lights = build_log_map(source, provenance(), np.zeros(3), 12.0, steps, repairs)
    return road_map, lights, repairs.counts


def test_lanes_with_nothing_beside_get_the_default_width_and_are_counted() -> None:
    road_map, _, repairs = build(RawMap([RawLane("a", line((0, 0), (40, 10)))]))
    assert repairs["lane widths assumed 3.5 m"] == 1
    assert repairs["speed limits assumed 12 m/s"] == 1
    np.testing.assert_allclose(road_map.lane_width_m, 3.5, atol=1e-3)
    across = road_map.point_left_xyz - road_map.point_right_xyz
    assert (across @ [-10, 40, 0] > 0).all()  # left is left


def test_building_commutes_with_rotation() -> None:
    """Widths, neighbours and area do not depend on where north is."""

    def turned(degrees: float) -> RawMap:
        turn = np.deg2rad(degrees)
        matrix = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        lanes = [line((0, 0), (60, 0)), line((0, 3.5), (60, 3.5)), line((60, 8), (0, 8))]
        return RawMap(
            [RawLane(str(n), lane @ matrix) for n, lane in enumerate(lanes)],
            edges=[line((0, -5), (60, -5)) @ matrix, line((60, 11), (0, 11)) @ matrix], surface_rule=SurfaceRule.KERBS,
        )  # fmt: skip

    first, _, _ = build(turned(0))
    other, _, _ = build(turned(37))
    np.testing.assert_allclose(first.lane_width_m, other.lane_width_m, atol=0.02)
    np.testing.assert_array_equal(first.lane_left, other.lane_left)
    areas = [
        shapely.union_all([shapely.Polygon(r[:, :2]) for r in m.pieces("drivable")]).area
        for m in (first, other)
    ]
    assert areas[0] == pytest.approx(60 * 16, rel=0.01)
    assert areas[1] == pytest.approx(areas[0], rel=0.005)


def test_markings_without_a_type_get_it_from_the_lanes_beside() -> None:
    lanes = [RawLane(str(n), line(*ends)) for n, ends in
             enumerate([((0, 0), (60, 0)), ((0, 3.6), (60, 3.6)), ((60, 7.2), (0, 7.2))])]  # fmt: skip
    paint = [(line((0, y), (60, y)), None) for y in (-1.8, 1.8, 5.4)]
    road_map, _, repairs = build(RawMap(lanes, markings=paint))
    assert road_map.marking_type.tolist() == [
        MarkingType.SOLID_WHITE, MarkingType.DASHED_WHITE, MarkingType.SOLID_YELLOW
    ]  # fmt: skip
    assert repairs["paint without a kind judged by its lanes"] == 3


def crossing(signals: list[Signal]) -> RawMap:
    """Two roads that cross at the origin, in three pieces each, and a left turn that shares its approach."""
    lanes = []
    for name, turn in (("e", 0.0), ("n", np.pi / 2)):
        matrix = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        for number, (a, b) in enumerate(((-50, -10), (-10, 10), (10, 50))):
            lanes.append(RawLane(f"{name}{number}", line((a, -2), (b, -2)) @ matrix))
    lanes.append(RawLane("turn", np.concatenate([line((-10, -2), (-2, -2))[:-1], line((-2, -2), (2, 10))])))
    return RawMap(lanes, signals=signals)


def test_lights_of_one_approach_share_a_line_that_shows_the_most_permissive() -> None:
    signals = [
        Signal(StopKind.TRAFFIC_LIGHT, ["e1"], None, np.array([3, 3, 1])),
        Signal(StopKind.TRAFFIC_LIGHT, ["turn"], None, np.array([3, 2, 0])),
        Signal(StopKind.TRAFFIC_LIGHT, ["n1"], None, np.array([1, 1, 3])),
    ]
    road_map, lights, _ = build(crossing(signals))
    assert lights.tolist() == [[3, 2, 1], [1, 1, 3]]
    assert road_map.stop_line_junction.tolist() == [0, 0]
    assert road_map.stop_line_group.tolist() == [0, 1]  # they cross: never green together
    assert road_map.junction_groups.tolist() == [2]
    np.testing.assert_allclose(road_map.stop_line_xyz[0].mean(axis=0)[:2], [-10, -2], atol=0.01)
    inside = {
        name: int(j) for name, j in zip(road_map.lane_ids.tolist(), road_map.lane_junction, strict=True)
    }
    assert inside == {"e0": -1, "e1": 0, "e2": -1, "n0": -1, "n1": 0, "n2": -1, "turn": 0}


def test_a_stop_sign_beside_the_road_finds_its_approach() -> None:
    sign = Signal(StopKind.STOP_SIGN, point=np.array([-11.0, -7.0, 2.0]))
    lost = Signal(StopKind.STOP_SIGN, point=np.array([30.0, 40.0, 2.0]))
    road_map, _, repairs = build(crossing([sign, lost]))
    assert road_map.stop_line_kind.tolist() == [StopKind.STOP_SIGN]
    np.testing.assert_allclose(road_map.stop_line_xyz[0].mean(axis=0)[:2], [-10, -2], atol=0.01)
    assert repairs["signals without an approach left out"] == 1


def test_a_map_without_lanes_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"scene\.json: scene scene has no lane; expected at least one centreline"
    ):
        build(RawMap())
