"""The boxes of a log have the corners and overlaps that the simulator computes for them."""

from __future__ import annotations

import jax
import numpy as np

from simulator.collision import colliding_pairs, corners
from simulator.conventions import LEVEL_GAP_M
from simulator.logs.box_geometry import box_corners, corners_of, overlapping_boxes, overlaps_of
from tests.recorded import traffic_log

BOXES = 200


def random_boxes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, yaw and size of boxes in a square of 60 m, at heights of which some differ by a level."""
    position = np.column_stack([rng.uniform(-30, 30, (BOXES, 2)), rng.choice([0.0, 2.4, 4.0], BOXES)])
    size = rng.uniform(0.5, 8.0, (BOXES, 3))
    return tuple(a.astype(np.float32) for a in (position, rng.uniform(-np.pi, np.pi, BOXES), size))  # type: ignore[return-value]


def test_corners_and_overlaps_are_those_of_the_simulator(rng: np.random.Generator) -> None:
    position, yaw, size = random_boxes(rng)
    np.testing.assert_allclose(
        box_corners(position[:, :2], yaw, size), jax.jit(corners)(position[:, :2], yaw, size), atol=1e-5
    )
    expected = np.asarray(jax.jit(colliding_pairs)(position, yaw, size, np.ones(BOXES, bool)))
    assert 500 < expected.sum() < BOXES**2 / 4
    np.testing.assert_array_equal(overlapping_boxes(position, yaw, size), expected)


def test_only_valid_states_on_one_level_overlap() -> None:
    """Four cars: the second has no state at the second step, the third is on a bridge, the last one is apart."""
    position = np.zeros((4, 2, 3))
    position[2, :, 2] = LEVEL_GAP_M
    position[3, :, 1] = 1.9 + 0.01
    valid = np.ones((4, 2), bool)
    valid[1, 1] = False
    log = traffic_log(position, 0.0, valid=valid)
    expected = np.zeros((4, 4, 2), bool)
    expected[0, 1, 0] = expected[1, 0, 0] = True
    np.testing.assert_array_equal(overlaps_of(log), expected)
    np.testing.assert_array_equal(corners_of(log)[1, 1], np.zeros((4, 2)))
    np.testing.assert_allclose(corners_of(log)[0, 0, 0], (4.5 / 2, 1.9 / 2), atol=1e-6)  # front left
