"""Corners of the quads in the Triton backend's lists: ground quads, faces of boxes, pieces of lights.

A block of items may hold all three kinds: every lane loads the corner of each kind, masked, and selects its own.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.draw_lists import LIGHT_SEGMENT, ROAD_SEGMENT


class Item(NamedTuple):
    """One block of items, see `draw_lists.py`."""

    there: Any  # whether a lane holds an item
    view: Any
    segment: Any
    code: Any


class Shapes(NamedTuple):
    """Tables of the shapes of boxes and lights."""

    face_corners: Any  # [6, 4, 3] f32, signs of (forward, left, up)
    disc: Any  # [sides, 2] f32, right and up, m


@triton.jit
@no_type_check
def item_corner(k: tl.constexpr, item, centre, ground, scene, shapes, num_cameras):
    """Corner k of each item relative to the camera centre, in world axes, m; undefined where there is no item."""
    world = tl.load(scene.viewer_world + item.view // num_cameras, mask=item.there, other=0).to(tl.int32)
    box, light = item.there & (item.segment < ROAD_SEGMENT), item.there & (item.segment >= LIGHT_SEGMENT)
    quad = item.there & (item.segment >= ROAD_SEGMENT) & (item.segment < LIGHT_SEGMENT)
    x, y, z = quad_corner(k, ground.quads + 12 * (item.code // 4), item.code % 4, centre, quad)
    box_x, box_y, box_z = box_corner(k, scene, shapes, world, item.code, centre, box)
    light_x, light_y, light_z = light_corner(k, scene, shapes, world, item.code, centre, light)
    x = tl.where(box, box_x, tl.where(light, light_x, x))
    y = tl.where(box, box_y, tl.where(light, light_y, y))
    z = tl.where(box, box_z, tl.where(light, light_z, z))
    return x, y, z


@triton.jit
@no_type_check
def quad_corner(k: tl.constexpr, quad, part, centre, mask):
    """Corner k of a quad (part 0) or of its triangle 0-1-2 (1) or 0-2-3 (2), whose last corner is repeated."""
    first = 2 if k == 3 else k
    second = 0 if k == 0 else (3 if k == 3 else k + 1)
    at = quad + 3 * tl.where(part == 0, k, tl.where(part == 1, first, second))
    return (
        tl.load(at, mask=mask, other=0.0) - centre[0],
        tl.load(at + 1, mask=mask, other=0.0) - centre[1],
        tl.load(at + 2, mask=mask, other=0.0) - centre[2],
    )


@triton.jit
@no_type_check
def box_corner(k: tl.constexpr, scene, shapes, world, code, centre, mask):
    """Corner k of the face `code % 8` of box `code // 8`."""
    at = world * scene.boxes + code // 8
    sign = shapes.face_corners + ((code % 8) * 4 + k) * 3
    size, turn, position = scene.box_size + 3 * at, scene.box_turn + 2 * at, scene.box_position + 3 * at
    half = 0.5 * tl.load(size + 2, mask=mask, other=0.0)
    forward = 0.5 * tl.load(size, mask=mask, other=0.0) * tl.load(sign, mask=mask, other=0.0)
    left = 0.5 * tl.load(size + 1, mask=mask, other=0.0) * tl.load(sign + 1, mask=mask, other=0.0)
    up = half + half * tl.load(sign + 2, mask=mask, other=0.0)
    cos, sin = tl.load(turn, mask=mask, other=1.0), tl.load(turn + 1, mask=mask, other=0.0)
    east = tl.load(position, mask=mask, other=0.0) - centre[0]
    north = tl.load(position + 1, mask=mask, other=0.0) - centre[1]
    above = tl.load(position + 2, mask=mask, other=0.0) - centre[2]
    return east + (cos * forward - sin * left), north + (sin * forward + cos * left), above + up


@triton.jit
@no_type_check
def light_corner(k: tl.constexpr, scene, shapes, world, code, centre, mask):
    """Corner k of piece `code % 8` of the disc of light `code // 8`; pieces are a fan around the disc's corner 0."""
    at = world * scene.lights + code // 8
    side = shapes.disc + 2 * ((code % 8) * (0 if k == 0 else 2) + k)
    right, up = tl.load(side, mask=mask, other=0.0), tl.load(side + 1, mask=mask, other=0.0)
    turn, position = scene.light_turn + 2 * at, scene.light_position + 3 * at
    cos, sin = tl.load(turn, mask=mask, other=1.0), tl.load(turn + 1, mask=mask, other=0.0)
    east = tl.load(position, mask=mask, other=0.0) - centre[0]
    north = tl.load(position + 1, mask=mask, other=0.0) - centre[1]
    above = tl.load(position + 2, mask=mask, other=0.0) - centre[2]
    return east + sin * right, north - cos * right, above + up
