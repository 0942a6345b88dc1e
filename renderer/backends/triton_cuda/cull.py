"""The Triton backend's first step: which quads may a view show? One warp for each view asks every bounding sphere.

The kernel runs twice. First it counts, so that the lists get exactly the room that they need, however full a scene
is; then it writes them (`draw_lists.py` says what).
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import (
    LANES,
    in_sight,
    load_centre,
    load_lens,
    load_rotation,
    next_one,
)
from renderer.backends.triton_cuda.cull_objects import find_boxes, find_lights
from renderer.backends.triton_cuda.draw_lists import SEGMENTS, reserve, write
from renderer.ground import CELL_M
from renderer.palette import ClassId

CELL = tl.constexpr(CELL_M)
STARTS = tl.constexpr(ClassId.STOP_LINE - ClassId.DRIVABLE + 2)  # columns of `GroundLibrary.cell_start`


@triton.jit(do_not_specialize=["first_view", "first_item"])
@no_type_check
def find(
    eyes, ground, things, segment_of, table, items, first_view, first_item, cameras, height, width, reach,
    LISTING: tl.constexpr,
):  # fmt: skip
    """Count what a view may show into its row of `table` [views, SEGMENTS]; or, LISTING, write it down.

    Then `table` says where each segment of a view begins among all items, and `items` [n, 2] begins with number
    `first_item`. segment_of: [classes] of the ground.
    """
    view = first_view + tl.program_id(0)
    columns = tl.arange(0, SEGMENTS)
    lanes = tl.arange(0, LANES)
    cursor = tl.zeros([SEGMENTS], tl.int32)
    if LISTING:
        cursor = tl.load(table + view * SEGMENTS + columns) - first_item
    viewer = view // cameras
    world = tl.load(things.viewer_world + viewer).to(tl.int32)
    centre = load_centre(eyes, view)
    sight = (load_rotation(eyes, view), load_lens(eyes, view), height, width, reach)
    page = (items, view * SEGMENTS)
    town = tl.load(things.map_id + world).to(tl.int32)
    cursor = find_ground(ground, segment_of, town, centre, sight, page, cursor, lanes, LISTING)
    own_box = tl.load(things.viewer_box + viewer).to(tl.int32)
    for begin in range(0, things.boxes, LANES):
        cursor = find_boxes(things, world, own_box, begin + lanes, centre, sight, page, cursor, LISTING)
    for begin in range(0, things.lights, LANES):
        cursor = find_lights(things, world, begin + lanes, centre, sight, page, cursor, LISTING)
    if not LISTING:
        tl.store(table + view * SEGMENTS + columns, cursor)


@triton.jit
@no_type_check
def find_ground(ground, segment_of, town, centre, sight, page, cursor, lanes, LISTING: tl.constexpr):
    """Road and paint: the cells of the grid around the eye, and the quads of those that may be seen."""
    first = tl.load(ground.map_grid + 3 * town).to(tl.int32)
    columns = tl.load(ground.map_grid + 3 * town + 1).to(tl.int32)
    rows = tl.load(ground.map_grid + 3 * town + 2).to(tl.int32)
    x = centre[0] - tl.load(ground.map_origin + 3 * town)
    y = centre[1] - tl.load(ground.map_origin + 3 * town + 1)
    reach = sight[4] + tl.load(ground.map_origin + 3 * town + 2)
    left = tl.maximum(tl.floor((x - reach) / CELL).to(tl.int32), 0)
    right = tl.minimum(tl.floor((x + reach) / CELL).to(tl.int32) + 1, columns)
    low = tl.maximum(tl.floor((y - reach) / CELL).to(tl.int32), 0)
    high = tl.minimum(tl.floor((y + reach) / CELL).to(tl.int32) + 1, rows)
    across = tl.maximum(right - left, 0)
    squares = across * tl.maximum(high - low, 0)
    for begin in range(0, squares, LANES):
        square = begin + lanes
        row, column = low + square // across, left + square % across
        place = ground.grid_cell + first + row * columns + column
        cell = tl.load(place, mask=square < squares, other=-1).to(tl.int32)
        seen = (cell >= 0) & sphere_in_sight(ground.cell_sphere, cell, cell >= 0, centre, sight)
        lane = next_one(seen, -1)
        while lane < LANES:
            chosen = tl.sum(tl.where(lanes == lane, cell, 0), 0)
            start = tl.load(ground.cell_start + chosen * STARTS).to(tl.int32)
            stop = tl.load(ground.cell_start + chosen * STARTS + STARTS - 1).to(tl.int32)
            for quad in range(start, stop, LANES):
                cursor = find_quads(
                    ground, segment_of, quad + lanes, stop, centre, sight, page, cursor, LISTING
                )
            lane = next_one(seen, lane)
    return cursor


@triton.jit
@no_type_check
def find_quads(ground, segment_of, quad, stop, centre, sight, page, cursor, LISTING: tl.constexpr):
    """Those quads of a cell that may be seen."""
    seen = (quad < stop) & sphere_in_sight(ground.sphere, quad, quad < stop, centre, sight)
    if tl.max(seen.to(tl.int32), 0) > 0:
        material = tl.load(ground.class_id + quad, mask=seen, other=0).to(tl.int32)
        segment = tl.load(segment_of + material, mask=seen, other=0)
        twisted = (tl.load(ground.flat + quad, mask=seen, other=1) == 0).to(tl.int32)
        times = tl.where(seen, 1 + twisted, 0)
        place, cursor = reserve(segment, times, cursor, 0, LISTING)
        if LISTING:
            write(page, place, segment, 4 * quad + twisted, times > 0)
            write(page, place + 1, segment, 4 * quad + 2, times > 1)
    return cursor


@triton.jit
@no_type_check
def sphere_in_sight(sphere, index, there, centre, sight):
    """Whether rows of `sphere` [spheres, 4] may be seen."""
    at = sphere + 4 * index
    east = tl.load(at, mask=there, other=0.0) - centre[0]
    north = tl.load(at + 1, mask=there, other=0.0) - centre[1]
    above = tl.load(at + 2, mask=there, other=0.0) - centre[2]
    radius = tl.load(at + 3, mask=there, other=0.0)
    return in_sight(sight, east, north, above, radius)
