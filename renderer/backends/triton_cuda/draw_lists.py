"""What a view may show, as the Triton backend lists it: tensors of a scene in, items in segments out.

Everything is drawn as flat quads: a quad of the ground in one piece or as two triangles, a face of a box, a fifth of
a light's disc. A view's quads are listed segment by segment, and a segment is what is drawn alike: boxes, road, then
the layers of thin things from the lowest to the highest.

An item is two ints, `view * SEGMENTS + segment` and a code: 4 * quad of the ground (+ 1 and + 2 for its triangles),
8 * box + face, 8 * light + piece.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.palette import LIGHT_MATERIAL, MATERIAL_LAYER, NUM_LAYERS
from renderer.triangles import LIGHT_SIDES

BOXES = tl.constexpr(0)  # segments
ROAD = tl.constexpr(1)
FIRST_LAYER = tl.constexpr(2)  # of the lowest layer
LIGHTS = tl.constexpr(2 + int(MATERIAL_LAYER[LIGHT_MATERIAL]))  # of the first state, green
SEGMENTS = tl.constexpr(16)  # columns of the table of counts: a power of two, as the compiler wants it
PIECES = tl.constexpr((LIGHT_SIDES - 2) // 2)  # quads of a light's disc, a fan around its first corner

assert FIRST_LAYER.value + NUM_LAYERS <= SEGMENTS.value
assert LIGHTS.value <= 8  # see `reserve`
assert PIECES.value <= 7


class Ground(NamedTuple):
    """Tensors of `GroundLibrary`."""

    quads: Any
    class_id: Any
    sphere: Any
    flat: Any
    cell_start: Any
    cell_sphere: Any
    grid_cell: Any
    map_grid: Any
    map_origin: Any


class Things(NamedTuple):
    """Tensors of `Scene`, and how many of each there are in a world."""

    box_position: Any
    box_size: Any
    box_turn: Any  # [worlds, boxes, 2] cosine and sine of the yaw
    box_class: Any
    light_position: Any
    light_turn: Any  # [worlds, lights, 2]
    light_state: Any
    map_id: Any
    viewer_world: Any
    viewer_box: Any
    boxes: Any  # []
    lights: Any  # []


@triton.jit
@no_type_check
def reserve(segment, times, cursor, FIRST: tl.constexpr, LISTING: tl.constexpr):
    """Take `times` places in a lane's segment, FIRST to FIRST + 7; gives the first of them, and the cursors after it.

    cursor: [SEGMENTS] how many each segment holds so far; or, LISTING, where its next item goes. The counts of all
    eight lie in one integer, a byte each, so that one sum or scan over the lanes serves them all: a lane takes at most
    7 places.
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
def write(page, place, segment, code, mask):
    """Put an item of each lane at its place; page: all items, and the number of the view's first segment."""
    items, tag = page
    tl.store(items + 2 * place, tag + segment, mask=mask)
    tl.store(items + 2 * place + 1, code, mask=mask)
