"""Compiled geometry of the fast renderer for CPUs: what one view is, and polygons cut and projected for it.

Tables and tensors come in as arguments (`numba_cpu.py` says what they hold). numba's cache on disk is told apart by
the text of every file of these kernels (`numba_views.py`).
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

MAX_CORNERS = 16  # of a polygon
SIDES = 2 * MAX_CORNERS + 1  # rows of scratch space for a polygon, and what clipping makes of it
ROOM = SIDES + 2 * (MAX_CORNERS + 4)  # ... and for what is left between the two sides of the picture

kernel = njit(error_model="numpy", fastmath={"contract"})
inlined = njit(error_model="numpy", fastmath={"contract"}, inline="always")  # what is called for every pixel


class View(NamedTuple):
    """One of them, and what is drawn so far. Its numbers are tuples, not arrays: they stay in registers."""

    centre: Any  # 3
    rotation: Any  # 9, row by row
    planes: Any  # 4 x 3
    lens: Any  # 5
    near: Any  # [] m
    reach: Any  # [] m
    length: Any  # [height, width] of the ray of a pixel, in draw distances
    key: Any  # [height, width] precedence / depth of the surface in front, 0 if there is none
    material: Any  # [height, width] u8
    instance: Any  # [height, width] i32, or of no size where nobody asks
    layer: Any  # [height, width] u8, see `numba_coverage.py`
    thin: Any  # [height, width, THIN] f32, see `numba_coverage.py`
    winner: Any  # [height, width] u8, 1 + the layer that covers most; 0 if the surface does
    touched: Any  # [height] u8, whether a row may hold anything thin
    solid: Any  # [height] u8, whether a row may hold a surface
    edge: Any  # [width + 2] f32, zeros


@kernel
@no_type_check  # annotations would have to be numba's types
def hidden(view, x, y, z, radius):
    """Whether a sphere (camera frame) is certainly out of view: behind, beyond the draw distance or aside."""
    if z + radius < view.near or x * x + y * y + z * z > (view.reach + radius) * (view.reach + radius):
        return True
    for plane in view.planes:  # noqa: SIM110 (numba compiles no generators)
        if plane[0] * x + plane[1] * y + plane[2] * z < -radius:
            return True
    return False


@kernel
@no_type_check
def into_camera(rotation, x, y, z):
    """Turn a vector from world axes to camera axes."""
    return (
        rotation[0] * x + rotation[3] * y + rotation[6] * z,
        rotation[1] * x + rotation[4] * y + rotation[7] * z,
        rotation[2] * x + rotation[5] * y + rotation[8] * z,
    )


@kernel
@no_type_check
def sphere_hidden(view, sphere, index):
    centre = view.centre
    x, y, z = into_camera(
        view.rotation,
        sphere[index, 0] - centre[0],
        sphere[index, 1] - centre[1],
        sphere[index, 2] - centre[2],
    )
    return hidden(view, x, y, z, sphere[index, 3])


@kernel
@no_type_check
def load_quad(view, quads, quad, corner):
    """A ground quad's corners, camera frame, into the first four rows."""
    centre, rotation = view.centre, view.rotation
    for k in range(4):
        corner[k, 0], corner[k, 1], corner[k, 2] = into_camera(
            rotation,
            quads[quad, k, 0] - centre[0],
            quads[quad, k, 1] - centre[1],
            quads[quad, k, 2] - centre[2],
        )


@kernel
@no_type_check
def load_triangle(view, quads, quad, half, corner):
    """One of the triangles 0-1-2 and 0-2-3 of a ground quad, camera frame, into the first three rows."""
    load_quad(view, quads, quad, corner)
    if half == 1:
        copy_row(corner, 2, 1)
        copy_row(corner, 3, 2)


@kernel
@no_type_check
def into_picture(view, corner, count):
    """Cut a flat polygon (the first `count` rows, camera frame) to what a picture may show, and project it.

    Gives its plane (see `plane`), the first row and the number of rows of the rest (0 if there is none), and its top,
    bottom, left and right.
    """
    zero = np.float32(0)
    base, slope_x, slope_y = plane(corner, count, view.lens)
    height, width = view.key.shape
    first, count = clip(corner, count, view.near)
    top, bottom, left, right = project(corner, first, count, view.lens)
    edge_on = base == 0 and slope_x == 0 and slope_y == 0
    if edge_on or not (bottom > 0 and top < height and right > 0 and left < width):
        count = 0
    elif left < 0 or right > width:
        first, count, top, bottom = clip_sides(corner, first, count, np.float32(width))
        left, right = max(left, zero), min(right, np.float32(width))
    slopes(corner, first, count)
    return base, slope_x, slope_y, first, count, top, bottom, left, right


@kernel
@no_type_check
def plane(corner, count, lens):
    """Of a flat polygon in the camera frame, before it is projected: where 1/depth = a + b x + c y in pixels.

    Gives a, b, c; all 0 if the polygon is seen edge-on. The normal is that of two diagonals about a quarter turn
    apart (of a triangle, of two sides).
    """
    across, one = count // 2, max(count // 4, 1)
    other = one + across
    ax, ay, az = (
        corner[across, 0] - corner[0, 0],
        corner[across, 1] - corner[0, 1],
        corner[across, 2] - corner[0, 2],
    )
    bx, by, bz = (
        corner[other, 0] - corner[one, 0],
        corner[other, 1] - corner[one, 1],
        corner[other, 2] - corner[one, 2],
    )
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    volume = nx * corner[0, 0] + ny * corner[0, 1] + nz * corner[0, 2]
    if volume == 0:
        zero = np.float32(0)
        return zero, zero, zero
    slope_x = nx / (volume * lens[0])
    slope_y = (ny / volume - slope_x * lens[4]) / lens[1]
    return nz / volume - slope_x * lens[2] - slope_y * lens[3], slope_x, slope_y


@kernel
@no_type_check
def project(corner, first, count, lens):
    """Turn corners into pixels x, y in place; gives top, bottom, left and right (top > bottom if none)."""
    far = np.float32(np.inf)
    top, bottom, left, right = far, -far, far, -far
    for k in range(first, first + count):
        inverse = np.float32(1) / corner[k, 2]
        x = (lens[0] * corner[k, 0] + lens[4] * corner[k, 1]) * inverse + lens[2]
        y = lens[1] * corner[k, 1] * inverse + lens[3]
        corner[k, 0], corner[k, 1] = x, y
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    return top, bottom, left, right


@kernel
@no_type_check
def ends(corner, first, count, k):
    """Rows of the upper and the lower end of edge k: in this order, so that neighbours compute the same crossings."""
    after = k + 1 if k + 1 < first + count else first
    return (k, after) if corner[k, 1] <= corner[after, 1] else (after, k)


@kernel
@no_type_check
def slopes(corner, first, count):
    """Put dx/dy of every edge of a projected polygon into the column that held the depth."""
    for k in range(first, first + count):
        low, high = ends(corner, first, count, k)
        corner[k, 2] = (corner[high, 0] - corner[low, 0]) / (corner[high, 1] - corner[low, 1])


@kernel
@no_type_check
def clip(corner, count, near):
    """Cut off what is nearer than the near plane; gives first row and number of rows of the rest."""
    behind = 0
    for k in range(count):
        if corner[k, 2] < near:
            behind += 1
    if behind == 0:
        return 0, count
    if behind == count:
        return 0, 0
    kept = count
    for k in range(count):
        after = k + 1 if k + 1 < count else 0
        if corner[k, 2] >= near:
            copy_row(corner, k, kept)
            kept += 1
        if (corner[k, 2] >= near) != (corner[after, 2] >= near):
            # From the visible corner outwards, so that neighbours that share the edge cut it at the same point.
            seen, cut = (k, after) if corner[k, 2] >= near else (after, k)
            share = (near - corner[seen, 2]) / (corner[cut, 2] - corner[seen, 2])
            corner[kept, 0] = corner[seen, 0] + share * (corner[cut, 0] - corner[seen, 0])
            corner[kept, 1] = corner[seen, 1] + share * (corner[cut, 1] - corner[seen, 1])
            corner[kept, 2] = near
            kept += 1
    return count, kept - count


@kernel
@no_type_check
def clip_sides(corner, first, count, width):
    """Cut a projected polygon off beside the picture; gives first row, number of rows, top and bottom of the rest.

    A strip that passes the eye is thousands of pixels wide: most of its rows are out of sight.
    """
    for side in range(2):
        kept = SIDES + side * (MAX_CORNERS + 4)
        start, limit = kept, np.float32(0) if side == 0 else width
        for k in range(first, first + count):
            after = k + 1 if k + 1 < first + count else first
            inside = corner[k, 0] >= limit if side == 0 else corner[k, 0] <= limit
            inside_after = corner[after, 0] >= limit if side == 0 else corner[after, 0] <= limit
            if inside:
                copy_row(corner, k, kept)
                kept += 1
            if inside != inside_after:
                seen, cut = (k, after) if inside else (after, k)  # as in `clip`
                share = (limit - corner[seen, 0]) / (corner[cut, 0] - corner[seen, 0])
                corner[kept, 0] = limit
                corner[kept, 1] = corner[seen, 1] + share * (corner[cut, 1] - corner[seen, 1])
                kept += 1
        first, count = start, kept - start
    top, bottom = np.float32(np.inf), -np.float32(np.inf)
    for k in range(first, first + count):
        top, bottom = min(top, corner[k, 1]), max(bottom, corner[k, 1])
    return first, count, top, bottom


@kernel
@no_type_check
def copy_row(corner, source, target):
    corner[target, 0], corner[target, 1], corner[target, 2] = (
        corner[source, 0],
        corner[source, 1],
        corner[source, 2],
    )
