"""The unit of headings is decided for each track, by motion; whole turns are taken away."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.conventions import CAR
from simulator.logs.cleaning.headings import normalise_headings
from simulator.logs.raw_tracks import RawTracks
from simulator.roads.building.repairs import Repairs

STEPS, STEP_S = 41, 0.1
COURSES = np.deg2rad([0.0, 180.0, 90.0, -50.0, 135.0])
"""Where the five road users of every test go."""
DEGREES, WRAPPED = "headings in degrees converted", "tracks with headings of more than a turn wrapped"


def tracks_of(yaw: np.ndarray, speed_mps: float | np.ndarray = 8.0) -> RawTracks:
    """Road users that drive along COURSES at these speeds, with the headings [tracks] that a file gives them."""
    along = np.broadcast_to(speed_mps, COURSES.shape)[:, None] * STEP_S * np.arange(STEPS)
    ahead = np.stack([np.cos(COURSES), np.sin(COURSES), np.zeros(5)], axis=1)
    return RawTracks(
        ids=list("abcde"), kind=np.full(5, CAR), size=np.full((5, 3), 2.0), velocity=None,
        position=100.0 * np.arange(15).reshape(5, 1, 3) + along[..., None] * ahead[:, None],
        yaw=np.repeat(yaw[:, None], STEPS, axis=1), valid=np.ones((5, STEPS), bool),
    )  # fmt: skip


def assert_normalised(tracks: RawTracks, counts: dict[str, int]) -> None:
    """The headings become COURSES, and the corrections are counted as expected."""
    repairs = Repairs()
    normalise_headings(tracks, STEP_S, repairs)
    np.testing.assert_allclose(np.cos(tracks.yaw - COURSES[:, None]), 1.0, atol=1e-9)
    assert (np.abs(tracks.yaw) <= np.pi).all()
    assert repairs.counts == counts


def in_degrees(*rows: int) -> np.ndarray:
    """COURSES in radians, but in degrees for these tracks."""
    yaw = COURSES.copy()
    yaw[list(rows)] = np.rad2deg(yaw[list(rows)])
    return yaw


@pytest.mark.parametrize("speed_mps", [8.0, 1.2])
def test_one_unit_for_all(speed_mps: float) -> None:
    assert_normalised(tracks_of(COURSES, speed_mps), {})
    assert_normalised(tracks_of(np.rad2deg(COURSES), speed_mps), {DEGREES: 5})


@pytest.mark.parametrize("turns", [[0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [-2, 3, 0, 0, 1]])
@pytest.mark.parametrize("speeds", [8.0, 1.2, [0.0, 8.0, 0.0, 0.0, 1.0]])
def test_headings_of_more_than_a_turn_are_still_radians(
    turns: list[int], speeds: float | list[float]
) -> None:
    yaw = COURSES + 2 * np.pi * np.array(turns)
    assert_normalised(tracks_of(yaw, np.array(speeds)), {WRAPPED: int((np.abs(yaw) > 2 * np.pi).sum())})


def test_one_track_in_another_unit_than_the_rest() -> None:
    assert_normalised(tracks_of(in_degrees(2)), {DEGREES: 1})
    assert_normalised(tracks_of(in_degrees(1, 3)), {DEGREES: 2})
    assert_normalised(tracks_of(in_degrees(1, 2, 3)), {DEGREES: 3})  # 0 is 0, 135 degrees stay in radians


def test_one_wrong_value_decides_nothing() -> None:
    tracks = tracks_of(COURSES)
    tracks.yaw[3, 20] = -400.0
    repairs = Repairs()
    normalise_headings(tracks, STEP_S, repairs)
    assert repairs.counts == {WRAPPED: 1}
    np.testing.assert_allclose(np.cos(tracks.yaw - COURSES[:, None])[:, :20], 1.0, atol=1e-9)


def test_a_scene_without_motion_is_judged_by_the_usual_size_of_its_headings() -> None:
    assert_normalised(tracks_of(np.rad2deg(COURSES), 0.0), {DEGREES: 5})
    assert_normalised(
        tracks_of(COURSES + 2 * np.pi, 0.0), {WRAPPED: 3}
    )  # 0 and -50 degrees become 360 and 310


def test_a_reversing_car_does_not_change_its_unit() -> None:
    speeds = np.array([-3.0, -3.0, 8.0, 8.0, 8.0])
    assert_normalised(tracks_of(np.rad2deg(COURSES), speeds), {DEGREES: 5})
    assert_normalised(tracks_of(COURSES, speeds), {})
