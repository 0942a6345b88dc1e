"""The area of a pixel that a thin thing covers, in closed form; `coverage.py` says what the picture is to be.

The area between an edge and the left side of a pixel, at the edge's height, is an integral of clamp(x, 0, 1); the sum
over the edges of a polygon, those that go up counted below 0, is the polygon's area within the pixel.
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.quad_setup import BLOCK, EDGE, EDGES

STEEP_PX = tl.constexpr(1e-3)  # an edge that moves less aside within a row is as good as upright


@triton.jit
@no_type_check
def covered_area(at, row, column, top, bottom):
    """Share of each pixel that the record `at` covers.

    row and column are pixels' upper left corners, along two axes; top and bottom those of the tile. What depends on
    the row alone is computed once for each row that a lane holds.
    """
    area = tl.zeros_like(row + column)
    for edge in tl.static_range(EDGES):
        begin = tl.load(at + (EDGE * edge + 2) * BLOCK)
        end = tl.load(at + (EDGE * edge + 3) * BLOCK)
        if (tl.minimum(begin, end) < bottom) & (
            tl.maximum(begin, end) > top
        ):  # one branch for the whole warp
            crossing = tl.load(at + EDGE * edge * BLOCK)
            slope = tl.load(at + (EDGE * edge + 1) * BLOCK)
            first = tl.minimum(tl.maximum(begin, row), row + 1.0)
            last = tl.minimum(tl.maximum(end, row), row + 1.0)
            x, end_x = crossing + slope * first, crossing + slope * last
            area += beside(tl.minimum(x, end_x), tl.maximum(x, end_x), last - first, column)
    return tl.minimum(tl.abs(area), 1.0)


@triton.jit
@no_type_check
def beside(low, high, down, column):
    """`down` times the mean of clamp(x - column, 0, 1) for x from low to high.

    Where all of it is above, the mean is 1 to the last bits but one, so that on the left of a thing, edges cancel.
    """
    span = high - low
    upright = span < STEEP_PX
    scale = down / tl.where(upright, 1.0, span)
    low, high = low - column, high - column
    left, right = tl.minimum(tl.maximum(low, 0.0), 1.0), tl.minimum(tl.maximum(high, 0.0), 1.0)
    # The integral between 0 and 1, and what lies above 1.
    whole = 0.5 * (right - left) * (right + left) + (tl.maximum(high, 1.0) - tl.maximum(low, 1.0))
    return tl.where(upright, 0.5 * (left + right), whole) * scale
