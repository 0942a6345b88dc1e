"""Resampling to a camera that is rotated about the optical centre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adaptation.pairs.virtual_camera import VirtualView, fill_uncovered


def view(yaw: float = 0.0, focal: float = 40.0, height: int = 18, width: int = 32) -> VirtualView:
    """A small target camera at the centre of a 320 x 180 source, rotated by `yaw` (rad) to the right."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return VirtualView(
        height=height,
        width=width,
        target_intrinsics=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
        source_from_target=turn,
        source_intrinsics=np.array([[400.0, 0, 160], [0, 400.0, 90], [0, 0, 1]]),
        source_height=180,
        source_width=320,
    )


def test_the_same_camera_at_a_tenth_of_the_size_averages_blocks_of_ten() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (18, 32, 3)).astype(np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    assert view().coverage() == 1.0
    np.testing.assert_array_equal(view().resample(image), image[::10, ::10])


def test_a_stripe_is_averaged_by_its_share_of_the_pixel() -> None:
    image = np.zeros((180, 320, 3), np.uint8)
    image[:, 100:105] = 240  # half of one target column
    np.testing.assert_allclose(view().resample(image)[:, 10, 0], 120, atol=1)
    assert view().resample(image)[:, [9, 11]].max() == 0


def test_a_point_lands_where_the_two_projections_say() -> None:
    rotated = view(yaw=0.2)
    ray = np.array([0.1, -0.05, 1.0])  # in the target camera
    u, v = (rotated.target_intrinsics @ ray)[:2]
    seen = rotated.source_intrinsics @ rotated.source_from_target @ ray
    image = np.zeros((180, 320, 3), np.uint8)
    column, row = int(seen[0] / seen[2]), int(seen[1] / seen[2])
    image[row - 4 : row + 5, column - 4 : column + 5] = 255
    brightest = np.unravel_index(rotated.resample(image)[..., 0].argmax(), (18, 32))
    assert abs(brightest[0] + 0.5 - v) <= 1
    assert abs(brightest[1] + 0.5 - u) <= 1


def test_coverage_falls_as_the_camera_rotates_away() -> None:
    shares = [view(yaw=angle).coverage() for angle in (0.0, 0.2, 0.4, 3.14)]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2] > shares[3] == 0.0


def test_uncovered_pixels_repeat_the_nearest_covered_one() -> None:
    wide = replace(view(), target_intrinsics=np.array([[20.0, 0, 16], [0, 20.0, 9], [0, 0, 1]]))
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (180, 320, 3)).astype(np.uint8)
    resampled, covered = wide.resample(image), wide.covered()
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    np.testing.assert_array_equal(resampled[0, columns], resampled[rows[0], columns])
    np.testing.assert_array_equal(resampled[rows, 0], resampled[rows, columns[0]])


@pytest.mark.parametrize("value", [True, False])
def test_filling_changes_nothing_where_all_or_nothing_is_seen(value: bool) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(fill_uncovered(image, np.full((2, 3), value)), image)
