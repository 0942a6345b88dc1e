"""Kernels for geometry: culling against one view, and polygons that are clipped and projected for it.

The arrays that are passed in are described in `entry.py`.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

MAX_CORNERS = 16  # of a polygon
SIDES = (
    2 * MAX_CORNERS + 1
)  # rows of scratch space for a polygon and for the result of clipping it at the near plane
SCRATCH_ROWS = SIDES + 2 * (
    MAX_CORNERS + 4
)  # ... and for the results of clipping it at both sides of the image

# _nrt=False turns reference counting of arrays off, which took a quarter of the time: kernels keep and allocate none.
kernel = njit(error_model="numpy", fastmath={"contract"}, _nrt=False)
inlined = njit(error_model="numpy", fastmath={"contract"}, _nrt=False, inline="always")


class View(NamedTuple):
    """The camera of one view. Its fields are tuples, not arrays, so that they stay in registers."""

    centre: Any  # 3, world m
    rotation: Any  # 9, world_from_camera, row by row
    planes: Any  # 4 x 3, inward unit normals of the sides of the view, camera frame
    intrinsics: Any  # 7: fx, fy, cx, cy, skew in px, 1 / fx, 1 / fy
    near: Any  # [] m
    reach: Any  # [] draw distance, m
    height: Any  # [] image size, px
    width: Any  # [] px


class Polygons(NamedTuple):
    """Planar convex polygons of one view, clipped and projected, in drawing order.

    A call of a compiled function copies every number of a tuple argument. So polygons are collected in one loop and
    rasterised in another, whose function is called once per batch and not once per polygon.
    """

    corner: Any  # [capacity, MAX_CORNERS, 3] x, y in px, and dx/dy of the edge to the next corner
    plane: Any  # [capacity, 7] 1/depth = a + b x + c y; top, bottom, left, right in px
    label: Any  # [capacity, 3] i32: number of corners, material (or layer), box that it belongs to


@kernel
@no_type_check  # numba reads annotations as its own types
def outside_view(view, x, y, z, radius):
    """Whether a sphere (camera frame, m) is certainly out of view: behind, beyond the draw distance or beside."""
    if z + radius < view.near or x * x + y * y + z * z > (view.reach + radius) * (view.reach + radius):
        return True
    for plane in view.planes:  # noqa: SIM110 (numba compiles no generators)
        if plane[0] * x + plane[1] * y + plane[2] * z < -radius:
            return True
    return False


@kernel
@no_type_check
def into_camera(rotation, x, y, z):
    """Rotate a vector from world axes to camera axes; rotation: 9, world_from_camera, row by row."""
    return (
        rotation[0] * x + rotation[3] * y + rotation[6] * z,
        rotation[1] * x + rotation[4] * y + rotation[7] * z,
        rotation[2] * x + rotation[5] * y + rotation[8] * z,
    )


@kernel
@no_type_check
def sphere_outside_view(view, sphere, index):
    """`outside_view` of row `index` of `sphere` [spheres, 4] (world centre and radius, m)."""
    centre = view.centre
    x, y, z = into_camera(
        view.rotation,
        sphere[index, 0] - centre[0],
        sphere[index, 1] - centre[1],
        sphere[index, 2] - centre[2],
    )
    return outside_view(view, x, y, z, sphere[index, 3])


@inlined
@no_type_check
def add_quad(view, quads, quad, pieces, label, polygons, used, scratch):
    """Append a ground quad, in one piece or as its triangles 0-1-2 and 0-2-3; returns the new number of polygons."""
    for piece in range(pieces):
        for k in range(4):
            scratch[k, 0], scratch[k, 1], scratch[k, 2] = into_camera(
                view.rotation,
                quads[quad, k, 0] - view.centre[0],
                quads[quad, k, 1] - view.centre[1],
                quads[quad, k, 2] - view.centre[2],
            )
        if piece == 1:
            copy_row(scratch, 2, 1)
            copy_row(scratch, 3, 2)
        used = add_polygon(view, scratch, 4 if pieces == 1 else 3, label, -1, polygons, used)
    return used


@inlined
@no_type_check
def add_polygon(view, scratch, count, label, box, polygons, used):
    """Append a planar convex polygon: the first `count` rows of `scratch`, camera frame, m.

    label: its material or layer. box: the box it belongs to, -1 for none. Returns the new number of polygons.
    """
    base, slope_x, slope_y, first, count, top, bottom, left, right = _clip_and_project(
        scratch, count, view.intrinsics, view.near, view.height, view.width
    )
    if count > 0:
        polygons.label[used, 0], polygons.label[used, 1], polygons.label[used, 2] = count, label, box
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
def _clip_and_project(corner, count, intrinsics, near, height, width):
    """Clip a planar polygon (the first `count` rows, camera frame) to the image and project it, in place.

    Returns its plane (see `inverse_depth_plane`), the first row and the number of rows of the result (0 if it is not
    visible), and its top, bottom, left and right, px.
    """
    zero = np.float32(0)
    base, slope_x, slope_y = inverse_depth_plane(corner, count, intrinsics)
    first, count = clip(corner, count, near)
    top, bottom, left, right = project(corner, first, count, intrinsics)
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
def inverse_depth_plane(corner, count, intrinsics):
    """Coefficients a, b, c of 1/depth = a + b x + c y (x, y in px) of a planar polygon in the camera frame.

    All 0 if the polygon is seen edge-on. The normal is the cross product of two diagonals about a quarter turn apart
    (for a triangle: of two sides).
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
    slope_x = nx * scale * intrinsics[5]
    slope_y = (ny * scale - slope_x * intrinsics[4]) * intrinsics[6]
    return nz * scale - slope_x * intrinsics[2] - slope_y * intrinsics[3], slope_x, slope_y


@kernel
@no_type_check
def project(corner, first, count, intrinsics):
    """Project corners to x, y in px, in place; returns top, bottom, left and right (top > bottom if count is 0)."""
    far = np.float32(np.inf)
    top, bottom, left, right = far, -far, far, -far
    for k in range(first, first + count):
        inverse = np.float32(1) / corner[k, 2]
        x = (intrinsics[0] * corner[k, 0] + intrinsics[4] * corner[k, 1]) * inverse + intrinsics[2]
        y = intrinsics[1] * corner[k, 1] * inverse + intrinsics[3]
        corner[k, 0], corner[k, 1] = x, y
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    return top, bottom, left, right


@kernel
@no_type_check
def slopes(corner, first, count):
    """Replace the depth of each corner by dx/dy of the edge to the next corner.

    dx/dy is computed from the edge's upper to its lower end, so that polygons that share an edge compute the same
    crossings.
    """
    for k in range(first, first + count):
        after = k + 1 if k + 1 < first + count else first
        low, high = (k, after) if corner[k, 1] <= corner[after, 1] else (after, k)
        corner[k, 2] = (corner[high, 0] - corner[low, 0]) / (corner[high, 1] - corner[low, 1])


@kernel
@no_type_check
def clip(corner, count, near):
    """Clip a polygon at the near plane (m); returns the first row and the number of rows of the result."""
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
            # From the visible corner outwards, so that polygons that share the edge clip it at the same point.
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
    """Clip a projected polygon at the left and right side of the image.

    Returns the first row, the number of rows, and top and bottom of the result, px. A strip that passes close to the
    camera is thousands of pixels wide, and most of its rows are outside the image.
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
    """Copy row `source` of `corner` [rows, 3] to row `target`."""
    corner[target, 0], corner[target, 1], corner[target, 2] = (
        corner[source, 0],
        corner[source, 1],
        corner[source, 2],
    )
