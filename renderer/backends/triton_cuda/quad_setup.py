"""The Triton backend's second step: every listed quad is cut at the near plane, projected and kept as a record.

Records lie in blocks of BLOCK, field by field, so that a warp that asks BLOCK of them reads whole lines. A view's
surfaces begin a block, and so do its thin things. What is left of a quad has up to five edges: its four, and one along
the near plane. They need no order, since what is asked of them is a minimum (is a pixel's centre inside of all?) or a
sum (the area that they enclose); but all quads are made to run the same way round.
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import (
    LANES,
    NEAR,
    into_camera,
    load_centre,
    load_lens,
    load_rotation,
)
from renderer.backends.triton_cuda.cull_objects import FACES
from renderer.backends.triton_cuda.draw_lists import FIRST_LAYER, ROAD, SEGMENTS
from renderer.backends.triton_cuda.quad_corners import corner
from renderer.palette import BOX_MATERIAL, TOP_PRECEDENCE, ClassId

BLOCK = LANES  # records that a warp asks together

# Fields of a record. For each edge of a surface: a, b, c, where a x + b y + c is how far inside a point of the picture
# lies, px. For each edge of a thin thing: the x where it crosses y = 0, dx/dy, and the y where it begins and ends.
EDGE = tl.constexpr(4)  # fields of an edge
EDGES = tl.constexpr(5)
PLANE = tl.constexpr(20)  # precedence / depth is a + b x + c y
BOUNDS = tl.constexpr(23)  # left, right, top, bottom, px; left > right where there is nothing
WHAT = tl.constexpr(27)  # an int: material + MATERIALS * (1 + box) of a surface, the layer of a thin thing
FIELDS = tl.constexpr(28)
MATERIALS = tl.constexpr(64)

FIRST_FACE = tl.constexpr(BOX_MATERIAL)
DRIVABLE = tl.constexpr(int(ClassId.DRIVABLE))
TOP = tl.constexpr(TOP_PRECEDENCE)
SLACK_PX = tl.constexpr(
    2.0**-13
)  # surfaces that share an edge must not both miss a pixel's centre by rounding
LEVEL_PX = tl.constexpr(1e-9)  # an edge of a thin thing that rises less encloses nothing
NOWHERE = tl.constexpr(1e30)


@triton.jit
@no_type_check
def set_up(items, records, eyes, ground, things, shapes, cameras, height, width):
    """Turn one block of items into one block of records."""
    block = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    item = items + 2 * (block * BLOCK + lanes)
    tag, code = tl.load(item), tl.load(item + 1)
    there = tag >= 0
    view, segment = tl.maximum(tag, 0) // SEGMENTS, tl.maximum(tag, 0) % SEGMENTS
    centre, rotation, lens = load_centre(eyes, view), load_rotation(eyes, view), load_lens(eyes, view)
    east, north, above = corner(0, there, view, segment, code, centre, ground, things, shapes, cameras)
    x0, y0, z0 = into_camera(rotation, east, north, above)
    east, north, above = corner(1, there, view, segment, code, centre, ground, things, shapes, cameras)
    x1, y1, z1 = into_camera(rotation, east, north, above)
    east, north, above = corner(2, there, view, segment, code, centre, ground, things, shapes, cameras)
    x2, y2, z2 = into_camera(rotation, east, north, above)
    east, north, above = corner(3, there, view, segment, code, centre, ground, things, shapes, cameras)
    x3, y3, z3 = into_camera(rotation, east, north, above)
    xs, ys, zs = (x0, x1, x2, x3), (y0, y1, y2, y3), (z0, z1, z2, z3)
    at = records + block * FIELDS * BLOCK + lanes
    volume = write_plane(at, xs, ys, zs, lens, tl.where(segment == ROAD, 1.0, TOP))
    write_what(at, there, view, segment, code, things, cameras)
    there &= volume != 0.0  # not seen edge-on
    write_edges(at, xs, ys, zs, lens, there, volume < 0.0, segment < FIRST_LAYER, 0.5 * width, 0.5 * height)


@triton.jit
@no_type_check
def write_what(at, there, view, segment, code, things, cameras):
    """Which surface of which box it is, or which layer."""
    box = there & (segment < ROAD)
    world = tl.load(things.viewer_world + view // cameras, mask=box, other=0).to(tl.int32)
    kind = tl.load(things.box_class + world * things.boxes + code // 8, mask=box, other=0).to(tl.int32)
    face = kind * FACES + code % 8 + FIRST_FACE + (1 + code // 8) * MATERIALS
    surface = tl.where(box, face, DRIVABLE)
    what = tl.where(segment < FIRST_LAYER, surface, segment - FIRST_LAYER)
    tl.store(at + WHAT * BLOCK, what.to(tl.float32, bitcast=True))


@triton.jit
@no_type_check
def write_plane(at, x, y, z, lens, precedence):
    """Where precedence / depth = a + b x + c y in pixels; gives the volume between eye and quad, 0 if it is edge-on.

    The normal is that of the two diagonals.
    """
    fx, fy, cx, cy, skew = lens
    ax, ay, az = x[2] - x[0], y[2] - y[0], z[2] - z[0]
    bx, by, bz = x[3] - x[1], y[3] - y[1], z[3] - z[1]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    volume = nx * x[0] + ny * y[0] + nz * z[0]
    # Rounded correctly, unlike `/`: depths are wanted to the last digits.
    scale = tl.div_rn(precedence, tl.where(volume == 0.0, 1.0, volume))
    slope_x = nx * scale / fx
    slope_y = (ny * scale - slope_x * skew) / fy
    tl.store(at + PLANE * BLOCK, nz * scale - slope_x * cx - slope_y * cy)
    tl.store(at + (PLANE + 1) * BLOCK, slope_x)
    tl.store(at + (PLANE + 2) * BLOCK, slope_y)
    return volume


@triton.jit
@no_type_check
def write_edges(at, x, y, z, lens, there, backwards, surface, middle_x, middle_y):
    """What of a quad lies in front of the near plane, as edges in the picture, and its bounds."""
    left = tl.zeros_like(x[0]) + NOWHERE
    right, top, bottom = -left, left, -left
    leaving_x, leaving_y = tl.zeros_like(left), tl.zeros_like(left)
    entering_x, entering_y = tl.zeros_like(left), tl.zeros_like(left)
    is_cut = there & (left < 0.0)
    for k in tl.static_range(4):
        ahead, ahead_after = z[k] >= NEAR, z[(k + 1) % 4] >= NEAR
        begin_x, begin_y = pixel(x[k], y[k], tl.where(ahead, z[k], 1.0), lens)
        end_x, end_y = pixel(x[(k + 1) % 4], y[(k + 1) % 4], tl.where(ahead_after, z[(k + 1) % 4], 1.0), lens)
        # From the visible corner outwards, so that neighbours that share the edge cut it at the same point.
        seen_x, seen_y = tl.where(ahead, x[k], x[(k + 1) % 4]), tl.where(ahead, y[k], y[(k + 1) % 4])
        seen_z = tl.where(ahead, z[k], z[(k + 1) % 4])
        lost_x, lost_y = tl.where(ahead, x[(k + 1) % 4], x[k]), tl.where(ahead, y[(k + 1) % 4], y[k])
        lost_z = tl.where(ahead, z[(k + 1) % 4], z[k])
        cuts = there & (ahead != ahead_after)
        share = (seen_z - NEAR) / tl.where(cuts, seen_z - lost_z, 1.0)
        cut_x, cut_y = seen_x + share * (lost_x - seen_x), seen_y + share * (lost_y - seen_y)
        cut_x, cut_y = pixel(cut_x, cut_y, tl.zeros_like(left) + NEAR, lens)
        begin_x, begin_y = tl.where(ahead, begin_x, cut_x), tl.where(ahead, begin_y, cut_y)
        end_x, end_y = tl.where(ahead_after, end_x, cut_x), tl.where(ahead_after, end_y, cut_y)
        leaving_x = tl.where(cuts & ahead, cut_x, leaving_x)
        leaving_y = tl.where(cuts & ahead, cut_y, leaving_y)
        entering_x = tl.where(cuts & ahead_after, cut_x, entering_x)
        entering_y = tl.where(cuts & ahead_after, cut_y, entering_y)
        is_cut |= cuts
        kept = there & (ahead | ahead_after)
        left = tl.where(kept, tl.minimum(left, tl.minimum(begin_x, end_x)), left)
        right = tl.where(kept, tl.maximum(right, tl.maximum(begin_x, end_x)), right)
        top = tl.where(kept, tl.minimum(top, tl.minimum(begin_y, end_y)), top)
        bottom = tl.where(kept, tl.maximum(bottom, tl.maximum(begin_y, end_y)), bottom)
        edge = at + k * EDGE * BLOCK
        write_edge(edge, begin_x, begin_y, end_x, end_y, kept, backwards, surface, middle_x, middle_y)
    edge = at + (EDGES - 1) * EDGE * BLOCK
    write_edge(
        edge, leaving_x, leaving_y, entering_x, entering_y, is_cut, backwards, surface, middle_x, middle_y
    )
    tl.store(at + BOUNDS * BLOCK, left)
    tl.store(at + (BOUNDS + 1) * BLOCK, right)
    tl.store(at + (BOUNDS + 2) * BLOCK, top)
    tl.store(at + (BOUNDS + 3) * BLOCK, bottom)


@triton.jit
@no_type_check
def pixel(x, y, z, lens):
    """Where a point in the camera frame lies in the picture."""
    inverse = 1.0 / z
    return (lens[0] * x + lens[4] * y) * inverse + lens[2], lens[1] * y * inverse + lens[3]


@triton.jit
@no_type_check
def write_edge(at, begin_x, begin_y, end_x, end_y, kept, backwards, surface, middle_x, middle_y):
    """One edge of a record; what is not kept lets every point in and encloses nothing."""
    along_x, along_y = end_x - begin_x, end_y - begin_y
    # Numbers are the more exact the nearer they are to 0; and neighbours that share an edge choose the same end of it.
    nearer = tl.abs(begin_x - middle_x) + tl.abs(begin_y - middle_y)
    nearer = nearer <= tl.abs(end_x - middle_x) + tl.abs(end_y - middle_y)
    here_x, here_y = tl.where(nearer, begin_x, end_x), tl.where(nearer, begin_y, end_y)
    length = tl.sqrt(along_x * along_x + along_y * along_y)
    kept &= length > 0.0
    scale = tl.where(backwards, -1.0, 1.0) / tl.where(kept, length, 1.0)
    a, b = -along_y * scale, along_x * scale
    c = -(a * here_x + b * here_y) + SLACK_PX
    rises = kept & (tl.abs(along_y) > LEVEL_PX)
    slope = tl.where(rises, along_x / tl.where(rises, along_y, 1.0), 0.0)
    crossing = tl.where(rises, here_x - here_y * slope, 0.0)
    first, last = tl.where(backwards, end_y, begin_y), tl.where(backwards, begin_y, end_y)
    tl.store(at, tl.where(surface, tl.where(kept, a, 0.0), crossing))
    tl.store(at + BLOCK, tl.where(surface, tl.where(kept, b, 0.0), slope))
    tl.store(at + 2 * BLOCK, tl.where(surface, tl.where(kept, c, 1.0), tl.where(rises, first, 0.0)))
    tl.store(at + 3 * BLOCK, tl.where(rises, last, 0.0))
