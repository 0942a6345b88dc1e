"""Compiled kernels of the fast renderer for CPUs: one thread draws one view, with scan lines and a depth buffer.

Same picture as `reference.py`, other arithmetic: polygons are clipped at the near plane, projected, and filled row by
row; 1/depth is linear over a row, so the depth test costs one addition per pixel. What a view cannot see is skipped by
bounding spheres: whole cells of ground first, then quads, boxes and lights.

Every kernel is in this file, and tables come in as arguments (`numba_cpu.py` says what they hold): numba's cache on
disk notices changes of this file only.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit, prange

MAX_CORNERS = 16  # of a polygon
SPARE = 2 * MAX_CORNERS + 1  # rows of scratch space for a polygon, and what clipping makes of it
ROOM = SPARE + 3  # ... and for the corners of the second triangle of a quad that is not flat

kernel = njit(cache=True, error_model="numpy")


class View(NamedTuple):
    """One of them, and what is drawn so far. Its numbers are tuples, not arrays: they stay in registers."""

    centre: Any  # 3
    rotation: Any  # 9, row by row
    planes: Any  # 4 x 3
    lens: Any  # 5
    furthest: Any  # [height, width] 1/depth at which the ray of a pixel leaves the draw distance
    near: Any  # [] m
    reach: Any  # [] m
    key: Any  # [height, width] precedence / depth of what is nearest, 0 if nothing is
    material: Any  # [height, width] u8


@njit(parallel=True, cache=True, error_model="numpy")
@no_type_check  # annotations would have to be numba's types
def draw_views(eyes, ground, things, look, rgb, depth, class_id):
    """All views. While a view is drawn, its `depth` holds precedence / depth and its `class_id` materials."""
    viewers, cameras = eyes.centre.shape[:2]
    for index in prange(viewers * cameras):
        viewer, camera = index // cameras, index % cameras
        centre, lens = eyes.centre[viewer, camera], eyes.lens[camera]
        view = View(
            (centre[0], centre[1], centre[2]),
            _nine(eyes.rotation[viewer, camera]),
            _twelve(eyes.planes[camera]),
            (lens[0], lens[1], lens[2], lens[3], lens[4]),
            eyes.length[camera],
            eyes.near,
            eyes.reach,
            depth[viewer, camera],
            class_id[viewer, camera],
        )
        _clear(view)
        scratch = np.empty((ROOM, 3), np.float32)
        world, own_box = things.viewer_world[viewer], things.viewer_box[viewer]
        _draw_ground(view, ground, things.map_id[world], look.precedence, scratch)
        _draw_boxes(view, things, world, own_box, look, scratch)
        _draw_lights(view, things, world, look, scratch)
        _shade(view, look, eyes.rays[camera], eyes.height[viewer, camera], rgb[viewer, camera])


@kernel
@no_type_check
def _nine(a):
    return a[0, 0], a[0, 1], a[0, 2], a[1, 0], a[1, 1], a[1, 2], a[2, 0], a[2, 1], a[2, 2]


@kernel
@no_type_check
def _twelve(a):
    return (
        (a[0, 0], a[0, 1], a[0, 2]),
        (a[1, 0], a[1, 1], a[1, 2]),
        (a[2, 0], a[2, 1], a[2, 2]),
        (a[3, 0], a[3, 1], a[3, 2]),
    )


@kernel
@no_type_check
def _clear(view):
    for row in range(view.key.shape[0]):
        for column in range(view.key.shape[1]):
            view.key[row, column] = 0
            view.material[row, column] = 0


@kernel
@no_type_check
def _hidden(view, x, y, z, radius):
    """Whether a sphere (camera frame) is certainly out of view: behind, beyond the draw distance or aside."""
    if z + radius < view.near or x * x + y * y + z * z > (view.reach + radius) * (view.reach + radius):
        return True
    for plane in view.planes:  # noqa: SIM110 (numba compiles no generators)
        if plane[0] * x + plane[1] * y + plane[2] * z < -radius:
            return True
    return False


@kernel
@no_type_check
def _into_camera(rotation, x, y, z):
    """Turn a vector from world axes to camera axes."""
    return (
        rotation[0] * x + rotation[3] * y + rotation[6] * z,
        rotation[1] * x + rotation[4] * y + rotation[7] * z,
        rotation[2] * x + rotation[5] * y + rotation[8] * z,
    )


@kernel
@no_type_check
def _sphere_hidden(view, sphere, index):
    centre = view.centre
    x, y, z = _into_camera(
        view.rotation,
        sphere[index, 0] - centre[0],
        sphere[index, 1] - centre[1],
        sphere[index, 2] - centre[2],
    )
    return _hidden(view, x, y, z, sphere[index, 3])


@kernel
@no_type_check
def _draw_ground(view, ground, town, precedence, scratch):
    centre, quads = view.centre, ground.quads
    for cell in range(ground.map_cell_start[town], ground.map_cell_start[town + 1]):
        if _sphere_hidden(view, ground.cell_sphere, cell):
            continue
        for quad in range(ground.cell_start[cell], ground.cell_start[cell + 1]):
            if _sphere_hidden(view, ground.sphere, quad):
                continue
            for k in range(4):
                scratch[k, 0], scratch[k, 1], scratch[k, 2] = _into_camera(
                    view.rotation,
                    quads[quad, k, 0] - centre[0],
                    quads[quad, k, 1] - centre[1],
                    quads[quad, k, 2] - centre[2],
                )
            paint = ground.class_id[quad]
            count = 4 if ground.flat[quad] else 3  # in one piece, or as triangles 0-1-2 and 0-2-3
            if count == 3:
                _copy_row(scratch, 0, SPARE)
                _copy_row(scratch, 2, SPARE + 1)
                _copy_row(scratch, 3, SPARE + 2)
            _fill(view, scratch, count, paint, precedence[paint])
            if count == 3:
                for k in range(3):
                    _copy_row(scratch, SPARE + k, k)
                _fill(view, scratch, count, paint, precedence[paint])


@kernel
@no_type_check
def _copy_row(rows, source, target):
    rows[target, 0], rows[target, 1], rows[target, 2] = rows[source, 0], rows[source, 1], rows[source, 2]


@kernel
@no_type_check
def _draw_boxes(view, things, world, own_box, look, scratch):
    centre, rotation = view.centre, view.rotation
    half, axes = np.empty(3, np.float32), np.empty((3, 3), np.float32)
    for box in range(things.box_class.shape[1]):
        kind = things.box_class[world, box]
        if kind < 0 or box == own_box:
            continue
        for axis in range(3):
            half[axis] = things.box_size[world, box, axis] * np.float32(0.5)
        east = things.box_position[world, box, 0] - centre[0]
        north = things.box_position[world, box, 1] - centre[1]
        above = things.box_position[world, box, 2] + half[2] - centre[2]
        x, y, z = _into_camera(rotation, east, north, above)
        radius = np.sqrt(half[0] * half[0] + half[1] * half[1] + half[2] * half[2]) + np.float32(1e-3)
        if _hidden(view, x, y, z, radius):
            continue
        cos, sin = np.cos(things.box_yaw[world, box]), np.sin(things.box_yaw[world, box])
        zero, one = np.float32(0), np.float32(1)
        axes[0, 0], axes[0, 1], axes[0, 2] = _into_camera(rotation, cos, sin, zero)
        axes[1, 0], axes[1, 1], axes[1, 2] = _into_camera(rotation, -sin, cos, zero)
        axes[2, 0], axes[2, 1], axes[2, 2] = _into_camera(rotation, zero, zero, one)
        for face in range(6):
            axis = face // 2
            away = -(axes[axis, 0] * x + axes[axis, 1] * y + axes[axis, 2] * z)  # the eye, seen from the box
            if (away if face % 2 == 0 else -away) <= half[axis]:
                continue
            for k in range(4):
                forward = look.face_corners[face, k, 0] * half[0]
                left = look.face_corners[face, k, 1] * half[1]
                up = look.face_corners[face, k, 2] * half[2]
                scratch[k, 0] = x + forward * axes[0, 0] + left * axes[1, 0] + up * axes[2, 0]
                scratch[k, 1] = y + forward * axes[0, 1] + left * axes[1, 1] + up * axes[2, 1]
                scratch[k, 2] = z + forward * axes[0, 2] + left * axes[1, 2] + up * axes[2, 2]
            paint = look.first_material[1] + 6 * kind + face
            _fill(view, scratch, 4, paint, look.precedence[paint])


@kernel
@no_type_check
def _draw_lights(view, things, world, look, scratch):
    centre, rotation = view.centre, view.rotation
    for light in range(things.light_state.shape[1]):
        state = things.light_state[world, light]
        if state == 0:
            continue
        east = things.light_position[world, light, 0] - centre[0]
        north = things.light_position[world, light, 1] - centre[1]
        above = things.light_position[world, light, 2] - centre[2]
        cos, sin = np.cos(things.light_yaw[world, light]), np.sin(things.light_yaw[world, light])
        if east * cos + north * sin <= 0:  # seen from behind
            continue
        x, y, z = _into_camera(rotation, east, north, above)
        if _hidden(view, x, y, z, look.disc[0, 0] * 2):
            continue
        zero, one = np.float32(0), np.float32(1)
        right_x, right_y, right_z = _into_camera(rotation, sin, -cos, zero)
        up_x, up_y, up_z = _into_camera(rotation, zero, zero, one)
        sides = look.disc.shape[0]
        for k in range(sides):
            right, up = look.disc[k, 0], look.disc[k, 1]
            scratch[k, 0] = x + right * right_x + up * up_x
            scratch[k, 1] = y + right * right_y + up * up_y
            scratch[k, 2] = z + right * right_z + up * up_z
        paint = look.first_material[0] + state - 1
        _fill(view, scratch, sides, paint, look.precedence[paint])


@kernel
@no_type_check
def _fill(view, corner, count, paint, precedence):
    """Draw a flat convex polygon: its corners are the first `count` rows, camera frame. The rows are used up."""
    lens, key = view.lens, view.key
    fx, fy, cx, cy, skew = lens[0], lens[1], lens[2], lens[3], lens[4]
    nx, ny, nz = _normal(corner, count)
    volume = nx * corner[0, 0] + ny * corner[0, 1] + nz * corner[0, 2]
    if volume == 0:  # seen edge-on
        return
    # 1/depth = middle + slope_x * (x - cx) + slope_y * (y - cy), exactly, on the plane of the polygon
    slope_x = nx / (volume * fx)
    slope_y = (ny / volume - slope_x * skew) / fy
    middle = nz / volume
    first, count = _clip(corner, count, view.near)
    top, bottom, left, right = _project(corner, first, count, lens)
    # Rows and columns whose pixel centres lie in [low, high): neighbours that share an edge never both miss a centre.
    height, width = key.shape
    half = np.float32(0.5)
    begin_row = int(np.ceil(max(top - half, np.float32(0))))
    end_row = int(np.ceil(min(bottom - half, np.float32(height))))
    if begin_row >= end_row:
        return
    if np.ceil(max(left - half, np.float32(0))) >= np.ceil(min(right - half, np.float32(width))):
        return
    for k in range(first, first + count):  # slopes, x per row, in the column that held the depth
        low, high = _ends(corner, first, count, k)
        corner[k, 2] = (corner[high, 0] - corner[low, 0]) / (corner[high, 1] - corner[low, 1])
    for row in range(begin_row, end_row):
        line = np.float32(row) + half
        left, right = _span(corner, first, count, line)
        if left >= right:
            continue
        begin = int(np.ceil(max(left - half, np.float32(0))))
        end = int(np.ceil(min(right - half, np.float32(width))))
        level = middle + slope_y * (line - cy) + slope_x * (half - cx)
        for column in range(begin, end):
            inverse = level + slope_x * np.float32(column)
            nearness = inverse * precedence
            if nearness > key[row, column] and inverse >= view.furthest[row, column]:
                key[row, column] = nearness
                view.material[row, column] = paint


@kernel
@no_type_check
def _normal(corner, count):
    """Of a flat polygon, from two diagonals about a quarter turn apart (of a triangle, from two sides)."""
    across, one = count // 2, max(count // 4, 1)
    other = one + across
    ax, ay, az = (
        corner[across, 0] - corner[0, 0],
        corner[across, 1] - corner[0, 1],
        corner[across, 2] - corner[0, 2],
    )
    bx = corner[other, 0] - corner[one, 0]
    by = corner[other, 1] - corner[one, 1]
    bz = corner[other, 2] - corner[one, 2]
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@kernel
@no_type_check
def _project(corner, first, count, lens):
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
def _ends(corner, first, count, k):
    """Rows of the upper and the lower end of edge k: in this order, so that neighbours compute the same crossings."""
    after = k + 1 if k + 1 < first + count else first
    return (k, after) if corner[k, 1] <= corner[after, 1] else (after, k)


@kernel
@no_type_check
def _span(corner, first, count, line):
    """Where a horizontal line enters and leaves a projected polygon."""
    left, right = np.float32(np.inf), -np.float32(np.inf)
    for k in range(first, first + count):
        low, high = _ends(corner, first, count, k)
        if corner[low, 1] <= line and line < corner[high, 1]:
            crossing = corner[low, 0] + (line - corner[low, 1]) * corner[k, 2]
            left, right = min(left, crossing), max(right, crossing)
    return left, right


@kernel
@no_type_check
def _clip(corner, count, near):
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
            _copy_row(corner, k, kept)
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
def _shade(view, look, rays, eye_height, rgb):
    """Colours as `shading.shade`; turns keys into depths and materials into classes."""
    key, material = view.key, view.material
    up_x, up_y, up_z = view.rotation[6], view.rotation[7], view.rotation[8]
    zero, one, half, full = np.float32(0), np.float32(1), np.float32(0.5), np.float32(255)
    haze_start, zenith_sine = look.air[0], look.air[1]
    haze_r, haze_g, haze_b = look.haze_rgb[0], look.haze_rgb[1], look.haze_rgb[2]
    span_r, span_g, span_b = (
        look.zenith_rgb[0] - haze_r,
        look.zenith_rgb[1] - haze_g,
        look.zenith_rgb[2] - haze_b,
    )
    haze_scale, sky_scale = one / (one - haze_start), one / (zenith_sine * view.reach)
    height, width = key.shape
    for row in range(height):
        for column in range(width):
            paint = material[row, column]
            length = view.furthest[row, column]  # of the ray, in draw distances
            if paint == 0:
                up = up_x * rays[row, column, 0] + up_y * rays[row, column, 1] + up_z * rays[row, column, 2]
                if up >= zero or eye_height <= zero:
                    share = min(max(up / length * sky_scale, zero), one)
                    rgb[row, column, 0] = np.uint8(haze_r + span_r * share + half)
                    rgb[row, column, 1] = np.uint8(haze_g + span_g * share + half)
                    rgb[row, column, 2] = np.uint8(haze_b + span_b * share + half)
                    key[row, column] = np.float32(np.inf)
                    continue
                paint = 1
                depth = eye_height / -up
            else:
                depth = look.precedence[paint] / key[row, column]
            away = min(depth * length, one)
            haze = max((away - haze_start) * haze_scale, zero)
            light = (one - look.dimming[paint] * away) * (one - haze)
            rgb[row, column, 0] = np.uint8(min(look.rgb[paint, 0] * light + haze_r * haze + half, full))
            rgb[row, column, 1] = np.uint8(min(look.rgb[paint, 1] * light + haze_g * haze + half, full))
            rgb[row, column, 2] = np.uint8(min(look.rgb[paint, 2] * light + haze_b * haze + half, full))
            key[row, column] = depth
            material[row, column] = look.class_id[paint]
