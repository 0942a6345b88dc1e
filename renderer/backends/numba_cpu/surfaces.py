"""Kernels for surfaces (road and boxes): scan-line rasterisation with a depth buffer, sampled at pixel centres.

1/depth is linear in image coordinates, so the depth test costs one multiplication and one addition per pixel.
"""

from typing import no_type_check

import numpy as np

from renderer.backends.numba_cpu.polygons import (
    add_polygon,
    add_quad,
    inlined,
    into_camera,
    kernel,
    outside_view,
    sphere_outside_view,
)
from renderer.palette import ClassId

DRIVABLE = int(ClassId.DRIVABLE)  # surfaces of a higher material are boxes
NOTHING, ONLY_ROAD, WITH_BOXES = 0, 1, 2  # values of `Framebuffer.solid`


@kernel
@no_type_check
def draw_surfaces(view, buffers, ground, cells, num_cells, scene, world, own_box, palette, polygons, scratch):
    """Draw the road in `cells[:num_cells]` and the boxes of a world, except `own_box`, into `buffers`."""
    capacity, used = polygons.label.shape[0], 0
    for number in range(num_cells):
        begin, end = ground.cell_start[cells[number], 0], ground.cell_start[cells[number], 1]
        if used + 2 * (end - begin) > capacity:
            _fill(buffers, polygons, used, palette.depth_bias)
            used = 0
        for quad in range(begin, end):
            if not sphere_outside_view(view, ground.sphere, quad):
                pieces = 1 if ground.flat[quad] else 2
                used = add_quad(view, ground.quads, quad, pieces, DRIVABLE, polygons, used, scratch)
    for box in range(scene.box_class.shape[1]):
        if used + 3 > capacity:
            _fill(buffers, polygons, used, palette.depth_bias)
            used = 0
        if scene.box_class[world, box] >= 0 and box != own_box:
            used = _add_box(view, scene, world, box, palette, polygons, used, scratch)
    _fill(buffers, polygons, used, palette.depth_bias)


@inlined
@no_type_check
def _add_box(view, scene, world, box, palette, polygons, used, scratch):
    """Append the faces of a box that face the camera (at most three); returns the new number of polygons."""
    centre, rotation = view.centre, view.rotation
    half_one = np.float32(0.5)
    zero, one = np.float32(0), np.float32(1)
    kind = scene.box_class[world, box]
    length, width, height = (
        scene.box_size[world, box, 0] * half_one,
        scene.box_size[world, box, 1] * half_one,
        scene.box_size[world, box, 2] * half_one,
    )
    east = scene.box_position[world, box, 0] - centre[0]
    north = scene.box_position[world, box, 1] - centre[1]
    above = scene.box_position[world, box, 2] + height - centre[2]
    x, y, z = into_camera(rotation, east, north, above)
    if outside_view(view, x, y, z, np.sqrt(length * length + width * width + height * height)):
        return used
    cos, sin = scene.box_turn[world, box, 0], scene.box_turn[world, box, 1]
    forward = into_camera(rotation, cos, sin, zero)
    left = into_camera(rotation, -sin, cos, zero)
    up = into_camera(rotation, zero, zero, one)
    for face in range(6):
        axis = face // 2
        normal = forward if axis == 0 else (left if axis == 1 else up)
        half = length if axis == 0 else (width if axis == 1 else height)
        offset = -(normal[0] * x + normal[1] * y + normal[2] * z)  # from the box's centre to the camera
        if (offset if face % 2 == 0 else -offset) <= half:
            continue
        for k in range(4):
            a = palette.face_corners[face, k, 0] * length
            b = palette.face_corners[face, k, 1] * width
            c = palette.face_corners[face, k, 2] * height
            scratch[k, 0] = x + a * forward[0] + b * left[0] + c * up[0]
            scratch[k, 1] = y + a * forward[1] + b * left[1] + c * up[1]
            scratch[k, 2] = z + a * forward[2] + b * left[2] + c * up[2]
        used = add_polygon(view, scratch, 4, palette.first_box + 6 * kind + face, box, polygons, used)
    return used


@kernel
@no_type_check
def _fill(buffers, polygons, used, depth_bias):
    """Draw the first `used` polygons at the pixel centres where they are nearer than what `buffers` holds."""
    corner, plane, label, solid = polygons.corner, polygons.plane, polygons.label, buffers.solid
    height, width = np.float32(buffers.key.shape[0]), np.float32(buffers.key.shape[1])
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    for number in range(used):
        # Rows and columns whose pixel centres lie in [low, high): neighbours that share an edge never both miss one.
        begin_row = int(np.ceil(max(plane[number, 3] - half, zero)))
        end_row = int(np.ceil(min(plane[number, 4] - half, height)))
        left, right = plane[number, 5], plane[number, 6]
        if begin_row >= end_row or np.ceil(max(left - half, zero)) >= np.ceil(min(right - half, width)):
            continue
        count, paint = label[number, 0], np.uint8(label[number, 1])
        bias = depth_bias if paint > DRIVABLE else one
        base, step = plane[number, 0] * bias, plane[number, 1] * bias
        base += half * step
        down = plane[number, 2] * bias
        for row in range(begin_row, end_row):
            line = np.float32(row) + half
            left, right = _span(corner[number], count, line)
            if left >= right:
                continue
            begin = int(np.ceil(max(left - half, zero)))
            end = int(np.ceil(min(right - half, width)))
            solid[row] = max(solid[row], WITH_BOXES if paint > DRIVABLE else ONLY_ROAD)
            level = base + down * line
            key, material = buffers.key[row], buffers.material[row]
            if buffers.instance.size:
                instance = buffers.instance[row]
                for column in range(begin, end):
                    if level + step * np.float32(column) > key[column]:
                        instance[column] = label[number, 2]
            for column in range(begin, end):
                nearness = level + step * np.float32(column)
                nearer = nearness > key[column]
                key[column] = nearness if nearer else key[column]
                material[column] = paint if nearer else material[column]


@inlined
@no_type_check
def _span(corner, count, line):
    """The x at which the horizontal line y = line enters and leaves a projected polygon; left > right if it misses."""
    left, right = np.float32(np.inf), -np.float32(np.inf)
    before = count - 1
    for k in range(count):
        y, end_y = corner[before, 1], corner[k, 1]
        if (y <= line) != (end_y <= line):
            low = before if y <= end_y else k
            crossing = corner[low, 0] + (line - corner[low, 1]) * corner[before, 2]
            left, right = min(left, crossing), max(right, crossing)
        before = k
    return left, right
