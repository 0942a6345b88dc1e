"""Second step of the Triton backend: every listed quad is clipped at the near plane, projected and stored as a record.

Records are stored in blocks of BLOCK, field by field, so that a warp that tests BLOCK of them reads contiguous memory.
The surfaces of a view start a new block, and so do its decals. A clipped quad has up to five edges: its four, and one
along the near plane. They are unordered, since the later step needs a minimum over them (is a pixel's centre inside of
all edges?) or a sum (the enclosed area); but all quads get the same winding.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import (
    LANES,
    NEAR,
    into_camera,
    load_centre,
    load_intrinsics,
    load_rotation,
)
from renderer.backends.triton_cuda.cull_objects import FACES
from renderer.backends.triton_cuda.draw_lists import DECAL_SEGMENT, ROAD_SEGMENT, SEGMENTS
from renderer.backends.triton_cuda.quad_corners import Item, item_corner
from renderer.palette import BOX_MATERIAL, DEPTH_BIAS, ClassId

BLOCK = LANES  # records that a warp tests together

# Fields of a record. Each edge of a surface: a, b, c, where a x + b y + c is the signed distance of an image point to
# the edge, px, positive inside. Each edge of a decal: its x at y = 0, dx/dy, and the y of its begin and end.
EDGE = tl.constexpr(4)  # fields of an edge
EDGES = tl.constexpr(5)
PLANE = tl.constexpr(20)  # a, b, c, where depth bias / depth is a + b x + c y
BOUNDS = tl.constexpr(23)  # left, right, top, bottom, px; left > right if there is nothing
LABEL = tl.constexpr(27)  # an int: material + MATERIALS * (1 + box) of a surface, the layer of a decal
FIELDS = tl.constexpr(28)
MATERIALS = tl.constexpr(64)

FIRST_FACE = tl.constexpr(BOX_MATERIAL)
DRIVABLE = tl.constexpr(int(ClassId.DRIVABLE))
BIAS = tl.constexpr(DEPTH_BIAS)  # of boxes and decals; that of the road is 1
EDGE_SLACK_PX = tl.constexpr(2.0**-13)  # rounding must not open gaps between surfaces that share an edge
LEVEL_PX = tl.constexpr(1e-9)  # an edge of a decal that rises less encloses nothing
EMPTY_BOUND = tl.constexpr(1e30)


class Quad(NamedTuple):
    """One block of quads in the camera frame."""

    x: Any  # 4 corners, m
    y: Any
    z: Any
    there: Any  # whether a lane holds a quad that is not seen edge-on
    backwards: Any  # whether its corners run clockwise in the image
    surface: Any  # whether it is a surface and not a decal


@triton.jit
@no_type_check
def set_up_quads(items, records, camera_table, ground, scene, shapes, num_cameras, height, width):
    """Turn one block of items into one block of records."""
    block = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    at = items + 2 * (block * BLOCK + lanes)
    tag, code = tl.load(at), tl.load(at + 1)
    known = tl.maximum(tag, 0)
    item = Item(tag >= 0, known // SEGMENTS, known % SEGMENTS, code)
    centre, rotation = load_centre(camera_table, item.view), load_rotation(camera_table, item.view)
    intrinsics = load_intrinsics(camera_table, item.view)
    east, north, above = item_corner(0, item, centre, ground, scene, shapes, num_cameras)
    x0, y0, z0 = into_camera(rotation, east, north, above)
    east, north, above = item_corner(1, item, centre, ground, scene, shapes, num_cameras)
    x1, y1, z1 = into_camera(rotation, east, north, above)
    east, north, above = item_corner(2, item, centre, ground, scene, shapes, num_cameras)
    x2, y2, z2 = into_camera(rotation, east, north, above)
    east, north, above = item_corner(3, item, centre, ground, scene, shapes, num_cameras)
    x3, y3, z3 = into_camera(rotation, east, north, above)
    x, y, z = (x0, x1, x2, x3), (y0, y1, y2, y3), (z0, z1, z2, z3)
    record = records + block * FIELDS * BLOCK + lanes
    bias = tl.where(item.segment == ROAD_SEGMENT, 1.0, BIAS)
    volume = write_plane(record, x, y, z, intrinsics, bias)
    write_label(record, item, scene, num_cameras)
    quad = Quad(x, y, z, item.there & (volume != 0.0), volume < 0.0, item.segment < DECAL_SEGMENT)
    write_edges(record, quad, intrinsics, (0.5 * width, 0.5 * height))


@triton.jit
@no_type_check
def write_label(record, item, scene, num_cameras):
    """Store the material and the box of a surface, or the layer of a decal."""
    box = item.there & (item.segment < ROAD_SEGMENT)
    world = tl.load(scene.viewer_world + item.view // num_cameras, mask=box, other=0).to(tl.int32)
    kind = tl.load(scene.box_class + world * scene.boxes + item.code // 8, mask=box, other=0).to(tl.int32)
    face = kind * FACES + item.code % 8 + FIRST_FACE + (1 + item.code // 8) * MATERIALS
    surface = tl.where(box, face, DRIVABLE)
    label = tl.where(item.segment < DECAL_SEGMENT, surface, item.segment - DECAL_SEGMENT)
    tl.store(record + LABEL * BLOCK, label.to(tl.float32, bitcast=True))


@triton.jit
@no_type_check
def write_plane(record, x, y, z, intrinsics, bias):
    """Store a, b, c of bias / depth = a + b x + c y in pixels; returns the volume between camera centre and quad.

    The volume is 0 if the quad is seen edge-on. The normal is the cross product of the diagonals.
    """
    fx, fy, cx, cy, skew = intrinsics
    ax, ay, az = x[2] - x[0], y[2] - y[0], z[2] - z[0]
    bx, by, bz = x[3] - x[1], y[3] - y[1], z[3] - z[1]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    volume = nx * x[0] + ny * y[0] + nz * z[0]
    # Correctly rounded, unlike `/`: depth must be accurate to the last digits.
    scale = tl.div_rn(bias, tl.where(volume == 0.0, 1.0, volume))
    slope_x = nx * scale / fx
    slope_y = (ny * scale - slope_x * skew) / fy
    tl.store(record + PLANE * BLOCK, nz * scale - slope_x * cx - slope_y * cy)
    tl.store(record + (PLANE + 1) * BLOCK, slope_x)
    tl.store(record + (PLANE + 2) * BLOCK, slope_y)
    return volume


@triton.jit
@no_type_check
def write_edges(record, quad, intrinsics, middle):
    """Clip a quad at the near plane, and store its edges in the image and their bounds. middle: of the image, px."""
    left = tl.zeros_like(quad.x[0]) + EMPTY_BOUND
    right, top, bottom = -left, left, -left
    zero = tl.zeros_like(left)
    leaving, entering = (zero, zero), (zero, zero)  # where the outline passes the near plane, px
    is_clipped = quad.there & (left < 0.0)
    for k in tl.static_range(4):
        x, y, z = quad.x[k], quad.y[k], quad.z[k]
        after_x, after_y, after_z = quad.x[(k + 1) % 4], quad.y[(k + 1) % 4], quad.z[(k + 1) % 4]
        ahead, ahead_after = z >= NEAR, after_z >= NEAR
        begin = pixel(x, y, tl.where(ahead, z, 1.0), intrinsics)
        end = pixel(after_x, after_y, tl.where(ahead_after, after_z, 1.0), intrinsics)
        # From the visible corner outwards, so that quads that share the edge clip it at the same point.
        visible = (tl.where(ahead, x, after_x), tl.where(ahead, y, after_y), tl.where(ahead, z, after_z))
        hidden = (tl.where(ahead, after_x, x), tl.where(ahead, after_y, y), tl.where(ahead, after_z, z))
        cuts = quad.there & (ahead != ahead_after)
        share = (visible[2] - NEAR) / tl.where(cuts, visible[2] - hidden[2], 1.0)
        cut_x = visible[0] + share * (hidden[0] - visible[0])
        cut_y = visible[1] + share * (hidden[1] - visible[1])
        cut = pixel(cut_x, cut_y, zero + NEAR, intrinsics)
        begin = select(ahead, begin, cut)
        end = select(ahead_after, end, cut)
        leaving = select(cuts & ahead, cut, leaving)
        entering = select(cuts & ahead_after, cut, entering)
        is_clipped |= cuts
        kept = quad.there & (ahead | ahead_after)
        left = tl.where(kept, tl.minimum(left, tl.minimum(begin[0], end[0])), left)
        right = tl.where(kept, tl.maximum(right, tl.maximum(begin[0], end[0])), right)
        top = tl.where(kept, tl.minimum(top, tl.minimum(begin[1], end[1])), top)
        bottom = tl.where(kept, tl.maximum(bottom, tl.maximum(begin[1], end[1])), bottom)
        write_edge(record + k * EDGE * BLOCK, begin, end, kept, quad, middle)
    write_edge(record + (EDGES - 1) * EDGE * BLOCK, leaving, entering, is_clipped, quad, middle)
    tl.store(record + BOUNDS * BLOCK, left)
    tl.store(record + (BOUNDS + 1) * BLOCK, right)
    tl.store(record + (BOUNDS + 2) * BLOCK, top)
    tl.store(record + (BOUNDS + 3) * BLOCK, bottom)


@triton.jit
@no_type_check
def select(mask, point, other):
    """`point` (x, y) where `mask` is true, else `other`."""
    return tl.where(mask, point[0], other[0]), tl.where(mask, point[1], other[1])


@triton.jit
@no_type_check
def pixel(x, y, z, intrinsics):
    """Image coordinates, px, of a point in the camera frame."""
    inverse = 1.0 / z
    u = (intrinsics[0] * x + intrinsics[4] * y) * inverse + intrinsics[2]
    return u, intrinsics[1] * y * inverse + intrinsics[3]


@triton.jit
@no_type_check
def write_edge(at, begin, end, kept, quad, middle):
    """Store one edge of a record; an edge that is not `kept` has every point inside and encloses no area."""
    along_x, along_y = end[0] - begin[0], end[1] - begin[1]
    # The end nearer to the middle of the image is the origin: smaller numbers have smaller rounding errors, and quads
    # that share an edge choose the same end.
    nearer = tl.abs(begin[0] - middle[0]) + tl.abs(begin[1] - middle[1])
    nearer = nearer <= tl.abs(end[0] - middle[0]) + tl.abs(end[1] - middle[1])
    origin = select(nearer, begin, end)
    length = tl.sqrt(along_x * along_x + along_y * along_y)
    kept &= length > 0.0
    scale = tl.where(quad.backwards, -1.0, 1.0) / tl.where(kept, length, 1.0)
    a, b = -along_y * scale, along_x * scale
    c = -(a * origin[0] + b * origin[1]) + EDGE_SLACK_PX
    rises = kept & (tl.abs(along_y) > LEVEL_PX)
    slope = tl.where(rises, along_x / tl.where(rises, along_y, 1.0), 0.0)
    crossing = tl.where(rises, origin[0] - origin[1] * slope, 0.0)
    first = tl.where(quad.backwards, end[1], begin[1])
    last = tl.where(quad.backwards, begin[1], end[1])
    tl.store(at, tl.where(quad.surface, tl.where(kept, a, 0.0), crossing))
    tl.store(at + BLOCK, tl.where(quad.surface, tl.where(kept, b, 0.0), slope))
    tl.store(at + 2 * BLOCK, tl.where(quad.surface, tl.where(kept, c, 1.0), tl.where(rises, first, 0.0)))
    tl.store(at + 3 * BLOCK, tl.where(rises, last, 0.0))
