"""Compiled drawing of surfaces (road and boxes): scan lines and a depth buffer, for pixel centres.

1/depth is linear in the picture, so the depth test costs one multiplication and one addition per pixel.
"""

from typing import no_type_check

import numpy as np

from renderer.numba_polygon import (
    ends,
    hidden,
    into_camera,
    into_picture,
    kernel,
    load_quad,
    load_triangle,
    sphere_hidden,
)


@kernel
@no_type_check
def draw_road(view, ground, cells, num_cells, look, scratch):
    """The drivable quads of the cells in view."""
    one = np.float32(1)
    for place in range(num_cells):
        cell = cells[place]
        for quad in range(ground.cell_start[cell, 0], ground.cell_start[cell, 1]):
            if sphere_hidden(view, ground.sphere, quad):
                continue
            if ground.flat[quad]:
                load_quad(view, ground.quads, quad, scratch)
                fill(view, scratch, 4, look.road, one, -1)
            else:
                for half in range(2):
                    load_triangle(view, ground.quads, quad, half, scratch)
                    fill(view, scratch, 3, look.road, one, -1)


@kernel
@no_type_check
def draw_boxes(view, things, world, own_box, look, scratch):
    """All boxes of a world but the viewer's own: the faces that look at the eye."""
    centre, rotation = view.centre, view.rotation
    half_one = np.float32(0.5)
    zero, one = np.float32(0), np.float32(1)
    for box in range(things.box_class.shape[1]):
        kind = things.box_class[world, box]
        if kind < 0 or box == own_box:
            continue
        length, width, height = (
            things.box_size[world, box, 0] * half_one,
            things.box_size[world, box, 1] * half_one,
            things.box_size[world, box, 2] * half_one,
        )
        east = things.box_position[world, box, 0] - centre[0]
        north = things.box_position[world, box, 1] - centre[1]
        above = things.box_position[world, box, 2] + height - centre[2]
        x, y, z = into_camera(rotation, east, north, above)
        if hidden(view, x, y, z, np.sqrt(length * length + width * width + height * height)):
            continue
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
            fill(view, scratch, 4, look.first_box + 6 * kind + face, look.top_precedence, box)


@kernel
@no_type_check
def fill(view, corner, count, paint, precedence, owner):
    """Draw a flat convex polygon: its corners are the first `count` rows, camera frame. The rows are used up."""
    base, slope_x, slope_y, first, count, top, bottom, left, right = into_picture(view, corner, count)
    if count == 0:
        return
    # Rows and columns whose pixel centres lie in [low, high): neighbours that share an edge never both miss a centre.
    height, width = view.key.shape
    half, zero = np.float32(0.5), np.float32(0)
    begin_row = int(np.ceil(max(top - half, zero)))
    end_row = int(np.ceil(min(bottom - half, np.float32(height))))
    if begin_row >= end_row:
        return
    if np.ceil(max(left - half, zero)) >= np.ceil(min(right - half, np.float32(width))):
        return
    step = slope_x * precedence
    for row in range(begin_row, end_row):
        line = np.float32(row) + half
        left, right = _span(corner, first, count, line)
        if left >= right:
            continue
        begin = int(np.ceil(max(left - half, zero)))
        end = int(np.ceil(min(right - half, np.float32(width))))
        view.solid[row] = 1
        level = (base + slope_y * line + slope_x * half) * precedence
        key, material = view.key[row], view.material[row]
        if view.instance.size:
            for column in range(begin, end):
                if level + step * np.float32(column) > key[column]:
                    view.instance[row, column] = owner
        for column in range(begin, end):
            nearness = level + step * np.float32(column)
            nearer = nearness > key[column]
            key[column] = nearness if nearer else key[column]
            material[column] = paint if nearer else material[column]


@kernel
@no_type_check
def _span(corner, first, count, line):
    """Where a horizontal line enters and leaves a projected polygon."""
    left, right = np.float32(np.inf), -np.float32(np.inf)
    for k in range(first, first + count):
        low, high = ends(corner, first, count, k)
        if corner[low, 1] <= line and line < corner[high, 1]:
            crossing = corner[low, 0] + (line - corner[low, 1]) * corner[k, 2]
            left, right = min(left, crossing), max(right, crossing)
    return left, right
