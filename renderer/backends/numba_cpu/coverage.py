"""Kernels for anti-aliased decals (paint, lights): exact pixel coverage, as defined in `renderer/backends/coverage.py`.

Layers are drawn from the lowest to the highest, so each pixel stores one open layer only: when a higher layer covers
the pixel, the open one is composited over the layers below it. `Framebuffer.layer` holds 1 + the open layer of each
pixel (0: none), plus the bit MIXED if others lie below it. `Framebuffer.decals` holds the fields below; those after
NEAR are valid only where MIXED is set.
"""

from typing import no_type_check

import numpy as np

from renderer.backends.coverage import MIN_COVERAGE
from renderer.backends.numba_cpu.polygons import (
    add_polygon,
    add_quad,
    inlined,
    into_camera,
    kernel,
    outside_view,
    sphere_outside_view,
)

SHARE, NEAR = 0, 1  # of the open layer: covered share of the pixel, and share * distance / draw distance
THROUGH = 2  # share of the surface that shows through the layers composited so far
RED, GREEN, BLUE = 3, 4, 5  # premultiplied colour of these layers, 0-255
MOST, MOST_NEAR = 6, 7  # largest visible share of one layer or the surface, and that layer's distance
DECAL_FIELDS = 8
MIXED = 128  # bit of `Framebuffer.layer`


@kernel
@no_type_check
def draw_decals(view, buffers, ground, cells, num_cells, scene, world, palette, polygons, scratch):
    """Draw the paint in `cells[:num_cells]` and the lights of a world into `buffers`, lowest layer first."""
    capacity, used = polygons.label.shape[0], 0
    for order in range(palette.paint_order.shape[0]):
        paint, layer = palette.paint_order[order, 0], palette.paint_order[order, 1]
        for number in range(num_cells):
            begin, end = ground.cell_start[cells[number], paint], ground.cell_start[cells[number], paint + 1]
            if used + 2 * (end - begin) > capacity:
                _draw_coverage(buffers, polygons, used, palette)
                used = 0
            for quad in range(begin, end):
                if not sphere_outside_view(view, ground.sphere, quad):
                    pieces = 1 if ground.flat[quad] else 2
                    used = add_quad(view, ground.quads, quad, pieces, layer, polygons, used, scratch)
    for state in range(1, 4):
        for light in range(scene.light_state.shape[1]):
            if used + 1 > capacity:
                _draw_coverage(buffers, polygons, used, palette)
                used = 0
            if scene.light_state[world, light] == state:
                used = _add_light(view, scene, world, light, palette, polygons, used, scratch)
    _draw_coverage(buffers, polygons, used, palette)


@inlined
@no_type_check
def _add_light(view, scene, world, light, palette, polygons, used, scratch):
    """Append the disc of a light if it faces the camera; returns the new number of polygons."""
    centre, rotation = view.centre, view.rotation
    east = scene.light_position[world, light, 0] - centre[0]
    north = scene.light_position[world, light, 1] - centre[1]
    above = scene.light_position[world, light, 2] - centre[2]
    cos, sin = scene.light_turn[world, light, 0], scene.light_turn[world, light, 1]
    if east * cos + north * sin <= 0:  # seen from behind
        return used
    x, y, z = into_camera(rotation, east, north, above)
    if outside_view(view, x, y, z, palette.disc[0, 0] * 2):
        return used
    up_x, up_y, up_z = into_camera(rotation, np.float32(0), np.float32(0), np.float32(1))
    right_x, right_y, right_z = into_camera(rotation, sin, -cos, np.float32(0))
    sides = palette.disc.shape[0]
    for k in range(sides):
        right, up = palette.disc[k, 0], palette.disc[k, 1]
        scratch[k, 0] = x + right * right_x + up * up_x
        scratch[k, 1] = y + right * right_y + up * up_y
        scratch[k, 2] = z + right * right_z + up * up_z
    layer = palette.light_layer + scene.light_state[world, light] - 1
    return add_polygon(view, scratch, sides, layer, -1, polygons, used)


@kernel
@no_type_check
def _draw_coverage(buffers, polygons, used, palette):
    """Accumulate the coverage of the first `used` polygons in `buffers`.

    Array indices are unsigned here: for a signed index numba also tests whether it counts from the end of the array,
    which costs as much as the access itself.
    """
    height, width = buffers.key.shape
    edge, zero, one, half = buffers.edge, np.float32(0), np.float32(1), np.float32(0.5)
    for number in range(used):
        plane, corner = polygons.plane[number], polygons.corner[number]
        count, layer = np.uint64(polygons.label[number, 0]), polygons.label[number, 1]
        slope_x, slope_y, left, right = plane[1], plane[2], plane[5], plane[6]
        base = plane[0] + half * (slope_x + slope_y)
        begin_row = int(max(plane[3], zero))
        end_row = min(int(np.ceil(min(plane[4], np.float32(height)))), height)
        for row in range(begin_row, end_row):
            buffers.touched[row] = 1
            key, length, held = buffers.key[row], buffers.length[row], buffers.layer[row]
            decals, winner = buffers.decals[row], buffers.winner[row]
            first, last = _add_edges(corner, count, np.float32(row), left, right, edge)
            begin, end = max(int(first), 0), min(int(last) + 1, width)
            level, x, share = base + slope_y * np.float32(row), np.float32(begin), zero
            for column in range(np.uint64(begin), np.uint64(max(end, begin))):
                share += edge[column]
                edge[column] = zero
                covered = min(abs(share), one)
                if covered > np.float32(MIN_COVERAGE):
                    inverse = level + slope_x * x
                    distance = length[column] / inverse
                    if inverse > zero and distance <= one and inverse * palette.depth_bias >= key[column]:
                        _accumulate(held, decals, winner, column, layer, covered, distance, palette)
                x += one
            edge[end] = zero
            edge[end + 1] = zero


@inlined
@no_type_check
def _add_edges(corner, count, low, left, right, edge):
    """Accumulate a polygon's edges within the row from y = low to low + 1 in `edge`; returns their least and largest x.

    corner: [count, 3] x, y in px and dx/dy of the edge to the next corner. left, right: x to which edges are clamped.
    """
    high = low + np.float32(1)
    first, last = right, left
    before = count - np.uint64(1)
    for k in range(count):
        y, end_y = corner[before, 1], corner[k, 1]
        upper, lower = max(min(y, end_y), low), min(max(y, end_y), high)
        if lower > upper:
            x = min(max(corner[before, 0] + (upper - y) * corner[before, 2], left), right)
            end_x = min(max(corner[before, 0] + (lower - y) * corner[before, 2], left), right)
            first, last = min(first, x, end_x), max(last, x, end_x)
            down = lower - upper
            _add_edge(edge, min(x, end_x), max(x, end_x), down if end_y > y else -down)
        before = k
    return first, last


@inlined
@no_type_check
def _add_edge(edge, left, right, down):
    """Add the area to the right of an edge segment, within one row, as differences between neighbouring columns.

    The segment spans x from `left` to `right` and `down` rows (below 0: it runs upwards). The prefix sum of the
    differences of all edges is the share of each pixel that the polygon covers.
    """
    half, one = np.float32(0.5), np.float32(1)
    whole = int(left)
    column, here = np.uint64(whole), np.float32(whole)
    if right <= here + one:
        offset = half * (left + right) - here
        edge[column] += down * (one - offset)
        edge[column + np.uint64(1)] += down * offset
    else:
        per_column = down / (right - left)
        while left < right:
            until = min(right, here + one)
            part = per_column * (until - left)
            offset = half * (left + until) - here
            edge[column] += part * (one - offset)
            column += np.uint64(1)
            edge[column] += part * offset
            left = until
            here += one


@inlined
@no_type_check
def _accumulate(held, decals, winner, column, layer, covered, distance, palette):
    """Add the share `covered` of one pixel of a row to `layer`; distance in draw distances."""
    before = held[column]
    if before & 127 == layer + 1:
        decals[column, SHARE] += covered
        decals[column, NEAR] += covered * distance
    else:
        mixed = 0
        if before:
            composite_layer(decals, winner, before, column, palette.layers, palette.atmosphere)
            mixed = MIXED
        held[column] = layer + 1 + mixed
        decals[column, SHARE] = covered
        decals[column, NEAR] = covered * distance


@kernel
@no_type_check
def composite_layer(decals, winner, held, column, layers, atmosphere):
    """Composite the open layer of one pixel of a row over the layers below it.

    decals: [width, DECAL_FIELDS]. winner: [width]. held: the pixel's entry of `Framebuffer.layer`.
    """
    one = np.float32(1)
    layer = (held & 127) - 1
    covered = decals[column, SHARE]
    distance = decals[column, NEAR] / covered
    share = min(covered, one)
    rest = one - share
    fog = max((distance - atmosphere[3]) * atmosphere[4], np.float32(0))
    light = (one - layers[layer, 3] * distance) * (one - fog) * share
    fog *= share
    red = layers[layer, 0] * light + atmosphere[0] * fog
    green = layers[layer, 1] * light + atmosphere[1] * fog
    blue = layers[layer, 2] * light + atmosphere[2] * fog
    through, most, most_of = rest, rest, np.uint8(0)
    if held & MIXED:
        through *= decals[column, THROUGH]
        red += decals[column, RED] * rest
        green += decals[column, GREEN] * rest
        blue += decals[column, BLUE] * rest
        most *= decals[column, MOST]
        most_of = winner[column]
    if share >= most:
        most, most_of = share, np.uint8(layer + 1)
        decals[column, MOST_NEAR] = distance
    winner[column] = most_of
    decals[column, THROUGH] = through
    decals[column, RED] = red
    decals[column, GREEN] = green
    decals[column, BLUE] = blue
    decals[column, MOST] = most
