"""Exact pixel coverage of a decal in closed form, as defined in `renderer/backends/coverage.py`.

The area between an edge and the left side of a pixel, within the edge's rows, is an integral of clamp(x, 0, 1). The
sum over the edges of a polygon, with edges that run upwards counted negative, is its area within the pixel.
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.quad_setup import BLOCK, EDGE, EDGES

STEEP_PX = tl.constexpr(1e-3)  # an edge that moves less in x within a row is treated as vertical


@triton.jit
@no_type_check
def covered_area(record, row, column, top, bottom):
    """Share of each pixel that a record covers.

    row, column: pixels' upper left corners, along two axes, px. top, bottom: of the tile, px. What depends on the row
    alone is computed once for each row of a lane.
    """
    area = tl.zeros_like(row + column)
    for edge in tl.static_range(EDGES):
        begin = tl.load(record + (EDGE * edge + 2) * BLOCK)
        end = tl.load(record + (EDGE * edge + 3) * BLOCK)
        if (tl.minimum(begin, end) < bottom) & (
            tl.maximum(begin, end) > top
        ):  # the whole warp takes the same branch
            crossing = tl.load(record + EDGE * edge * BLOCK)
            slope = tl.load(record + (EDGE * edge + 1) * BLOCK)
            first = tl.minimum(tl.maximum(begin, row), row + 1.0)
            last = tl.minimum(tl.maximum(end, row), row + 1.0)
            x, end_x = crossing + slope * first, crossing + slope * last
            area += area_left_of_edge(tl.minimum(x, end_x), tl.maximum(x, end_x), last - first, column)
    return tl.minimum(tl.abs(area), 1.0)


@triton.jit
@no_type_check
def area_left_of_edge(low, high, down, column):
    """`down` times the mean of clamp(x - column, 0, 1) for x from low to high.

    Where the whole edge is above 1, the mean is 1 up to one bit, so that the edges of a polygon to the right cancel.
    """
    span = high - low
    vertical = span < STEEP_PX
    scale = down / tl.where(vertical, 1.0, span)
    low, high = low - column, high - column
    left, right = tl.minimum(tl.maximum(low, 0.0), 1.0), tl.minimum(tl.maximum(high, 0.0), 1.0)
    # The integral between 0 and 1, and the part above 1.
    total = 0.5 * (right - left) * (right + left) + (tl.maximum(high, 1.0) - tl.maximum(low, 1.0))
    return tl.where(vertical, 0.5 * (left + right), total) * scale
