"""Compiled drawing of thin things (paint, lights) by the exact area that they cover of each pixel; see `coverage.py`.

Layers come from the lowest to the highest, so a pixel needs room for one of them: when a higher one touches it, the
one before is mixed into what lies over the surface so far. `Picture.layer` says which layer a pixel holds (0: none),
plus MIXED once others lie below it; `Picture.thin` holds the numbers named below, those after NEAR only where MIXED is
set.
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

SHARE, NEAR = 0, 1  # of the layer held: share covered, and that times the distance in draw distances
THROUGH = 2  # share of the surface that shows through the layers before it
RED, GREEN, BLUE = 3, 4, 5  # their light
MOST, MOST_NEAR = 6, 7  # largest share of any one thing, and its distance; `Picture.winner` says what
THIN = 8
MIXED = 128
LEAST_SHARE = np.float32(1e-4)


@kernel
@no_type_check
def draw_thin(eye, picture, ground, cells, num_cells, things, world, look, polygons, scratch):
    """The paint of the cells in view and a world's lights, from the lowest layer to the highest."""
    room, used = polygons.label.shape[0], 0
    for turn in range(look.paint_order.shape[0]):
        paint, layer = look.paint_order[turn, 0], look.paint_order[turn, 1]
        for place in range(num_cells):
            begin, end = ground.cell_start[cells[place], paint], ground.cell_start[cells[place], paint + 1]
            if used + 2 * (end - begin) > room:
                _cover(picture, polygons, used, look)
                used = 0
            for quad in range(begin, end):
                if not sphere_hidden(eye, ground.sphere, quad):
                    pieces = 1 if ground.flat[quad] else 2
                    used = gather_quad(eye, ground.quads, quad, pieces, layer, polygons, used, scratch)
    for state in range(1, 4):
        for light in range(things.light_state.shape[1]):
            if used + 1 > room:
                _cover(picture, polygons, used, look)
                used = 0
            if things.light_state[world, light] == state:
                used = _gather_light(eye, things, world, light, look, polygons, used, scratch)
    _cover(picture, polygons, used, look)


@inlined
@no_type_check
def _gather_light(eye, things, world, light, look, polygons, used, scratch):
    """A light that faces the eye; gives the number of polygons so far."""
    centre, rotation = eye.centre, eye.rotation
    east = things.light_position[world, light, 0] - centre[0]
    north = things.light_position[world, light, 1] - centre[1]
    above = things.light_position[world, light, 2] - centre[2]
    cos, sin = things.light_turn[world, light, 0], things.light_turn[world, light, 1]
    if east * cos + north * sin <= 0:  # seen from behind
        return used
    x, y, z = into_camera(rotation, east, north, above)
    if hidden(eye, x, y, z, look.disc[0, 0] * 2):
        return used
    up_x, up_y, up_z = into_camera(rotation, np.float32(0), np.float32(0), np.float32(1))
    right_x, right_y, right_z = into_camera(rotation, sin, -cos, np.float32(0))
    sides = look.disc.shape[0]
    for k in range(sides):
        right, up = look.disc[k, 0], look.disc[k, 1]
        scratch[k, 0] = x + right * right_x + up * up_x
        scratch[k, 1] = y + right * right_y + up * up_y
        scratch[k, 2] = z + right * right_z + up * up_z
    layer = look.light_layer + things.light_state[world, light] - 1
    return gather(eye, scratch, sides, layer, -1, polygons, used)


@kernel
@no_type_check
def _cover(picture, polygons, used, look):
    """Lay polygons over the picture.

    Places in arrays are unsigned here: a signed one might count from the end, which costs as much as the look itself.
    """
    height, width = picture.key.shape
    edge, zero, one, half = picture.edge, np.float32(0), np.float32(1), np.float32(0.5)
    for number in range(used):
        plane, corner = polygons.plane[number], polygons.corner[number]
        count, layer = np.uint64(polygons.label[number, 0]), polygons.label[number, 1]
        slope_x, slope_y, left, right = plane[1], plane[2], plane[5], plane[6]
        base = plane[0] + half * (slope_x + slope_y)
        begin_row = int(max(plane[3], zero))
        end_row = min(int(np.ceil(min(plane[4], np.float32(height)))), height)
        for row in range(begin_row, end_row):
            picture.touched[row] = 1
            key, length, held = picture.key[row], picture.length[row], picture.layer[row]
            thin, winner = picture.thin[row], picture.winner[row]
            first, last = _edges(corner, count, np.float32(row), left, right, edge)
            begin, end = max(int(first), 0), min(int(last) + 1, width)
            level, place, share = base + slope_y * np.float32(row), np.float32(begin), zero
            for column in range(np.uint64(begin), np.uint64(max(end, begin))):
                share += edge[column]
                edge[column] = zero
                covered = min(abs(share), one)
                if covered > LEAST_SHARE:
                    inverse = level + slope_x * place
                    away = length[column] / inverse
                    if inverse > zero and away <= one and inverse * look.top_precedence >= key[column]:
                        _touch(held, thin, winner, column, layer, covered, away, look)
                place += one
            edge[end] = zero
            edge[end + 1] = zero


@inlined
@no_type_check
def _edges(corner, count, low, left, right, edge):
    """Put the edges of a projected polygon within a row into `edge`; gives the least and the largest x of them."""
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
            _beside_edge(edge, min(x, end_x), max(x, end_x), down if end_y > y else -down)
        before = k
    return first, last


@inlined
@no_type_check
def _beside_edge(edge, left, right, down):
    """Add the area right of a piece of an edge, within one row, as differences between neighbouring columns.

    The piece runs between two x of the picture while it goes `down` rows (below 0: upwards). Summed up from the left,
    the differences of all edges are the share of each pixel that the polygon covers.
    """
    half, one = np.float32(0.5), np.float32(1)
    whole = int(left)
    column, here = np.uint64(whole), np.float32(whole)
    if right <= here + one:
        aside = half * (left + right) - here
        edge[column] += down * (one - aside)
        edge[column + np.uint64(1)] += down * aside
    else:
        per_column = down / (right - left)
        while left < right:
            until = min(right, here + one)
            part = per_column * (until - left)
            aside = half * (left + until) - here
            edge[column] += part * (one - aside)
            column += np.uint64(1)
            edge[column] += part * aside
            left = until
            here += one


@inlined
@no_type_check
def _touch(held, thin, winner, column, layer, covered, away, look):
    """A polygon of a layer covers a share of a pixel of a row, `away` draw distances from the eye."""
    before = held[column]
    if before & 127 == layer + 1:
        thin[column, SHARE] += covered
        thin[column, NEAR] += covered * away
    else:
        mixed = 0
        if before:
            settle(thin, winner, before, column, look.layers, look.air)
            mixed = MIXED
        held[column] = layer + 1 + mixed
        thin[column, SHARE] = covered
        thin[column, NEAR] = covered * away


@kernel
@no_type_check
def settle(thin, winner, held, column, layers, air):
    """Mix the layer that a pixel of a row holds into what lies over its surface."""
    one = np.float32(1)
    layer = (held & 127) - 1
    covered = thin[column, SHARE]
    away = thin[column, NEAR] / covered
    share = min(covered, one)
    rest = one - share
    haze = max((away - air[3]) * air[4], np.float32(0))
    light = (one - layers[layer, 3] * away) * (one - haze) * share
    haze *= share
    red = layers[layer, 0] * light + air[0] * haze
    green = layers[layer, 1] * light + air[1] * haze
    blue = layers[layer, 2] * light + air[2] * haze
    through, most, most_of = rest, rest, np.uint8(0)
    if held & MIXED:
        through *= thin[column, THROUGH]
        red += thin[column, RED] * rest
        green += thin[column, GREEN] * rest
        blue += thin[column, BLUE] * rest
        most *= thin[column, MOST]
        most_of = winner[column]
    if share >= most:
        most, most_of = share, np.uint8(layer + 1)
        thin[column, MOST_NEAR] = away
    winner[column] = most_of
    thin[column, THROUGH] = through
    thin[column, RED] = red
    thin[column, GREEN] = green
    thin[column, BLUE] = blue
    thin[column, MOST] = most
