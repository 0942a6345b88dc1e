"""Box overlap against shapely, and levels of the road."""

import jax
import jax.numpy as jnp
import numpy as np
import shapely

from simulator.collision import collides, corners, overlap_pairs


def random_boxes(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    xy = rng.uniform(-6, 6, (count, 2)).astype(np.float32)
    yaw = rng.uniform(-np.pi, np.pi, count).astype(np.float32)
    size = rng.uniform(0.5, 7.0, (count, 3)).astype(np.float32)
    return xy, yaw, size


def test_overlap_agrees_with_shapely_on_ten_thousand_pairs(rng: np.random.Generator) -> None:
    checked = 0
    for _ in range(2):
        xy, yaw, size = random_boxes(rng, 101)
        ours = np.asarray(jax.jit(overlap_pairs)(xy, yaw, size))
        polygons = shapely.polygons(np.asarray(corners(jnp.asarray(xy), jnp.asarray(yaw), jnp.asarray(size))))
        theirs = shapely.intersects(polygons[:, None], polygons[None, :])
        gap = np.abs(shapely.distance(polygons[:, None], polygons[None, :]))
        shared = shapely.area(shapely.intersection(polygons[:, None], polygons[None, :]))
        clear = (gap > 1e-3) | (shared > 1e-3)  # pairs that touch within rounding may go either way
        np.testing.assert_array_equal(ours[clear], theirs[clear])
        checked += int(clear.sum()) - 101
    assert checked > 10_000


def test_corners_are_typed_out_in_order() -> None:
    # 4 x 2 box at (10, 5) heading north: front-left is north-west
    points = corners(jnp.array([10.0, 5.0]), jnp.array(np.pi / 2), jnp.array([4.0, 2.0, 1.5]))
    np.testing.assert_allclose(points, [[9, 7], [11, 7], [11, 3], [9, 3]], atol=1e-5)


def test_absent_boxes_and_other_levels_do_not_collide() -> None:
    position = jnp.array([[0.0, 0, 0], [1.0, 0, 0], [0.5, 0, 6.0], [20.0, 0, 0]])
    yaw, size = jnp.zeros(4), jnp.tile(jnp.array([4.0, 2.0, 1.5]), (4, 1))
    everyone = jnp.ones(4, bool)
    np.testing.assert_array_equal(collides(position, yaw, size, everyone), [True, True, False, False])
    without_second = everyone.at[1].set(False)
    np.testing.assert_array_equal(collides(position, yaw, size, without_second), [False] * 4)
