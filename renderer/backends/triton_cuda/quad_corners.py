"""Corners of the quads that the Triton backend lists: of the ground, a box's face, a piece of a light's disc.

A block of items may hold all of these. Every lane asks for each, masked, and keeps its own.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.draw_lists import LIGHTS, ROAD


class Shapes(NamedTuple):
    """Tables of what boxes and lights look like."""

    face_corners: Any  # [6, 4, 3] f32, signs of (forward, left, up)
    disc: Any  # [sides, 2] f32, right and up, m


@triton.jit
@no_type_check
def corner(k: tl.constexpr, there, view, segment, code, centre, ground, things, shapes, cameras):
    """Corner k of each item, seen from the eye in world axes: east, north and up. Of no use where none is there."""
    world = tl.load(things.viewer_world + view // cameras, mask=there, other=0).to(tl.int32)
    box, light = there & (segment < ROAD), there & (segment >= LIGHTS)
    road_or_paint = there & (segment >= ROAD) & (segment < LIGHTS)
    x, y, z = quad_corner(k, ground.quads + 12 * (code // 4), code % 4, centre, road_or_paint)
    box_x, box_y, box_z = box_corner(k, things, shapes, world, code, centre, box)
    lamp_x, lamp_y, lamp_z = light_corner(k, things, shapes, world, code, centre, light)
    x = tl.where(box, box_x, tl.where(light, lamp_x, x))
    y = tl.where(box, box_y, tl.where(light, lamp_y, y))
    z = tl.where(box, box_z, tl.where(light, lamp_z, z))
    return x, y, z


@triton.jit
@no_type_check
def quad_corner(k: tl.constexpr, quad, part, centre, mask):
    """Of a quad (part 0), or of its triangle 0-1-2 (1) or 0-2-3 (2), whose last corner is there twice."""
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
def box_corner(k: tl.constexpr, things, shapes, world, code, centre, mask):
    """Of the face `code % 8` of box `code // 8`."""
    at = world * things.boxes + code // 8
    sign = shapes.face_corners + ((code % 8) * 4 + k) * 3
    size, turn, position = things.box_size + 3 * at, things.box_turn + 2 * at, things.box_position + 3 * at
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
def light_corner(k: tl.constexpr, things, shapes, world, code, centre, mask):
    """Of piece `code % 8` of the disc of light `code // 8`: pieces are a fan around the disc's corner 0."""
    at = world * things.lights + code // 8
    side = shapes.disc + 2 * ((code % 8) * (0 if k == 0 else 2) + k)
    right, up = tl.load(side, mask=mask, other=0.0), tl.load(side + 1, mask=mask, other=0.0)
    turn, position = things.light_turn + 2 * at, things.light_position + 3 * at
    cos, sin = tl.load(turn, mask=mask, other=1.0), tl.load(turn + 1, mask=mask, other=0.0)
    east = tl.load(position, mask=mask, other=0.0) - centre[0]
    north = tl.load(position + 1, mask=mask, other=0.0) - centre[1]
    above = tl.load(position + 2, mask=mask, other=0.0) - centre[2]
    return east + sin * right, north - cos * right, above + up
