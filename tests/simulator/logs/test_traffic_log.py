"""Logs with impossible motion are refused; corrections of raw tracks are counted by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.conventions import CAR, PEDESTRIAN
from simulator.logs.cleaning.clean_tracks import clean_tracks
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.traffic_log import TrafficLog, repair_counts
from simulator.roads.building.repairs import Repairs
from tests.recorded import traffic_log

STEPS = 20
TIMESTEP_S = 0.1


def make_log(**changes: object) -> TrafficLog:
    """A car at 10 m/s to the north-east and a stationary pedestrian."""
    position = np.zeros((2, STEPS, 3), np.float32)
    position[0, :, :2] = (np.arange(STEPS)[:, None] * 10.0 * TIMESTEP_S) * np.sqrt(0.5)
    position[1] = (8.0, -3.0, 0.2)
    log = traffic_log(
        position, np.array([10.0, 0.0]), yaw=np.pi / 4, kind=[CAR, PEDESTRIAN], timestep_s=TIMESTEP_S, name="one",
        track_ids=["car", "walker"], repairs=["boxes left out: 3", "boxes left out: 4"],
    )  # fmt: skip
    return dataclasses.replace(log, **changes)


def changed(array: np.ndarray, index: object, value: object) -> np.ndarray:
    result = array.copy()
    result[index] = value
    return result


def test_a_valid_log_is_accepted() -> None:
    log = make_log().validate()
    assert (log.num_tracks, log.num_steps) == (2, STEPS)
    assert repair_counts(log) == {"boxes left out": 7}


LOG = make_log()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"position": changed(LOG.position, (0, 3, 1), np.nan)}, r"position\[0, 3\] is \[.*nan.*\]; expected finite"),
        ({"speed": changed(LOG.speed, (1, 5), np.inf)}, r"speed\[1, 5\] is inf; expected finite"),
        ({"yaw": changed(LOG.yaw, (0, 0), 90.0)}, r"yaw\[0, 0\] is 90.0, as if in degrees; expected radians"),
        ({"position": LOG.position + np.eye(STEPS)[7, None, :, None].astype(np.float32) * 9.0},
         r"position\[0, 7\] lies 1\d\.\d m from step 6; expected a move that 10.0 m/s"),
        ({"track_ids": np.array(["car", "car"])}, r"track_ids holds 'car' 2 times; expected each track once"),
        ({"size": changed(LOG.size, (1, 1), 0.0)}, r"size\[1\] is \[.*0.0.*\]; expected three positive lengths"),
        ({"timestep_s": 0.5}, r"timestep_s is 0.5, but tracks cover 0.20 of speed times time"),
        ({"timestep_s": 0.0}, r"timestep_s is 0.0; expected more than 0"),
        ({"yaw": LOG.yaw[:, :5]}, r"yaw has shape \(2, 5\); expected \(2, 20\) \(tracks, steps\)"),
        ({"yaw": LOG.yaw.astype(np.float64)}, r"yaw has type float64; expected float32"),
        ({"kind": np.array([0, 9], np.int32)}, r"kind holds 9; expected 0 to 3"),
        ({"ego_track": 2}, r"ego_track is 2; expected -1 \(unknown\) to 1"),
        ({"light_state": np.full((1, STEPS), 4, np.int32)}, r"light_state holds 4; expected 0 to 3"),
        ({"valid": changed(LOG.valid, 1, False)}, r"valid\[1\] is false at every step"),
        ({"speed": changed(LOG.speed, (0, 2), 99.0)}, r"speed\[0, 2\] is 99.0 m/s; expected at most 70"),
    ],
)  # fmt: skip
def test_invalid_logs_are_refused(changes: dict[str, object], sentence: str) -> None:
    many = {"position", "yaw", "speed"} & set(changes)
    with pytest.raises(ValueError, match=rf"^one\.json: scene one: {sentence}"):
        (_long(**changes) if "timestep_s" in changes and not many else make_log(**changes)).validate()


def _long(**changes: object) -> TrafficLog:
    """Enough moving states to judge a log's rate: four cars side by side."""
    log = make_log()
    rows = [0, 0, 0, 0]
    lift = np.arange(4, dtype=np.float32)[:, None, None] * np.array([0, 5, 0], np.float32)
    return dataclasses.replace(
        log, track_ids=np.array(list("abcd")), kind=log.kind[rows], size=log.size[rows],
        position=log.position[rows] + lift, yaw=log.yaw[rows], speed=log.speed[rows], valid=log.valid[rows], **changes
    )  # fmt: skip


def test_invalid_states_are_not_checked() -> None:
    log = make_log()
    valid = changed(log.valid, (0, slice(5, 8)), False)
    holed = make_log(valid=valid, position=changed(log.position, (0, 6), np.nan))
    assert holed.validate() is holed


def make_tracks(**changes: object) -> RawTracks:
    """Source tracks: three cars abreast, 10 m/s to the north, far from the source's origin, with velocities."""
    along = np.arange(STEPS) * 10.0 * TIMESTEP_S
    position = np.zeros((3, STEPS, 3))
    position[..., 0] = np.array([4000.0, 4010.0, 4020.0])[:, None]
    position[..., 1] = -7000.0 + along
    tracks = RawTracks(
        ids=["a", "b", "c"], kind=np.array([CAR] * 3), size=np.full((3, 3), (4.5, 2.0, 1.5)), position=position,
        yaw=np.full((3, STEPS), np.pi / 2), velocity=np.tile([0.0, 10.0], (3, STEPS, 1)),
        valid=np.ones((3, STEPS), bool),
    )  # fmt: skip
    return dataclasses.replace(tracks, **changes)


def cleaned(tracks: RawTracks) -> tuple[RawTracks, np.ndarray, dict[str, int]]:
    repairs = Repairs()
    result, speed = clean_tracks(tracks, TIMESTEP_S, repairs)
    return result, speed, repairs.counts


def test_valid_tracks_are_not_corrected() -> None:
    result, speed, repairs = cleaned(make_tracks())
    assert repairs == {}
    np.testing.assert_allclose(speed, 10.0)
    assert result.ids == ["a", "b", "c"]


@pytest.mark.parametrize("heading_deg", [90.0, -270.0, 450.0, 3.0])
def test_degrees_are_found_and_converted(heading_deg: float) -> None:
    """Even where no heading exceeds 2 pi: then by the direction of motion."""
    turn = np.deg2rad(heading_deg)
    position = np.zeros((3, STEPS, 3))
    position[..., :2] = np.arange(STEPS)[:, None] * np.array([np.cos(turn), np.sin(turn)])
    position[..., 0] += np.arange(3)[:, None] * 10
    result, _, repairs = cleaned(
        make_tracks(position=position, yaw=np.full((3, STEPS), heading_deg), velocity=None)
    )
    assert repairs == {"headings in degrees converted": 3}
    np.testing.assert_allclose(np.cos(result.yaw - turn), 1.0)
    assert (np.abs(result.yaw) <= np.pi).all()


def test_padded_and_broken_states_become_invalid() -> None:
    tracks = make_tracks()
    tracks.position[0, 4:6] = -10000.0
    tracks.position[1, 2] = np.nan
    tracks.yaw[2, 9] = np.nan
    result, _, repairs = cleaned(tracks)
    assert repairs == {"padded -10000 states made invalid": 2, "states with NaN made invalid": 2}
    assert (~result.valid).sum() == 4
    assert not result.valid[0, 4]
    assert not result.valid[1, 2]
    assert not result.valid[2, 9]


def test_positions_beyond_ten_kilometres_are_no_padding() -> None:
    """Waymo's scenes lie up to 12 km from their origin."""
    tracks = make_tracks()
    tracks.position[..., 0] -= 15000.0
    tracks.position[..., 1] = -10000.0 + np.arange(STEPS)
    assert cleaned(tracks)[2] == {}


def test_flat_scenes_get_heights_by_kind() -> None:
    tracks = make_tracks(size=np.full((3, 3), (4.5, 2.0, np.nan)))
    tracks.position[..., 2] = np.nan
    result, _, repairs = cleaned(tracks)
    assert repairs == {"missing height by kind": 3, "tracks without height put at z = 0": 3}
    assert (result.position[..., 2] == 0).all()
    assert ((result.size[:, 2] > 1.2) & (result.size[:, 2] < 2.2)).all()


def test_swapped_length_and_width_are_exchanged() -> None:
    result, _, repairs = cleaned(
        make_tracks(size=np.array([[1.73, 4.08, 1.56], [4.5, 2.0, 1.5], [2.5, 2.9, 2.0]]))
    )
    assert repairs == {"length and width changed places": 1}
    np.testing.assert_allclose(result.size[0], [4.08, 1.73, 1.56])
    np.testing.assert_allclose(result.size[2], [2.5, 2.9, 2.0])


def test_a_track_is_split_at_a_jump() -> None:
    tracks = make_tracks()
    tracks.position[1, 12:, 0] += 40.0
    result, _, repairs = cleaned(tracks)
    assert repairs == {"tracks cut at a jump": 1}
    assert result.ids == ["a", "b", "b/2", "c"]
    assert result.valid[1].sum() == 12
    assert result.valid[2].sum() == STEPS - 12
    assert not (result.valid[1] & result.valid[2]).any()


def test_an_outlier_between_two_jumps_is_dropped() -> None:
    tracks = make_tracks()
    tracks.position[1, 12] += 40.0
    result, _, repairs = cleaned(tracks)
    assert repairs == {"tracks cut at a jump": 2, "states between jumps made invalid": 1}
    assert result.valid[1, :12].all()
    assert not result.valid[1, 12:].any()
    assert result.ids == ["a", "b", "b/3", "c"]


def test_jumps_are_found_without_velocities() -> None:
    """Where speeds are derived from positions, a jump does not explain itself."""
    for step in (1, 5, STEPS - 1):
        for axis in (0, 1):
            tracks = make_tracks(velocity=None)
            tracks.position[1, step:, axis] += 6.0
            assert "tracks cut at a jump" in cleaned(tracks)[2], (step, axis)


def test_tracks_with_one_identifier_are_merged() -> None:
    """b again: a copy for 5 steps, a contradiction for 2, and 3 steps that the first lacks."""
    tracks = make_tracks(ids=["a", "b", "b"])
    tracks.position[2] = tracks.position[1]
    tracks.valid[1, 15:18] = False
    tracks.valid[2] = False
    tracks.valid[2, 5:18] = True
    tracks.valid[2, 7:12] = False
    tracks.position[2, 12:14, 0] += 1.0
    tracks.position[2, 5:7, 0] += 0.1
    result, _, repairs = cleaned(tracks)
    assert result.ids == ["a", "b"]
    assert repairs == {
        "duplicated states dropped": 3,
        "contradicting duplicated states made invalid": 2,
        "tracks with a duplicated identifier joined": 1,
    }
    expected = np.ones(STEPS, bool)
    expected[12:14] = False
    np.testing.assert_array_equal(result.valid[1], expected)


def test_duplicate_vehicles_are_merged_but_neighbours_are_not() -> None:
    """b again, 30 cm beside it under another name, seen a little later; c passes b at 2.5 m."""
    tracks = make_tracks()
    tracks.position[2] = tracks.position[1] + (0.3, 0.0, 0.0)
    tracks.valid[1, 15:] = False
    tracks.valid[2, :10] = False
    result, _, repairs = cleaned(tracks)
    assert result.ids == ["a", "b"]
    assert repairs == {"vehicles described twice joined": 1}
    assert result.valid[1].all()
    tracks = make_tracks()
    tracks.position[2] = tracks.position[1] + (2.5, 0.0, 0.0)
    assert cleaned(tracks)[0].ids == ["a", "b", "c"]


def test_tracks_without_valid_states_are_left_out() -> None:
    tracks = make_tracks()
    tracks.valid[0] = False
    result, _, repairs = cleaned(tracks)
    assert repairs == {"tracks without a valid state left out": 1}
    assert result.ids == ["b", "c"]


def test_speed_is_signed_along_the_heading() -> None:
    tracks = make_tracks(velocity=None)
    tracks.yaw[2] = -np.pi / 2  # reversing
    _, speed, _ = cleaned(tracks)
    np.testing.assert_allclose(speed[0], 10.0)
    np.testing.assert_allclose(speed[2], -10.0)
