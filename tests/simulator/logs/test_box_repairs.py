"""Corrections of boxes are limited: small annotation errors are removed, larger faults remain visible."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.conventions import CAR, PEDESTRIAN, TRUCK
from simulator.logs.cleaning.clean_tracks import clean_tracks
from simulator.logs.cleaning.stationary import LARGEST_TRIM_M
from simulator.logs.raw_tracks import RawTracks
from simulator.roads.building.repairs import Repairs

STEPS = 30
TIMESTEP_S = 0.1


def _tracks(
    places: list[np.ndarray],
    sizes: list[tuple[float, float]],
    kind: int = CAR,
    trailer: list[bool] | None = None,
) -> RawTracks:
    """Tracks that head east, at positions [STEPS, 2] m."""
    count = len(places)
    return RawTracks(
        ids=[f"t{n}" for n in range(count)], kind=np.full(count, kind),
        size=np.array([(*size, 1.5) for size in sizes]), velocity=None, yaw=np.zeros((count, STEPS)),
        position=np.stack([np.pad(place.astype(float), ((0, 0), (0, 1))) for place in places]),
        valid=np.ones((count, STEPS), bool), trailer=None if trailer is None else np.array(trailer),
    )  # fmt: skip


def _at(x: float, y: float = 0.0) -> np.ndarray:
    return np.tile([x, y], (STEPS, 1))


def _driving(x: float, speed_mps: float, y: float = 0.0) -> np.ndarray:
    return np.stack([x + speed_mps * TIMESTEP_S * np.arange(STEPS), np.full(STEPS, y)], axis=1)


def _cleaned(tracks: RawTracks) -> tuple[RawTracks, np.ndarray, dict[str, int]]:
    repairs = Repairs()
    result, speed = clean_tracks(tracks, TIMESTEP_S, repairs)
    return result, speed, repairs.counts


# ---------------------------------------------------------------------------- standing


def test_a_stationary_vehicle_gets_one_pose(rng: np.random.Generator) -> None:
    tracks = _tracks([_at(5.0) + rng.normal(0, 0.1, (STEPS, 2))], [(4.5, 2.0)])
    tracks.yaw += rng.normal(0, 0.02, tracks.yaw.shape)
    tracks.yaw[0, ::7] += np.pi  # some boxes point backwards
    middle = np.median(tracks.position[0], axis=0)
    result, speed, counts = _cleaned(tracks)
    assert counts == {"standing vehicles put at their median place": 1}
    np.testing.assert_allclose(result.position[0], np.tile(middle, (STEPS, 1)))
    np.testing.assert_allclose(result.yaw[0], result.yaw[0, 0])
    assert abs(result.yaw[0, 0]) < 0.02
    assert (speed == 0).all()


def test_lateral_drift_is_not_motion() -> None:
    drift = _at(0.0) + np.stack([np.zeros(STEPS), np.linspace(-0.8, 0.8, STEPS)], axis=1)
    assert _cleaned(_tracks([drift], [(4.5, 2.0)]))[2] == {"standing vehicles put at their median place": 1}


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (_driving(0.0, 0.3), CAR),  # rolls 0.9 m
        (_driving(0.0, 5.0), CAR),
        (np.concatenate([_at(0.0)[:28], _driving(0.0, 8.0)[1:3]]), CAR),  # pulls out at the end
        (_at(0.0) + 0.2 * (np.arange(STEPS) % 2)[:, None], PEDESTRIAN),
    ],
)
def test_moving_tracks_are_unchanged(place: np.ndarray, kind: int) -> None:
    result, _, counts = _cleaned(_tracks([place], [(4.5, 2.0)], kind))
    assert counts == {}
    np.testing.assert_array_equal(result.position[0, :, :2], place)


@pytest.mark.parametrize("over", [0.1, 0.25])
@pytest.mark.parametrize("side_by_side", [True, False])
def test_small_overlaps_of_stationary_cars_are_trimmed_equally(over: float, side_by_side: bool) -> None:
    """Two cars of 4 x 2 m that overlap by 10 cm: each loses 5 cm (and half a gap of 1 cm) on the side that faces."""
    second = _at(0.0, 2.0 - over) if side_by_side else _at(4.0 - over)
    result, _, counts = _cleaned(_tracks([_at(0.0), second], [(4.0, 2.0), (4.0, 2.0)]))
    assert counts == {"loose boxes of standing vehicles trimmed": 2}
    axis = 1 if side_by_side else 0
    trimmed = (4.0, 2.0)[axis] - (over + 0.01) / 2
    np.testing.assert_allclose(result.size[:, axis], trimmed)
    np.testing.assert_allclose(result.size[:, 1 - axis], (4.0, 2.0)[1 - axis])
    gap = result.position[1, 0, axis] - result.position[0, 0, axis] - result.size[:, axis].sum() / 2
    assert gap == pytest.approx(0.01)
    outer = result.position[0, 0, axis] - result.size[0, axis] / 2  # the far side has not moved
    assert outer == pytest.approx(-(4.0, 2.0)[axis] / 2)


@pytest.mark.parametrize(
    "places",
    [
        [_at(0.0), _at(0.0, 2.0 - 2 * LARGEST_TRIM_M - 0.05)],  # deeper than loose boxes explain
        [_at(0.0), _driving(-2.0, 1.0, 1.9)],  # one drives: that may be a scratch
    ],
)
def test_larger_overlaps_remain(places: list[np.ndarray]) -> None:
    result, _, counts = _cleaned(_tracks(places, [(4.0, 2.0), (4.0, 2.0)]))
    assert counts == {}
    np.testing.assert_array_equal(result.size[:, :2], [[4.0, 2.0], [4.0, 2.0]])


# ---------------------------------------------------------------------------- trailers


def test_a_trailer_ends_where_its_cab_does() -> None:
    """A cab of 6 m, its rear at x = 7; a trailer of 14 m, its front at x = 9: it becomes 12 m long."""
    tracks = _tracks([_driving(10, 5), _driving(2, 5)], [(6, 2.5), (14, 2.5)], TRUCK, [False, True])
    result, speed, counts = _cleaned(tracks)
    assert counts == {"trailers shortened to where their cab ends": 1}
    assert result.size[1, 0] == pytest.approx(12.0 - 0.01)
    assert result.position[1, 0, 0] == pytest.approx(1.0 - 0.005)
    assert result.position[0, 0, 0] == 10.0
    np.testing.assert_allclose(speed, 5.0)


def test_a_trailer_that_overlaps_its_cab_deeply_is_moved_back() -> None:
    """Its front overtakes the rear of its cab by up to 5 m: from then on it stays behind."""
    tracks = _tracks([_driving(20, 5), _driving(9.5, 7.5)], [(8, 2.5), (10, 2.5)], TRUCK, [False, True])
    result, _, counts = _cleaned(tracks)
    (name,) = counts
    assert name == "states of trailers moved back to the rear of their cab"
    front, rear = result.position[1, :, 0] + 5.0, result.position[0, :, 0] - 4.0
    assert (front < rear + 1e-9).all()
    assert front[-1] == pytest.approx(rear[-1] - 0.01)
    assert result.size[1, 0] == 10.0


def test_a_trailer_that_overlaps_another_truck_is_unchanged() -> None:
    tracks = _tracks([_at(30.0), _driving(0.0, 10.0)], [(8, 2.5), (10, 2.5)], TRUCK, [False, True])
    _, _, counts = _cleaned(tracks)
    assert counts == {}
    tracks.trailer = None
    assert _cleaned(tracks)[2] == {}
