"""Compiled drawing of thin things (paint, lights) by the exact area that they cover of each pixel; see `coverage.py`.

Layers come from the lowest to the highest, so a pixel needs room for one of them: when a higher one touches it, the
one before is mixed into what lies over the surface so far. `View.layer` says which layer a pixel holds (0: none), plus
MIXED once others lie below it; `View.thin` holds the numbers named below, those after NEAR only where MIXED is set.
"""

from typing import no_type_check

import numpy as np

from renderer.numba_polygon import (
    hidden,
    inlined,
    into_camera,
    into_picture,
    kernel,
    load_quad,
    load_triangle,
    sphere_hidden,
)

SHARE, NEAR = 0, 1  # of the layer held: share covered, and that times the distance in draw distances
THROUGH = 2  # share of the surface that shows through the layers before it
RED, GREEN, BLUE = 3, 4, 5  # their light
MOST, MOST_NEAR = 6, 7  # largest share of any one thing, and its distance; `View.winner` says what
THIN = 8
MIXED = 128
LEAST_SHARE = np.float32(1e-4)


@kernel
@no_type_check
def draw_paint(view, ground, cells, num_cells, look, scratch):
    """Paint of the cells in view, layer by layer."""
    for turn in range(look.paint_order.shape[0]):
        paint, layer = look.paint_order[turn, 0], look.paint_order[turn, 1]
        for place in range(num_cells):
            cell = cells[place]
            for quad in range(ground.cell_start[cell, paint], ground.cell_start[cell, paint + 1]):
                if sphere_hidden(view, ground.sphere, quad):
                    continue
                if ground.flat[quad]:
                    load_quad(view, ground.quads, quad, scratch)
                    cover(view, scratch, 4, layer, look)
                else:
                    for half in range(2):
                        load_triangle(view, ground.quads, quad, half, scratch)
                        cover(view, scratch, 3, layer, look)


@kernel
@no_type_check
def draw_route(view, things, viewer, look, scratch):
    """The ribbon that shows a viewer its way."""
    for quad in range(things.route.shape[1]):
        if np.isnan(things.route[viewer, quad, 0, 0]):
            continue
        for half in range(2):
            load_triangle(view, things.route[viewer], quad, half, scratch)
            cover(view, scratch, 3, look.route_layer, look)


@kernel
@no_type_check
def draw_lights(view, things, world, look, scratch):
    """Lights of a world that face the eye, green ones first."""
    centre, rotation = view.centre, view.rotation
    radius = look.disc[0, 0] * 2
    up_x, up_y, up_z = into_camera(rotation, np.float32(0), np.float32(0), np.float32(1))
    for state in range(1, 4):
        for light in range(things.light_state.shape[1]):
            if things.light_state[world, light] != state:
                continue
            east = things.light_position[world, light, 0] - centre[0]
            north = things.light_position[world, light, 1] - centre[1]
            above = things.light_position[world, light, 2] - centre[2]
            cos, sin = things.light_turn[world, light, 0], things.light_turn[world, light, 1]
            if east * cos + north * sin <= 0:  # seen from behind
                continue
            x, y, z = into_camera(rotation, east, north, above)
            if hidden(view, x, y, z, radius):
                continue
            right_x, right_y, right_z = into_camera(rotation, sin, -cos, np.float32(0))
            sides = look.disc.shape[0]
            for k in range(sides):
                right, up = look.disc[k, 0], look.disc[k, 1]
                scratch[k, 0] = x + right * right_x + up * up_x
                scratch[k, 1] = y + right * right_y + up * up_y
                scratch[k, 2] = z + right * right_z + up * up_z
            cover(view, scratch, sides, look.light_layer + state - 1, look)


@kernel
@no_type_check
def cover(view, corner, count, layer, look):
    """Lay a flat convex polygon over the picture: its corners are the first `count` rows, camera frame, and used up."""
    base, slope_x, slope_y, first, count, top, bottom, left, right = into_picture(view, corner, count)
    if count == 0:
        return
    height, width = view.key.shape
    # By name: every look into a tuple of arrays is counted.
    edge, key, length, held, thin, winner = (
        view.edge,
        view.key,
        view.length,
        view.layer,
        view.thin,
        view.winner,
    )
    touched, precedence, layers, air = view.touched, look.top_precedence, look.layers, look.air
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    for row in range(int(max(top, zero)), min(int(np.ceil(min(bottom, np.float32(height)))), height)):
        touched[row] = 1
        low, high = np.float32(row), np.float32(row + 1)
        first_x, last_x = right, left
        for k in range(first, first + count):
            after = k + 1 if k + 1 < first + count else first
            y, end_y = corner[k, 1], corner[after, 1]
            upper, lower = max(min(y, end_y), low), min(max(y, end_y), high)
            if lower > upper:
                x = min(max(corner[k, 0] + (upper - y) * corner[k, 2], left), right)
                end_x = min(max(corner[k, 0] + (lower - y) * corner[k, 2], left), right)
                first_x, last_x = min(first_x, x, end_x), max(last_x, x, end_x)
                down = lower - upper
                _beside_edge(edge, min(x, end_x), max(x, end_x), down if end_y > y else -down)
        level = base + slope_y * (low + half) + slope_x * half
        begin, end = int(first_x), min(int(last_x) + 1, width)
        share = zero
        for column in range(begin, end):
            share += edge[column]
            edge[column] = zero
            covered = min(abs(share), one)
            if covered > LEAST_SHARE:
                inverse = level + slope_x * np.float32(column)
                away = length[row, column] / inverse
                if inverse > zero and away <= one and inverse * precedence >= key[row, column]:
                    _touch(held, thin, winner, row, column, layer, covered, away, layers, air)
        edge[end] = zero
        edge[end + 1] = zero


@inlined
@no_type_check
def _beside_edge(edge, left, right, down):
    """Add the area right of a piece of an edge, within one row, as differences between neighbouring columns.

    The piece runs between two x of the picture while it goes `down` rows (below 0: upwards). Summed up from the left,
    the differences of all edges are the share of each pixel that the polygon covers.
    """
    half, one = np.float32(0.5), np.float32(1)
    column = int(left)
    if right <= np.float32(column + 1):
        aside = half * (left + right) - np.float32(column)
        edge[column] += down * (one - aside)
        edge[column + 1] += down * aside
        return
    per_column = down / (right - left)
    while left < right:
        until = min(right, np.float32(column + 1))
        part = per_column * (until - left)
        aside = half * (left + until) - np.float32(column)
        edge[column] += part * (one - aside)
        edge[column + 1] += part * aside
        left = until
        column += 1


@kernel
@no_type_check
def _touch(held, thin, winner, row, column, layer, covered, away, layers, air):
    """A polygon of a layer covers a share of a pixel, `away` draw distances from the eye."""
    before = held[row, column]
    if before & 127 == layer + 1:
        thin[row, column, SHARE] += covered
        thin[row, column, NEAR] += covered * away
    else:
        held[row, column] = layer + 1
        if before:
            settle(thin[row], winner[row], before, column, layers, air)
            held[row, column] = layer + 1 + MIXED
        thin[row, column, SHARE] = covered
        thin[row, column, NEAR] = covered * away


@kernel
@no_type_check
def settle(thin, winner, held, column, layers, air):
    """Mix the layer that a pixel of a row holds into what lies over its surface."""
    one = np.float32(1)
    layer = (held & 127) - 1
    covered = thin[column, SHARE]
    away = thin[column, NEAR] / covered
    share = min(covered, one) * layers[layer, 4]
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
