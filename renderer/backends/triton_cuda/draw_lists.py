"""Data of the Triton backend's first step: tensors of a scene in, a list of items per view out.

Everything is drawn as planar quads: a ground quad in one piece or as two triangles, a face of a box, a fifth of a
light's disc. The quads of a view are listed by segment, in drawing order: boxes, road, then the decal layers from the
lowest to the highest.

An item is two ints: `view * SEGMENTS + segment`, and a code: 4 * quad of the ground (+ 1 and + 2 for its triangles),
8 * box + face, or 8 * light + piece.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.palette import LIGHT_MATERIAL, MATERIAL_LAYER, NUM_LAYERS
from renderer.triangles import LIGHT_SIDES

BOX_SEGMENT = tl.constexpr(0)
ROAD_SEGMENT = tl.constexpr(1)
DECAL_SEGMENT = tl.constexpr(2)  # of the lowest layer
LIGHT_SEGMENT = tl.constexpr(
    2 + int(MATERIAL_LAYER[LIGHT_MATERIAL])
)  # of green lights; yellow and red follow
SEGMENTS = tl.constexpr(16)  # columns of the table of counts; Triton needs a power of two
PIECES = tl.constexpr((LIGHT_SIDES - 2) // 2)  # quads of a light's disc, a fan around its first corner

assert DECAL_SEGMENT.value + NUM_LAYERS <= SEGMENTS.value
assert LIGHT_SEGMENT.value <= 8  # see `reserve`
assert PIECES.value <= 7


class GroundTensors(NamedTuple):
    """The fields of `GroundLibrary`, contiguous."""

    quads: Any
    class_id: Any
    sphere: Any
    flat: Any
    cell_start: Any
    cell_sphere: Any
    grid_cell: Any
    map_grid: Any
    map_origin: Any


class SceneTensors(NamedTuple):
    """Boxes, lights and viewers: the fields of `Scene`, contiguous."""

    box_position: Any
    box_size: Any
    box_turn: Any  # [worlds, boxes, 2] cosine and sine of the yaw
    box_class: Any
    light_position: Any
    light_turn: Any  # [worlds, lights, 2] cosine and sine of the yaw
    light_state: Any
    map_id: Any
    viewer_world: Any
    viewer_box: Any
    boxes: Any  # [] number of boxes per world
    lights: Any  # [] number of lights per world


class ItemList(NamedTuple):
    """Where the items of one view are written."""

    items: Any  # [n, 2] i32
    tag: Any  # [] `view * SEGMENTS`


@triton.jit
@no_type_check
def reserve(segment, times, cursor, FIRST: tl.constexpr, LISTING: tl.constexpr):
    """Reserve `times` places (at most 7 per lane) in each lane's segment, which is one of FIRST ... FIRST + 7.

    cursor: [SEGMENTS] number of items of each segment so far or, with LISTING, the place of its next item. Returns the
    first place of each lane and the new cursors. The counts of all eight segments are bytes of one integer, so that one
    sum or scan over the lanes serves them all.
    """
    shift = 8 * (segment - FIRST).to(tl.int64)
    taken = times.to(tl.int64) << shift
    place = segment
    if LISTING:
        before = ((tl.cumsum(taken, 0) - taken) >> shift) & 255
        place = tl.gather(cursor, segment, 0) + before.to(tl.int32)
    columns = tl.arange(0, SEGMENTS)
    mine = (columns >= FIRST) & (columns < FIRST + 8)
    of_column = (tl.sum(taken, 0) >> (8 * tl.where(mine, columns - FIRST, 0)).to(tl.int64)) & 255
    return place, cursor + tl.where(mine, of_column.to(tl.int32), 0)


@triton.jit
@no_type_check
def write(output, place, segment, code, mask):
    """Write one item per lane; output: `ItemList`."""
    tl.store(output.items + 2 * place, output.tag + segment, mask=mask)
    tl.store(output.items + 2 * place + 1, code, mask=mask)
