"""The Triton backend's third step: one warp draws one tile of a picture, from a view's records to finished pixels.

Keys and colours stay in registers. A warp asks BLOCK records at once whether they come by its tile, a lane each, and
then draws those that do, one after the other, all lanes together.
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.coverage import LEAST_SHARE
from renderer.backends.triton_cuda.camera import EYE, HEIGHT, ROTATION, load_lens, next_one
from renderer.backends.triton_cuda.coverage import covered_area
from renderer.backends.triton_cuda.quad_setup import (
    BLOCK,
    BOUNDS,
    DRIVABLE,
    EDGE,
    EDGES,
    FIELDS,
    FIRST_FACE,
    MATERIALS,
    PLANE,
    TOP,
    WHAT,
)
from renderer.backends.triton_cuda.shading import lay_over, shade_surfaces
from renderer.palette import TOP_PRECEDENCE, ClassId

GROUND = tl.constexpr(int(ClassId.GROUND))
INVERSE_TOP = tl.constexpr(1 / TOP_PRECEDENCE)
TOUCH_PX = tl.constexpr(0.01)  # by how much a tile is taken to be larger when records are passed over
LEAST = tl.constexpr(LEAST_SHARE)
GROUP = tl.constexpr(4)  # neighbouring columns that neighbouring lanes draw
SPAN = tl.constexpr(3)  # columns of `spans`


@triton.jit(do_not_specialize=["first_view", "first_block"])
@no_type_check
def draw(
    records, spans, eyes, look, rgb, depth, class_id, instance_id, first_view, first_block, height, width, reach,
    RGB: tl.constexpr, DEPTH: tl.constexpr, CLASS: tl.constexpr, INSTANCE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Draw a tile of ROWS x COLUMNS pixels; tiles of a view follow each other, so that its records stay in the cache.

    spans: [views, SPAN] i32, first block of a view, blocks of surfaces, blocks of thin things after them. The records
    begin with block `first_block`. Pictures [views, ...] are whole; one that nobody wants is never looked at.
    """
    across = (width + COLUMNS - 1) // COLUMNS
    tiles = across * ((height + ROWS - 1) // ROWS)
    view, tile = first_view + tl.program_id(0) // tiles, tl.program_id(0) % tiles
    rows = (tile // across) * ROWS + tl.arange(0, ROWS)
    # The compiler hands a block's last axes to lanes first: these are GROUP columns and the rows, and what is left, the
    # first axis, are pixels of one lane and row, which share what depends on the row.
    beside = GROUP * tl.arange(0, COLUMNS // GROUP)[:, None] + tl.arange(0, GROUP)[None, :]
    columns = (tile % across) * COLUMNS + beside
    top, left = ((tile // across) * ROWS).to(tl.float32), ((tile % across) * COLUMNS).to(tl.float32)
    row, column = rows[None, :, None].to(tl.float32), columns[:, None, :].to(tl.float32)
    block = tl.load(spans + view * SPAN) - first_block
    surfaces, thin = tl.load(spans + view * SPAN + 1), tl.load(spans + view * SPAN + 2)
    key, what = draw_surfaces(
        records + block * FIELDS * BLOCK, surfaces, row, column, top, left, ROWS, COLUMNS
    )

    shortening, rise = rays(eyes, view, row, column)
    metres = shortening * reach  # depth at one draw distance
    material, away_m = before_backdrop(key, what, metres, rise, tl.load(eyes + view * EYE + HEIGHT))
    red, green, blue = key, key, key
    if RGB:
        away = tl.where(material == 0, 0.0, tl.minimum(away_m / metres, 1.0))
        red, green, blue = shade_surfaces(look, material, away, rise * shortening)
    picture = (red, green, blue, tl.zeros_like(key) + 1.0, material, away_m)
    key = tl.where(material > GROUND, key, 0.0)  # bare ground hides nothing
    picture = draw_thin(
        records + (block + surfaces) * FIELDS * BLOCK, thin, row, column, top, left, key, metres, look,
        picture, RGB, DEPTH or CLASS or INSTANCE, ROWS, COLUMNS,
    )  # fmt: skip

    red, green, blue, _, winner, away_m = picture
    pixel = (view.to(tl.int64) * height + rows[None, :, None]) * width + columns[:, None, :]
    there = (rows[None, :, None] < height) & (columns[:, None, :] < width)
    if RGB:
        tl.store(rgb + 3 * pixel, level(red), mask=there)
        tl.store(rgb + 3 * pixel + 1, level(green), mask=there)
        tl.store(rgb + 3 * pixel + 2, level(blue), mask=there)
    if DEPTH:
        tl.store(depth + pixel, away_m, mask=there)
    if CLASS:
        tl.store(class_id + pixel, tl.load(look.class_id + winner), mask=there)
    if INSTANCE:
        tl.store(instance_id + pixel, tl.where(winner >= FIRST_FACE, what // MATERIALS - 1, -1), mask=there)


@triton.jit
@no_type_check
def rays(eyes, view, row, column):
    """Of pixels' centres: depth / distance, and how much a ray climbs, m per m of depth."""
    fx, fy, cx, cy, skew = load_lens(eyes, view)
    up = eyes + view * EYE + ROTATION + 6
    y = (row + 0.5 - cy) * (1.0 / fy)
    x = (column + 0.5 - cx - skew * y) * (1.0 / fx)
    rise = tl.load(up) * x + tl.load(up + 1) * y + tl.load(up + 2)
    return tl.rsqrt(x * x + y * y + 1.0), rise


@triton.jit
@no_type_check
def level(colour):
    """A grey level from 0 to 255, rounded."""
    return tl.minimum(tl.maximum(colour + 0.5, 0.0), 255.0).to(tl.uint8)


@triton.jit
@no_type_check
def draw_surfaces(records, blocks, row, column, top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """precedence / depth of the surface in front at each pixel's centre, 0 for none, and what it is."""
    key = tl.zeros_like(row + column)
    what = tl.zeros_like(row + column).to(tl.int32)
    lanes = tl.arange(0, BLOCK)
    for block in range(blocks):
        at = records + block * FIELDS * BLOCK
        near = in_bounds(at + lanes, top, left, ROWS, COLUMNS)
        lane = next_one(near, -1)
        if lane < BLOCK:  # few blocks have anything here
            for edge in tl.static_range(EDGES):
                near &= inside_edge(at + EDGE * edge * BLOCK + lanes, top, left, ROWS, COLUMNS)
            lane = next_one(near, -1)
        while lane < BLOCK:
            key, what = fill(at + lane, row, column, key, what)
            lane = next_one(near, lane)
    return key, what


@triton.jit
@no_type_check
def inside_edge(field, top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Whether some of the tile is on the inner side of an edge of each of a block of surfaces."""
    a, b, c = tl.load(field), tl.load(field + BLOCK), tl.load(field + 2 * BLOCK)
    middle = a * (left + 0.5 * COLUMNS) + b * (top + 0.5 * ROWS) + c
    return middle + tl.abs(a) * (0.5 * COLUMNS) + tl.abs(b) * (0.5 * ROWS) > -TOUCH_PX


@triton.jit
@no_type_check
def fill(at, row, column, key, what):
    """Put a surface where its pixels' centres are inside and nothing nearer is."""
    y, x = row + 0.5, column + 0.5
    base, slope_x = tl.load(at + PLANE * BLOCK), tl.load(at + (PLANE + 1) * BLOCK)
    nearness = slope_x * x + (tl.load(at + (PLANE + 2) * BLOCK) * y + base)
    nearer = nearness > key
    for edge in tl.static_range(EDGES):
        field = at + EDGE * edge * BLOCK
        nearer &= tl.load(field) * x + (tl.load(field + BLOCK) * y + tl.load(field + 2 * BLOCK)) >= 0.0
    painted = tl.load(at + WHAT * BLOCK).to(tl.int32, bitcast=True)
    return tl.where(nearer, nearness, key), tl.where(nearer, painted, what)


@triton.jit
@no_type_check
def in_bounds(at, top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Whether the bounds of a block of records meet the tile."""
    field = at + BOUNDS * BLOCK
    beside = (tl.load(field) < left + COLUMNS) & (tl.load(field + BLOCK) > left)
    return beside & (tl.load(field + 2 * BLOCK) < top + ROWS) & (tl.load(field + 3 * BLOCK) > top)


@triton.jit
@no_type_check
def before_backdrop(key, what, metres, rise, eye_height):
    """Material and depth of what is in front: bare ground or sky where no surface is within the draw distance."""
    material = what % MATERIALS
    precedence = tl.where(material > DRIVABLE, TOP, 1.0)
    there = key * metres >= precedence
    down = tl.minimum(-rise, eye_height) > 0.0
    bare = tl.where(down, eye_height / tl.where(down, -rise, 1.0), float("inf"))
    depth = tl.where(there, precedence / tl.where(there, key, 1.0), bare)
    return tl.where(there, material, tl.where(down, GROUND, 0)), depth


@triton.jit
@no_type_check
def draw_thin(
    records, blocks, row, column, top, left, key, metres, look, picture,
    RGB: tl.constexpr, WINNER: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Lay paint and lights over the surfaces, layer by layer: records come from the lowest to the highest."""
    red, green, blue, most, winner, depth = picture
    lanes = tl.arange(0, BLOCK)
    covered, distance = tl.zeros_like(key), tl.zeros_like(key)
    layer = tl.full((), 0, tl.int32)
    for block in range(blocks):
        at = records + block * FIELDS * BLOCK
        near = in_bounds(at + lanes, top, left, ROWS, COLUMNS)
        lane = next_one(near, -1)
        if lane < BLOCK:
            for edge in tl.static_range(EDGES):
                near &= beside_edge(at + EDGE * edge * BLOCK + lanes, top, left, ROWS, COLUMNS)
            lane = next_one(near, -1)
        while lane < BLOCK:
            of_layer = tl.load(at + lane + WHAT * BLOCK).to(tl.int32, bitcast=True)
            if of_layer != layer:
                red, green, blue, most, winner, depth = lay_over(
                    look,
                    layer,
                    covered,
                    distance,
                    metres,
                    (red, green, blue, most, winner, depth),
                    RGB,
                    WINNER,
                )
                covered, distance = tl.zeros_like(key), tl.zeros_like(key)
                layer = of_layer
            share, away = cover(at + lane, row, column, top, key, metres, ROWS)
            covered += share
            distance += share * away
            lane = next_one(near, lane)
    return lay_over(
        look, layer, covered, distance, metres, (red, green, blue, most, winner, depth), RGB, WINNER
    )


@triton.jit
@no_type_check
def beside_edge(field, top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Whether some of the tile is on the inner side of an edge, or may be: one for each of a block of thin things."""
    crossing, slope = tl.load(field), tl.load(field + BLOCK)
    begin, end = tl.load(field + 2 * BLOCK), tl.load(field + 3 * BLOCK)
    right_of = left + 0.5 * COLUMNS - (crossing + slope * (top + 0.5 * ROWS))  # px, of the tile's middle
    reach = 0.5 * COLUMNS + tl.abs(slope) * (0.5 * ROWS) + (1.0 + tl.abs(slope)) * TOUCH_PX
    return tl.where(end > begin, right_of < reach, (end == begin) | (right_of > -reach))


@triton.jit
@no_type_check
def cover(at, row, column, top, key, metres, ROWS: tl.constexpr):
    """Share of each pixel that a thin thing covers in sight, and how far away it is there, in draw distances."""
    base, slope_x = tl.load(at + PLANE * BLOCK), tl.load(at + (PLANE + 1) * BLOCK)
    nearness = slope_x * (column + 0.5) + (tl.load(at + (PLANE + 2) * BLOCK) * (row + 0.5) + base)
    share = covered_area(at, row, column, top, top + ROWS)
    away = 1.0 / tl.where(nearness > 0.0, nearness * (metres * INVERSE_TOP), 1.0)
    seen = (nearness > 0.0) & (away <= 1.0) & (nearness >= key) & (share > LEAST)
    return tl.where(seen, share, 0.0), away
