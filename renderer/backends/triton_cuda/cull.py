"""First step of the Triton backend: list the quads that each view may show. One warp per view tests bounding spheres.

The kernel runs twice: first it counts, so that the lists can be allocated at exactly the required size, then it writes
the lists (their format is described in `draw_lists.py`).
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import (
    LANES,
    Frustum,
    load_centre,
    load_intrinsics,
    load_rotation,
    next_lane,
    sphere_visible,
)
from renderer.backends.triton_cuda.cull_objects import cull_boxes, cull_lights
from renderer.backends.triton_cuda.draw_lists import SEGMENTS, ItemList, reserve, write
from renderer.ground import CULL_CELL_M
from renderer.palette import ClassId

CELL = tl.constexpr(CULL_CELL_M)
STARTS = tl.constexpr(ClassId.STOP_LINE - ClassId.DRIVABLE + 2)  # columns of `GroundLibrary.cell_start`


@triton.jit(do_not_specialize=["first_view", "first_item"])
@no_type_check
def cull(
    camera_table, ground, scene, segment_of, table, items, first_view, first_item, num_cameras, height, width, reach,
    LISTING: tl.constexpr,
):  # fmt: skip
    """Count the items of one view in its row of `table` [views, SEGMENTS] or, with LISTING, write them to `items`.

    With LISTING, `table` holds the number of the first item of each segment of each view, and `items` [n, 2] starts at
    item number `first_item`. segment_of: [ground classes].
    """
    view = first_view + tl.program_id(0)
    columns = tl.arange(0, SEGMENTS)
    lanes = tl.arange(0, LANES)
    cursor = tl.zeros([SEGMENTS], tl.int32)
    if LISTING:
        cursor = tl.load(table + view * SEGMENTS + columns) - first_item
    viewer = view // num_cameras
    world = tl.load(scene.viewer_world + viewer).to(tl.int32)
    frustum = Frustum(
        load_centre(camera_table, view),
        load_rotation(camera_table, view),
        load_intrinsics(camera_table, view),
        height,
        width,
        reach,
    )
    output = ItemList(items, view * SEGMENTS)
    map_index = tl.load(scene.map_id + world).to(tl.int32)
    cursor = cull_ground(ground, segment_of, map_index, frustum, output, cursor, LISTING)
    own_box = tl.load(scene.viewer_box + viewer).to(tl.int32)
    for begin in range(0, scene.boxes, LANES):
        cursor = cull_boxes(scene, world, own_box, begin + lanes, frustum, output, cursor, LISTING)
    for begin in range(0, scene.lights, LANES):
        cursor = cull_lights(scene, world, begin + lanes, frustum, output, cursor, LISTING)
    if not LISTING:
        tl.store(table + view * SEGMENTS + columns, cursor)


@triton.jit
@no_type_check
def cull_ground(ground, segment_of, map_index, frustum, output, cursor, LISTING: tl.constexpr):
    """Count or list the ground quads of the grid cells within the draw distance; returns the cursors."""
    lanes = tl.arange(0, LANES)
    first = tl.load(ground.map_grid + 3 * map_index).to(tl.int32)
    columns = tl.load(ground.map_grid + 3 * map_index + 1).to(tl.int32)
    rows = tl.load(ground.map_grid + 3 * map_index + 2).to(tl.int32)
    x = frustum.centre[0] - tl.load(ground.map_origin + 3 * map_index)
    y = frustum.centre[1] - tl.load(ground.map_origin + 3 * map_index + 1)
    reach = frustum.reach + tl.load(ground.map_origin + 3 * map_index + 2)
    left = tl.maximum(tl.floor((x - reach) / CELL).to(tl.int32), 0)
    right = tl.minimum(tl.floor((x + reach) / CELL).to(tl.int32) + 1, columns)
    low = tl.maximum(tl.floor((y - reach) / CELL).to(tl.int32), 0)
    high = tl.minimum(tl.floor((y + reach) / CELL).to(tl.int32) + 1, rows)
    across = tl.maximum(right - left, 0)
    squares = across * tl.maximum(high - low, 0)
    for begin in range(0, squares, LANES):
        square = begin + lanes
        row, column = low + square // across, left + square % across
        at = ground.grid_cell + first + row * columns + column
        cell = tl.load(at, mask=square < squares, other=-1).to(tl.int32)
        visible = (cell >= 0) & stored_sphere_visible(ground.cell_sphere, cell, cell >= 0, frustum)
        lane = next_lane(visible, -1)
        while lane < LANES:
            chosen = tl.sum(tl.where(lanes == lane, cell, 0), 0)
            start = tl.load(ground.cell_start + chosen * STARTS).to(tl.int32)
            stop = tl.load(ground.cell_start + chosen * STARTS + STARTS - 1).to(tl.int32)
            for quad in range(start, stop, LANES):
                cursor = cull_quads(ground, segment_of, quad + lanes, stop, frustum, output, cursor, LISTING)
            lane = next_lane(visible, lane)
    return cursor


@triton.jit
@no_type_check
def cull_quads(ground, segment_of, quad, stop, frustum, output, cursor, LISTING: tl.constexpr):
    """Count or list the quads below `stop` of one cell, one per lane; returns the cursors."""
    visible = (quad < stop) & stored_sphere_visible(ground.sphere, quad, quad < stop, frustum)
    if tl.max(visible.to(tl.int32), 0) > 0:
        material = tl.load(ground.class_id + quad, mask=visible, other=0).to(tl.int32)
        segment = tl.load(segment_of + material, mask=visible, other=0)
        twisted = (tl.load(ground.flat + quad, mask=visible, other=1) == 0).to(tl.int32)
        times = tl.where(visible, 1 + twisted, 0)
        place, cursor = reserve(segment, times, cursor, 0, LISTING)
        if LISTING:
            write(output, place, segment, 4 * quad + twisted, times > 0)
            write(output, place + 1, segment, 4 * quad + 2, times > 1)
    return cursor


@triton.jit
@no_type_check
def stored_sphere_visible(sphere, index, there, frustum):
    """`sphere_visible` of rows of `sphere` [spheres, 4] (world centre and radius, m)."""
    at = sphere + 4 * index
    east = tl.load(at, mask=there, other=0.0) - frustum.centre[0]
    north = tl.load(at + 1, mask=there, other=0.0) - frustum.centre[1]
    above = tl.load(at + 2, mask=there, other=0.0) - frustum.centre[2]
    radius = tl.load(at + 3, mask=there, other=0.0)
    return sphere_visible(frustum, east, north, above, radius)
