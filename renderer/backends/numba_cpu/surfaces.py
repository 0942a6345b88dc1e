"""Compiled drawing of surfaces (road and boxes): scan lines and a depth buffer, for pixel centres.

1/depth is linear in the picture, so the depth test costs one multiplication and one addition per pixel.
"""

from typing import no_type_check

import numpy as np

from renderer.backends.numba_cpu.polygons import (
    gather,
    gather_quad,
    hidden,
    inlined,
    into_camera,
    kernel,
    sphere_hidden,
)
from renderer.palette import ClassId

ROAD = int(ClassId.DRIVABLE)  # the last material of surfaces that is no box
NOTHING, ONLY_ROAD, WITH_BOXES = 0, 1, 2  # what a row of a picture may hold (`Picture.solid`)


@kernel
@no_type_check
def draw_surfaces(eye, picture, ground, cells, num_cells, things, world, own_box, look, polygons, scratch):
    """The road in the cells in view, and the boxes of a world but the viewer's own."""
    room, used = polygons.label.shape[0], 0
    for place in range(num_cells):
        begin, end = ground.cell_start[cells[place], 0], ground.cell_start[cells[place], 1]
        if used + 2 * (end - begin) > room:
            _fill(picture, polygons, used, look.top_precedence)
            used = 0
        for quad in range(begin, end):
            if not sphere_hidden(eye, ground.sphere, quad):
                pieces = 1 if ground.flat[quad] else 2
                used = gather_quad(eye, ground.quads, quad, pieces, ROAD, polygons, used, scratch)
    for box in range(things.box_class.shape[1]):
        if used + 3 > room:
            _fill(picture, polygons, used, look.top_precedence)
            used = 0
        if things.box_class[world, box] >= 0 and box != own_box:
            used = _gather_box(eye, things, world, box, look, polygons, used, scratch)
    _fill(picture, polygons, used, look.top_precedence)


@inlined
@no_type_check
def _gather_box(eye, things, world, box, look, polygons, used, scratch):
    """The faces of a box that look at the eye, three at most; gives the number of polygons so far."""
    centre, rotation = eye.centre, eye.rotation
    half_one = np.float32(0.5)
    zero, one = np.float32(0), np.float32(1)
    kind = things.box_class[world, box]
    length, width, height = (
        things.box_size[world, box, 0] * half_one,
        things.box_size[world, box, 1] * half_one,
        things.box_size[world, box, 2] * half_one,
    )
    east = things.box_position[world, box, 0] - centre[0]
    north = things.box_position[world, box, 1] - centre[1]
    above = things.box_position[world, box, 2] + height - centre[2]
    x, y, z = into_camera(rotation, east, north, above)
    if hidden(eye, x, y, z, np.sqrt(length * length + width * width + height * height)):
        return used
    cos, sin = things.box_turn[world, box, 0], things.box_turn[world, box, 1]
    forward = into_camera(rotation, cos, sin, zero)
    left = into_camera(rotation, -sin, cos, zero)
    up = into_camera(rotation, zero, zero, one)
    for face in range(6):
        axis = face // 2
        aim = forward if axis == 0 else (left if axis == 1 else up)
        half = length if axis == 0 else (width if axis == 1 else height)
        away = -(aim[0] * x + aim[1] * y + aim[2] * z)  # the eye, seen from the box
        if (away if face % 2 == 0 else -away) <= half:
            continue
        for k in range(4):
            a = look.face_corners[face, k, 0] * length
            b = look.face_corners[face, k, 1] * width
            c = look.face_corners[face, k, 2] * height
            scratch[k, 0] = x + a * forward[0] + b * left[0] + c * up[0]
            scratch[k, 1] = y + a * forward[1] + b * left[1] + c * up[1]
            scratch[k, 2] = z + a * forward[2] + b * left[2] + c * up[2]
        used = gather(eye, scratch, 4, look.first_box + 6 * kind + face, box, polygons, used)
    return used


@kernel
@no_type_check
def _fill(picture, polygons, used, top_precedence):
    """Draw polygons where their pixel centres are nearer than what is there."""
    corner, plane, label, solid = polygons.corner, polygons.plane, polygons.label, picture.solid
    height, width = np.float32(picture.key.shape[0]), np.float32(picture.key.shape[1])
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    for number in range(used):
        # Rows and columns whose pixel centres lie in [low, high): neighbours that share an edge never both miss one.
        begin_row = int(np.ceil(max(plane[number, 3] - half, zero)))
        end_row = int(np.ceil(min(plane[number, 4] - half, height)))
        left, right = plane[number, 5], plane[number, 6]
        if begin_row >= end_row or np.ceil(max(left - half, zero)) >= np.ceil(min(right - half, width)):
            continue
        count, paint = label[number, 0], np.uint8(label[number, 1])
        precedence = top_precedence if paint > ROAD else one
        base, step = plane[number, 0] * precedence, plane[number, 1] * precedence
        base += half * step
        down = plane[number, 2] * precedence
        for row in range(begin_row, end_row):
            line = np.float32(row) + half
            left, right = _span(corner[number], count, line)
            if left >= right:
                continue
            begin = int(np.ceil(max(left - half, zero)))
            end = int(np.ceil(min(right - half, width)))
            solid[row] = max(solid[row], WITH_BOXES if paint > ROAD else ONLY_ROAD)
            level = base + down * line
            key, material = picture.key[row], picture.material[row]
            if picture.instance.size:
                instance = picture.instance[row]
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
    """Where a horizontal line enters and leaves a projected polygon."""
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
