"""Compiled geometry of the fast renderer for CPUs: what one view is, and polygons cut and projected for it.

Tables and tensors come in as arguments (`entry.py` says what they hold). numba's cache on disk is told apart by
the text of every file of these kernels (`views.py`).
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

MAX_CORNERS = 16  # of a polygon
SIDES = 2 * MAX_CORNERS + 1  # rows of scratch space for a polygon, and what clipping makes of it
SCRATCH_ROWS = SIDES + 2 * (MAX_CORNERS + 4)  # ... and for what is left between the two sides of the picture

# Without numba's counting of references to arrays, a quarter of the time: kernels keep none and make none.
kernel = njit(error_model="numpy", fastmath={"contract"}, _nrt=False)
inlined = njit(error_model="numpy", fastmath={"contract"}, _nrt=False, inline="always")


class Eye(NamedTuple):
    """Of one view. Its numbers are tuples, not arrays: they stay in registers."""

    centre: Any  # 3, world m
    rotation: Any  # 9, world_from_camera, row by row
    planes: Any  # 4 x 3, inward unit normals of the sides of the view, camera frame
    lens: Any  # 7: fx, fy, cx, cy, skew in px, 1 / fx, 1 / fy
    near: Any  # [] m
    reach: Any  # [] m
    height: Any  # [] px
    width: Any  # [] px


class Polygons(NamedTuple):
    """Flat convex polygons of one view, cut to what its picture may show and projected, in the order of drawing.

    Compiled functions take tuples apart and copy every number for each call: so polygons are gathered in one loop and
    drawn in another, which is called once and not for each of them.
    """

    corner: Any  # [room, MAX_CORNERS, 3] x, y in px, and dx/dy of the edge to the next corner
    plane: Any  # [room, 7] 1/depth = a + b x + c y; top, bottom, left, right in px
    label: Any  # [room, 3] i32: number of corners, material (or layer), box that it belongs to


@kernel
@no_type_check  # annotations would have to be numba's types
def hidden(eye, x, y, z, radius):
    """Whether a sphere (camera frame) is certainly out of view: behind, beyond the draw distance or aside."""
    if z + radius < eye.near or x * x + y * y + z * z > (eye.reach + radius) * (eye.reach + radius):
        return True
    for plane in eye.planes:  # noqa: SIM110 (numba compiles no generators)
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
def sphere_hidden(eye, sphere, index):
    centre = eye.centre
    x, y, z = into_camera(
        eye.rotation,
        sphere[index, 0] - centre[0],
        sphere[index, 1] - centre[1],
        sphere[index, 2] - centre[2],
    )
    return hidden(eye, x, y, z, sphere[index, 3])


@inlined
@no_type_check
def gather_quad(eye, quads, quad, pieces, what, polygons, used, scratch):
    """A ground quad, in one piece or as its triangles 0-1-2 and 0-2-3; gives the number of polygons so far."""
    for piece in range(pieces):
        for k in range(4):
            scratch[k, 0], scratch[k, 1], scratch[k, 2] = into_camera(
                eye.rotation,
                quads[quad, k, 0] - eye.centre[0],
                quads[quad, k, 1] - eye.centre[1],
                quads[quad, k, 2] - eye.centre[2],
            )
        if piece == 1:
            copy_row(scratch, 2, 1)
            copy_row(scratch, 3, 2)
        used = gather(eye, scratch, 4 if pieces == 1 else 3, what, -1, polygons, used)
    return used


@inlined
@no_type_check
def gather(eye, scratch, count, what, owner, polygons, used):
    """A flat convex polygon (the first `count` rows, camera frame); gives the number of polygons so far."""
    base, slope_x, slope_y, first, count, top, bottom, left, right = _into_picture(
        scratch, count, eye.lens, eye.near, eye.height, eye.width
    )
    if count > 0:
        polygons.label[used, 0], polygons.label[used, 1], polygons.label[used, 2] = count, what, owner
        plane = polygons.plane
        plane[used, 0], plane[used, 1], plane[used, 2] = base, slope_x, slope_y
        plane[used, 3], plane[used, 4], plane[used, 5], plane[used, 6] = top, bottom, left, right
        for k in range(count):
            polygons.corner[used, k, 0] = scratch[first + k, 0]
            polygons.corner[used, k, 1] = scratch[first + k, 1]
            polygons.corner[used, k, 2] = scratch[first + k, 2]
        used += 1
    return used


@kernel
@no_type_check
def _into_picture(corner, count, lens, near, height, width):
    """Cut a flat polygon (the first `count` rows, camera frame) to what a picture may show, and project it.

    Gives its plane (see `plane`), the first row and the number of rows of the rest (0 if there is none), and its top,
    bottom, left and right.
    """
    zero = np.float32(0)
    base, slope_x, slope_y = plane(corner, count, lens)
    first, count = clip(corner, count, near)
    top, bottom, left, right = project(corner, first, count, lens)
    edge_on = base == 0 and slope_x == 0 and slope_y == 0
    if edge_on or not (bottom > 0 and top < height and right > 0 and left < width):
        count = 0
    elif left < 0 or right > width:
        first, count, top, bottom = clip_sides(corner, first, count, width)
        left, right = max(left, zero), min(right, width)
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
    scale = np.float32(1) / volume
    slope_x = nx * scale * lens[5]
    slope_y = (ny * scale - slope_x * lens[4]) * lens[6]
    return nz * scale - slope_x * lens[2] - slope_y * lens[3], slope_x, slope_y


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
def slopes(corner, first, count):
    """Put dx/dy of every edge of a projected polygon into the column that held the depth.

    From its upper to its lower end, so that neighbours compute the same crossings.
    """
    for k in range(first, first + count):
        after = k + 1 if k + 1 < first + count else first
        low, high = (k, after) if corner[k, 1] <= corner[after, 1] else (after, k)
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
