"""Box overlap against shapely, and levels of the road."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shapely

from simulator.collision import collides, corners, overlap_pairs

PAIRS = 10_000
TOLERANCE_M = 1e-3
"""Pairs that overlap by less, or miss each other by less, may go either way in float32."""
Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]  # xy [n, 2], yaw [n], size [n, 3]


def random_boxes(rng: np.random.Generator) -> Boxes:
    xy = rng.uniform(-6, 6, (PAIRS, 2))
    return xy, rng.uniform(-np.pi, np.pi, PAIRS), rng.uniform(0.5, 7.0, (PAIRS, 3))


def anywhere(rng: np.random.Generator, first: Boxes) -> Boxes:
    return random_boxes(rng)


def turned(rng: np.random.Generator, first: Boxes) -> Boxes:
    """The same box in the same place, turned, and moved by up to a metre."""
    xy, _, size = first
    return xy + rng.uniform(-1, 1, xy.shape), rng.uniform(-np.pi, np.pi, PAIRS), size


def contained(rng: np.random.Generator, first: Boxes) -> Boxes:
    """Small enough to lie inside the first wherever it is turned."""
    xy, _, size = first
    small = np.repeat(0.3 * size[:, :2].min(axis=1, keepdims=True), 3, axis=1)
    return xy, rng.uniform(-np.pi, np.pi, PAIRS), small


def side_by_side(rng: np.random.Generator, first: Boxes) -> Boxes:
    """Parallel, side against side, apart or pressed together by up to 2 cm."""
    xy, yaw, size = first
    other = rng.uniform(0.5, 7.0, size.shape)
    ahead = rng.integers(0, 2, PAIRS).astype(bool)
    apart = np.where(ahead, size[:, 0] + other[:, 0], size[:, 1] + other[:, 1]) / 2
    angle = yaw + np.where(ahead, 0.0, np.pi / 2)
    reach = (apart + rng.uniform(-0.02, 0.02, PAIRS))[:, None]
    return xy + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1), yaw, other


def corner_on_side(rng: np.random.Generator, first: Boxes) -> Boxes:
    """A corner of the second touches the middle of a side of the first, within 2 cm."""
    xy, yaw, size = first
    turn, other = yaw + rng.uniform(0.1, np.pi / 2 - 0.1, PAIRS), rng.uniform(0.5, 7.0, size.shape)
    half = 0.5 * (other[:, 0] * np.abs(np.cos(turn - yaw)) + other[:, 1] * np.abs(np.sin(turn - yaw)))
    reach = (0.5 * size[:, 0] + half + rng.uniform(-0.02, 0.02, PAIRS))[:, None]
    return xy + reach * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), turn, other


@jax.jit
@jax.vmap
def _overlap(xy: jax.Array, yaw: jax.Array, size: jax.Array) -> jax.Array:
    return overlap_pairs(xy, yaw, size)


def _polygons(boxes: Boxes, grow_m: float) -> np.ndarray:
    """Rectangles [n] in float64, every side moved outwards by `grow_m`."""
    xy, yaw, size = (part.astype(np.float64) for part in boxes)
    along = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)[:, None]
    across = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)[:, None]
    half = (0.5 * size + grow_m)[:, None]
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])[None]
    return shapely.polygons(
        xy[:, None] + signs[..., :1] * half[..., :1] * along + signs[..., 1:] * half[..., 1:2] * across
    )


@pytest.mark.parametrize(
    ("second", "share"),  # of pairs that overlap
    [(anywhere, (0.2, 0.5)), (turned, (0.95, 1.0)), (contained, (1.0, 1.0)), (side_by_side, (0.4, 0.6)),
     (corner_on_side, (0.2, 0.6))],
)  # fmt: skip
def test_overlap_agrees_with_shapely_on_ten_thousand_pairs(
    rng: np.random.Generator,
    second: Callable[[np.random.Generator, Boxes], Boxes],
    share: tuple[float, float],
) -> None:
    """Boxes that still meet when each is a little smaller overlap; boxes that miss when each is larger do not."""
    first = random_boxes(rng)
    pair = [[part.astype(np.float32) for part in boxes] for boxes in (first, second(rng, first))]
    both = _overlap(*(jnp.stack(parts, axis=1) for parts in zip(*pair, strict=True)))
    np.testing.assert_array_equal(both[:, 0, 1], both[:, 1, 0])
    ours = np.asarray(both[:, 0, 1])
    smaller, larger = (
        shapely.intersects(*(_polygons(tuple(boxes), grow) for boxes in pair))
        for grow in (-TOLERANCE_M / 2, TOLERANCE_M / 2)
    )
    assert ours[smaller].all()
    assert not ours[~larger].any()
    assert (smaller == larger).mean() > 0.9
    assert share[0] <= ours.mean() <= share[1]


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
