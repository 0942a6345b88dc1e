"""Hand-made roads are what their names say, and trials lie on them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.road_atlas import drivable_distance
from simulator.roads.road_map import StopKind
from teacher.probes.catalogue import PROBES, draw_trials, probe_atlas
from teacher.probes.maps import ARMS, BOX_M, left_turn, right_turn, roads, straight
from teacher.probes.road import PROBE_LANE_WIDTH_M, Lane, build_road_map, path, stop_line_of
from teacher.probes.starts import goals_to


def test_a_straight_lane_by_hand():
    """100 m eastwards: its edges are the two kerbs, 1.75 m aside; nothing closes its ends."""
    road = build_road_map("one", [Lane("a", np.array([[0.0, 0.0], [100.0, 0.0]]))])
    assert road.lane_length_m == pytest.approx(100.0)
    np.testing.assert_allclose(road.point_left_xyz[:, 1], PROBE_LANE_WIDTH_M / 2, atol=1e-5)
    edges = road.pieces("edge")
    assert sorted(round(float(edge[:, 1].mean()), 2) for edge in edges) == [-1.75, 1.75]
    assert all(np.ptp(edge[:, 1]) < 1e-3 for edge in edges)


def test_lanes_lead_on_where_they_say():
    for road in roads().values():
        for lane in range(road.num_lanes):
            for following in road.lane_successors[lane][road.lane_successors[lane] >= 0]:
                np.testing.assert_allclose(road.lane(lane)[-1], road.lane(following)[0], atol=1e-3)
                assert lane in road.lane_predecessors[following]


@pytest.mark.parametrize(
    ("turn", "angle", "end"), [(straight, 0.0, (BOX_M, -1.75)), (left_turn, 90.0, (1.75, BOX_M)),
                               (right_turn, -90.0, (-1.75, -BOX_M))],
)  # fmt: skip
def test_turns_of_the_west_arm(turn, angle, end):
    road = roads()["crossing"]
    into, through, _ = turn("west")
    lane = road.lane_ids.tolist().index(through)
    np.testing.assert_allclose(road.lane(lane)[-1, :2], end, atol=1e-4)
    line = path(road, into, through)
    last = line[-1] - line[-2]
    assert np.degrees(np.arctan2(last[1], last[0])) == pytest.approx(angle, abs=8.0)  # of a chord


def test_stop_lines_are_where_and_what_they_should_be():
    for name, kind in (("stops", StopKind.STOP_SIGN), ("signals", StopKind.TRAFFIC_LIGHT)):
        road = roads()[name]
        assert (road.stop_line_kind == kind).all()
        lines = [stop_line_of(road, f"{arm}_in") for arm in ARMS]
        assert sorted(lines) == [0, 1, 2, 3]
        west = road.stop_line_xyz[lines[0], :, :2]
        np.testing.assert_allclose(west, [[-BOX_M, 0.0], [-BOX_M, -PROBE_LANE_WIDTH_M]], atol=1e-4)
    groups = roads()["signals"].stop_line_group
    assert groups[lines[0]] == groups[lines[2]] != groups[lines[1]]
    with pytest.raises(ValueError, match="lane 'second_in' does not end at a stop line"):
        stop_line_of(roads()["signals_wide"], "second_in")


def test_goals_are_a_stretch_apart_and_none_is_at_the_start():
    assert goals_to(130.0, 10.0) == (30.0, 80.0, 130.0)
    assert goals_to(130.0, 20.0) == (80.0, 130.0)  # 30 m would be 10 m away
    assert goals_to(40.0, 30.0) == (40.0,)


def test_every_path_stays_on_the_road_and_ends_far_behind_the_last_goal():
    atlas = probe_atlas()
    look = jax.jit(jax.vmap(drivable_distance, (None, None, 0)))
    for probe in PROBES.values():
        for trial in draw_trials(probe, 6, 1):
            for driver in trial.drivers:
                places = np.full((400, 3), 0.0, np.float32)
                along = np.linspace(0, len(driver.path) - 1, 400).round().astype(int)
                places[:, :2] = driver.path[along]
                room = look(atlas, jnp.int32(atlas.names.index(trial.road)), jnp.asarray(places))
                assert float(room[3:-3].min()) > 0.5 * 2.1, (trial.road, probe.name)
                length = np.linalg.norm(np.diff(driver.path, axis=0), axis=1).sum()
                assert length - driver.goals_m[-1] > 50.0
                assert driver.start_m > 5.0
