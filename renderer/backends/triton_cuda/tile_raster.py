"""Third step of the Triton backend: one warp draws one tile of an image, from a view's records to final pixels.

Depth-test keys and colours stay in registers. A warp tests BLOCK records at once against its tile, one per lane, and
then draws those that overlap it one after the other, with all lanes.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.backends.coverage import MIN_COVERAGE
from renderer.backends.triton_cuda.camera import (
    CAMERA_FIELDS,
    HEIGHT,
    ROTATION,
    load_intrinsics,
    next_lane,
)
from renderer.backends.triton_cuda.coverage import covered_area
from renderer.backends.triton_cuda.quad_setup import (
    BIAS,
    BLOCK,
    BOUNDS,
    DRIVABLE,
    EDGE,
    EDGES,
    FIELDS,
    FIRST_FACE,
    LABEL,
    MATERIALS,
    PLANE,
)
from renderer.backends.triton_cuda.shading import Pixels, composite, shade_surfaces
from renderer.palette import DEPTH_BIAS, ClassId

GROUND = tl.constexpr(int(ClassId.GROUND))
INVERSE_BIAS = tl.constexpr(1 / DEPTH_BIAS)
MARGIN_PX = tl.constexpr(0.01)  # by which a tile is enlarged when records are culled
LEAST = tl.constexpr(MIN_COVERAGE)
GROUP = tl.constexpr(4)  # neighbouring columns that neighbouring lanes draw
SPAN = tl.constexpr(3)  # columns of `spans`


class Images(NamedTuple):
    """Output channels [views, height, width, ...]; None for those that are not wanted."""

    rgb: Any
    depth: Any
    class_id: Any
    instance_id: Any


class Tile(NamedTuple):
    """The pixels of one program, px."""

    row: Any  # [1, rows, 1] f32, upper side of each pixel
    column: Any  # [columns / GROUP, 1, GROUP] f32, left side of each pixel
    top: Any  # upper side of the tile
    left: Any
    rows: Any  # number of pixels
    columns: Any


@triton.jit(do_not_specialize=["first_view", "first_block"])
@no_type_check
def draw_tile(
    records, spans, camera_table, palette, images, first_view, first_block, height, width, reach,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Draw a tile of ROWS x COLUMNS pixels; the tiles of a view are consecutive, so that its records stay in the cache.

    spans: [views, SPAN] i32, first block of a view, number of blocks of surfaces, and of decals after them. `records`
    starts at block number `first_block`. reach: draw distance, m.
    """
    across = (width + COLUMNS - 1) // COLUMNS
    tiles = across * ((height + ROWS - 1) // ROWS)
    view, number = first_view + tl.program_id(0) // tiles, tl.program_id(0) % tiles
    rows = (number // across) * ROWS + tl.arange(0, ROWS)
    # Triton distributes a block's last axes over lanes first: these are the rows and GROUP columns. The first axis is
    # left for the pixels of one lane, which lie in one row and share what depends on the row.
    offset = GROUP * tl.arange(0, COLUMNS // GROUP)[:, None] + tl.arange(0, GROUP)[None, :]
    columns = (number % across) * COLUMNS + offset
    tile = Tile(
        rows[None, :, None].to(tl.float32),
        columns[:, None, :].to(tl.float32),
        ((number // across) * ROWS).to(tl.float32),
        ((number % across) * COLUMNS).to(tl.float32),
        ROWS,
        COLUMNS,
    )
    block = tl.load(spans + view * SPAN) - first_block
    surfaces, decals = tl.load(spans + view * SPAN + 1), tl.load(spans + view * SPAN + 2)
    key, label = raster_surfaces(records + block * FIELDS * BLOCK, surfaces, tile)

    shortening, rise = rays(camera_table, view, tile)
    metres = shortening * reach  # depth at the draw distance
    camera_height = tl.load(camera_table + view * CAMERA_FIELDS + HEIGHT)
    material, depth = surface_or_backdrop(key, label, metres, rise, camera_height)
    red, green, blue = key, key, key
    if images.rgb is not None:
        distance = tl.where(material == 0, 0.0, tl.minimum(depth / metres, 1.0))
        red, green, blue = shade_surfaces(palette, material, distance, rise * shortening)
    pixels = Pixels(red, green, blue, tl.zeros_like(key) + 1.0, material, depth)
    key = tl.where(material > GROUND, key, 0.0)  # bare ground occludes nothing
    pixels = raster_decals(
        records + (block + surfaces) * FIELDS * BLOCK, decals, tile, key, metres, palette, pixels,
        images.rgb is not None,
        images.depth is not None or images.class_id is not None or images.instance_id is not None,
    )  # fmt: skip

    at = (view.to(tl.int64) * height + rows[None, :, None]) * width + columns[:, None, :]
    there = (rows[None, :, None] < height) & (columns[:, None, :] < width)
    if images.rgb is not None:
        tl.store(images.rgb + 3 * at, to_u8(pixels.red), mask=there)
        tl.store(images.rgb + 3 * at + 1, to_u8(pixels.green), mask=there)
        tl.store(images.rgb + 3 * at + 2, to_u8(pixels.blue), mask=there)
    if images.depth is not None:
        tl.store(images.depth + at, pixels.depth, mask=there)
    if images.class_id is not None:
        tl.store(images.class_id + at, tl.load(palette.class_id + pixels.winner), mask=there)
    if images.instance_id is not None:
        box = tl.where(pixels.winner >= FIRST_FACE, label // MATERIALS - 1, -1)
        tl.store(images.instance_id + at, box, mask=there)


@triton.jit
@no_type_check
def rays(camera_table, view, tile):
    """Of the rays through pixel centres: depth / distance, and the rise, m upwards per m of depth."""
    fx, fy, cx, cy, skew = load_intrinsics(camera_table, view)
    up = camera_table + view * CAMERA_FIELDS + ROTATION + 6
    y = (tile.row + 0.5 - cy) * (1.0 / fy)
    x = (tile.column + 0.5 - cx - skew * y) * (1.0 / fx)
    rise = tl.load(up) * x + tl.load(up + 1) * y + tl.load(up + 2)
    return tl.rsqrt(x * x + y * y + 1.0), rise


@triton.jit
@no_type_check
def to_u8(colour):
    """A colour channel, rounded and clamped to 0 ... 255."""
    return tl.minimum(tl.maximum(colour + 0.5, 0.0), 255.0).to(tl.uint8)


@triton.jit
@no_type_check
def in_bounds(record, tile):
    """Whether the bounds of each of a block of records overlap the tile."""
    at = record + BOUNDS * BLOCK
    overlaps = (tl.load(at) < tile.left + tile.columns) & (tl.load(at + BLOCK) > tile.left)
    overlaps &= tl.load(at + 2 * BLOCK) < tile.top + tile.rows
    return overlaps & (tl.load(at + 3 * BLOCK) > tile.top)


@triton.jit
@no_type_check
def raster_surfaces(records, blocks, tile):
    """Depth bias / depth of the nearest surface at each pixel's centre, 0 for none, and its label."""
    key = tl.zeros_like(tile.row + tile.column)
    label = tl.zeros_like(tile.row + tile.column).to(tl.int32)
    lanes = tl.arange(0, BLOCK)
    for block in range(blocks):
        record = records + block * FIELDS * BLOCK
        near = in_bounds(record + lanes, tile)
        lane = next_lane(near, -1)
        if lane < BLOCK:  # few blocks have a record here
            for edge in tl.static_range(EDGES):
                near &= tile_inside_edge(record + EDGE * edge * BLOCK + lanes, tile)
            lane = next_lane(near, -1)
        while lane < BLOCK:
            key, label = raster_surface(record + lane, tile, key, label)
            lane = next_lane(near, lane)
    return key, label


@triton.jit
@no_type_check
def tile_inside_edge(at, tile):
    """Whether a part of the tile is on the inner side of an edge of each of a block of surfaces."""
    a, b, c = tl.load(at), tl.load(at + BLOCK), tl.load(at + 2 * BLOCK)
    middle = a * (tile.left + 0.5 * tile.columns) + b * (tile.top + 0.5 * tile.rows) + c
    return middle + tl.abs(a) * (0.5 * tile.columns) + tl.abs(b) * (0.5 * tile.rows) > -MARGIN_PX


@triton.jit
@no_type_check
def raster_surface(record, tile, key, label):
    """Depth-test one surface at the pixel centres inside of it; returns the new keys and labels."""
    y, x = tile.row + 0.5, tile.column + 0.5
    base, slope_x = tl.load(record + PLANE * BLOCK), tl.load(record + (PLANE + 1) * BLOCK)
    nearness = slope_x * x + (tl.load(record + (PLANE + 2) * BLOCK) * y + base)
    nearer = nearness > key
    for edge in tl.static_range(EDGES):
        at = record + EDGE * edge * BLOCK
        nearer &= tl.load(at) * x + (tl.load(at + BLOCK) * y + tl.load(at + 2 * BLOCK)) >= 0.0
    own_label = tl.load(record + LABEL * BLOCK).to(tl.int32, bitcast=True)
    return tl.where(nearer, nearness, key), tl.where(nearer, own_label, label)


@triton.jit
@no_type_check
def surface_or_backdrop(key, label, metres, rise, camera_height):
    """Material and depth, m, of the nearest surface; of bare ground or sky where none is within the draw distance."""
    material = label % MATERIALS
    bias = tl.where(material > DRIVABLE, BIAS, 1.0)
    there = key * metres >= bias
    down = tl.minimum(-rise, camera_height) > 0.0
    bare = tl.where(down, camera_height / tl.where(down, -rise, 1.0), float("inf"))
    depth = tl.where(there, bias / tl.where(there, key, 1.0), bare)
    return tl.where(there, material, tl.where(down, GROUND, 0)), depth


@triton.jit
@no_type_check
def raster_decals(
    records, blocks, tile, key, metres, palette, pixels, RGB: tl.constexpr, WINNER: tl.constexpr
):
    """Composite the layers of decals over `pixels`, in the order of their records: from the lowest to the highest."""
    lanes = tl.arange(0, BLOCK)
    covered, distance = tl.zeros_like(key), tl.zeros_like(key)
    layer = tl.full((), 0, tl.int32)
    for block in range(blocks):
        record = records + block * FIELDS * BLOCK
        near = in_bounds(record + lanes, tile)
        lane = next_lane(near, -1)
        if lane < BLOCK:
            for edge in tl.static_range(EDGES):
                near &= tile_beside_edge(record + EDGE * edge * BLOCK + lanes, tile)
            lane = next_lane(near, -1)
        while lane < BLOCK:
            own_layer = tl.load(record + lane + LABEL * BLOCK).to(tl.int32, bitcast=True)
            if own_layer != layer:
                pixels = composite(palette, layer, covered, distance, metres, pixels, RGB, WINNER)
                covered, distance = tl.zeros_like(key), tl.zeros_like(key)
                layer = own_layer
            share, away = decal_coverage(record + lane, tile, key, metres)
            covered += share
            distance += share * away
            lane = next_lane(near, lane)
    return composite(palette, layer, covered, distance, metres, pixels, RGB, WINNER)


@triton.jit
@no_type_check
def tile_beside_edge(at, tile):
    """Whether a part of the tile may be on the inner side of an edge of each of a block of decals."""
    crossing, slope = tl.load(at), tl.load(at + BLOCK)
    begin, end = tl.load(at + 2 * BLOCK), tl.load(at + 3 * BLOCK)
    # How far the tile's middle is to the right of the edge, px.
    right_of = tile.left + 0.5 * tile.columns - (crossing + slope * (tile.top + 0.5 * tile.rows))
    reach = 0.5 * tile.columns + tl.abs(slope) * (0.5 * tile.rows) + (1.0 + tl.abs(slope)) * MARGIN_PX
    return tl.where(end > begin, right_of < reach, (end == begin) | (right_of > -reach))


@triton.jit
@no_type_check
def decal_coverage(record, tile, key, metres):
    """Share of each pixel that a decal covers and is not occluded, and its distance there in draw distances."""
    base, slope_x = tl.load(record + PLANE * BLOCK), tl.load(record + (PLANE + 1) * BLOCK)
    nearness = slope_x * (tile.column + 0.5)
    nearness += tl.load(record + (PLANE + 2) * BLOCK) * (tile.row + 0.5) + base
    share = covered_area(record, tile.row, tile.column, tile.top, tile.top + tile.rows)
    away = 1.0 / tl.where(nearness > 0.0, nearness * (metres * INVERSE_BIAS), 1.0)
    visible = (nearness > 0.0) & (away <= 1.0) & (nearness >= key) & (share > LEAST)
    return tl.where(visible, share, 0.0), away
