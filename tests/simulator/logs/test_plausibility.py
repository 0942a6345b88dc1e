"""The report counts vehicle-seconds off the road and in overlap, by hand arithmetic; images show all tracks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.conventions import CAR, PEDESTRIAN
from simulator.dynamics.action_replay import NEAR_M, distances_to_log, moving
from simulator.logs.inspection.contents import summary_lines
from simulator.logs.inspection.pictures import draw_scene, track_colours
from simulator.logs.inspection.plausibility import log_report, report_lines, scene_report
from simulator.logs.scene_pack import LoggedScene
from tests.recorded import logged_scene, straight_road

STEPS = 40
ROAD_HALF_M = 1.75


def make_scene(tracks: list[tuple[int, float, float, float, float]]) -> LoggedScene:
    """Tracks (kind, x, y, z, speed) that go east on a road of 3.5 m along y = 0; cars are 4 x 2 m."""
    kind, x, y, z, speed = (np.array(column) for column in zip(*tracks, strict=True))
    position = np.zeros((len(tracks), STEPS, 3))
    position[..., 0] = x[:, None] + speed[:, None] * 0.1 * np.arange(STEPS)
    position[..., 1], position[..., 2] = y[:, None], z[:, None]
    size = np.where(kind[:, None] == PEDESTRIAN, (0.6, 0.6, 1.8), (4.0, 2.0, 1.5))
    ids = [f"t{n}" for n in range(len(tracks))]
    return logged_scene(
        straight_road(300.0, 61), position, speed, 12.0, kind=kind, size=size, track_ids=ids, ego_track=-1
    ).validate()


def test_off_the_road_is_a_corner_thirty_centimetres_outside() -> None:
    """A car 2 m wide on a road of 3.5 m may be up to 0.75 + 0.3 m off the centreline."""
    report = scene_report(
        make_scene([(CAR, 50, 0.95, 0, 0), (CAR, 80, 1.15, 0, 0), (PEDESTRIAN, 90, 9, 0, 0)])
    )
    assert report.vehicle_s == pytest.approx(2 * STEPS * 0.1)  # pedestrians are not counted
    assert report.offroad_s == pytest.approx(STEPS * 0.1)
    assert report.offroad_moving_s == 0.0
    assert report.offroad_tracks[0][1].startswith("parked car t1")


def test_off_road_time_starts_when_the_front_leaves_the_road() -> None:
    scene = make_scene([(CAR, 277.0, 0, 0, 10.0)])  # its front is at 300.3 m after 2.13 s
    assert scene_report(scene).offroad_s == pytest.approx((STEPS - 22) * 0.1, abs=0.101)


def test_overlaps_count_both_vehicles_for_as_long_as_they_touch() -> None:
    """One car drives through a parked one: 8 m at 10 m/s; one passes over on a bridge."""
    report = scene_report(make_scene([(CAR, 40, 0, 0, 10.0), (CAR, 60, 0, 0, 0), (CAR, 60, 0, 6.0, 0)]))
    assert report.overlap_s == pytest.approx(2 * 0.8, abs=0.201)
    assert report.overlap_parked_s == 0.0
    assert report.overlap_tracks[0][1] == "car t0 (4.0 x 2.0 m) and parked car t1 (4.0 x 2.0 m)"


def test_pedestrians_and_parked_pairs_are_counted_separately() -> None:
    report = scene_report(
        make_scene([(CAR, 40, 0, 0, 0), (CAR, 43, 0, 0, 0), (CAR, 100, 0, 0, 0), (PEDESTRIAN, 101, 0, 0, 0)])
    )
    assert report.overlap_s == report.overlap_parked_s == pytest.approx(2 * STEPS * 0.1)
    assert report.overlap_other_s == pytest.approx(STEPS * 0.1)


def test_states_that_are_not_valid_do_not_count() -> None:
    scene = make_scene([(CAR, 40, 5, 0, 0), (CAR, 41, 5, 0, 0)])
    valid = scene.log.valid.copy()
    valid[1, 10:] = False
    report = scene_report(dataclasses.replace(scene, log=dataclasses.replace(scene.log, valid=valid)))
    assert report.overlap_s == pytest.approx(2 * 1.0)
    assert report.offroad_s == pytest.approx(STEPS * 0.1 + 1.0)


def test_the_report_and_the_summary_name_shares_and_sums() -> None:
    scene = make_scene([(CAR, 40, 0, 0, 10.0), (CAR, 60, 0, 0, 0)])
    text = "\n".join(report_lines(log_report([scene, scene])))
    assert "womd: 2 scenes, 16 vehicle-seconds" in text
    assert "20.00%  overlapping another vehicle (3.2 s)" in text or "overlapping another vehicle" in text
    text = "\n".join(summary_lines([scene, scene]))
    assert "4: 4 cars, 0 trucks, 0 cyclists, 0 pedestrians" in text
    assert "2 lanes, 0.6 lane-km" in text
    assert "40 at 10 Hz" in text


def test_the_picture_shows_a_car_where_it_is_and_a_trail_where_it_was() -> None:
    scene = make_scene([(CAR, 40, 0, 0, 10.0)])
    first, last = (np.asarray(draw_scene(scene, 300, step)).astype(int) for step in (0, STEPS - 1))
    colour = track_colours(scene.log)[0]
    columns = [
        np.flatnonzero((np.abs(picture[60:] - colour).sum(axis=2) < 40).any(axis=0))
        for picture in (first, last)
    ]
    assert columns[0].size > 3
    assert columns[1].size > 3
    assert columns[1].max() - columns[0].max() > 80  # 39 m of a window of about 67 m
    with pytest.raises(ValueError, match="step 40 of scene scene is not in 0 to 39"):
        draw_scene(scene, 100, 40)


def test_action_models_follow_feasible_motion_only() -> None:
    """A car at constant speed is followed within centimetres; one that slides sideways at 1 m/s is not."""
    scene = make_scene([(CAR, 50, 0, 0, 10.0), (CAR, 80, 0, 0, 0.0), (PEDESTRIAN, 90, 9, 0, 0)])
    position = scene.log.position.copy()
    position[1, :, 1] += 0.1 * np.arange(STEPS)
    log = dataclasses.replace(scene.log, position=position)
    apart, rows = distances_to_log(log, "steering_rate_continuous")
    np.testing.assert_array_equal(rows, [0, 1])
    assert np.nanmax(apart[0]) < 0.01
    assert (apart[1, 15:] > NEAR_M).all()
    np.testing.assert_array_equal(moving(log, rows), [True, True])
