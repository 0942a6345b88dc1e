"""Boxes and lights that a view may show: the part of the Triton backend's first step that asks what moves."""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import in_sight
from renderer.backends.triton_cuda.draw_lists import BOXES, LIGHTS, PIECES, reserve, write
from renderer.palette import NUM_FACES
from renderer.scene import LIGHT_RADIUS_M

FACES = tl.constexpr(NUM_FACES)
SAFE = tl.constexpr(1.0001)  # rounding must not make a sphere too small: times this, and so much more
SAFE_M = tl.constexpr(0.001)
LIGHT_M = tl.constexpr(LIGHT_RADIUS_M * SAFE.value + SAFE_M.value)


@triton.jit
@no_type_check
def find_boxes(things, world, own_box, box, centre, sight, page, cursor, LISTING: tl.constexpr):
    """Faces that look at the eye, of all boxes but the viewer's own."""
    at = world * things.boxes + box
    there = (box < things.boxes) & (box != own_box)
    there &= tl.load(things.box_class + at, mask=there, other=-1) >= 0
    length = tl.load(things.box_size + 3 * at, mask=there, other=0.0) * 0.5
    width = tl.load(things.box_size + 3 * at + 1, mask=there, other=0.0) * 0.5
    height = tl.load(things.box_size + 3 * at + 2, mask=there, other=0.0) * 0.5
    east = tl.load(things.box_position + 3 * at, mask=there, other=0.0) - centre[0]
    north = tl.load(things.box_position + 3 * at + 1, mask=there, other=0.0) - centre[1]
    above = tl.load(things.box_position + 3 * at + 2, mask=there, other=0.0) + height - centre[2]
    radius = tl.sqrt(length * length + width * width + height * height) * SAFE + SAFE_M
    there &= in_sight(sight, east, north, above, radius)
    if tl.max(there.to(tl.int32), 0) > 0:
        cos = tl.load(things.box_turn + 2 * at, mask=there, other=1.0)
        sin = tl.load(things.box_turn + 2 * at + 1, mask=there, other=0.0)
        ahead = -(east * cos + north * sin)  # the eye, seen from the box
        aside = east * sin - north * cos
        segment = tl.zeros_like(box) + BOXES
        front, back = (ahead > length).to(tl.int32), (-ahead > length).to(tl.int32)
        left, right = (aside > width).to(tl.int32), (-aside > width).to(tl.int32)
        upper, lower = (-above > height).to(tl.int32), (above > height).to(tl.int32)
        faces = (front, back, left, right, upper, lower)  # as in `palette.Face`
        times = tl.where(there, front + back + left + right + upper + lower, 0)
        place, cursor = reserve(segment, times, cursor, 0, LISTING)
        if LISTING:
            for face in tl.static_range(FACES):
                write(page, place, segment, 8 * box + face, there & (faces[face] > 0))
                place += faces[face]
    return cursor


@triton.jit
@no_type_check
def find_lights(things, world, light, centre, sight, page, cursor, LISTING: tl.constexpr):
    """Lights that face the eye."""
    at = world * things.lights + light
    state = tl.load(things.light_state + at, mask=light < things.lights, other=0).to(tl.int32)
    there = state > 0
    east = tl.load(things.light_position + 3 * at, mask=there, other=0.0) - centre[0]
    north = tl.load(things.light_position + 3 * at + 1, mask=there, other=0.0) - centre[1]
    above = tl.load(things.light_position + 3 * at + 2, mask=there, other=0.0) - centre[2]
    cos = tl.load(things.light_turn + 2 * at, mask=there, other=0.0)
    sin = tl.load(things.light_turn + 2 * at + 1, mask=there, other=0.0)
    there &= east * cos + north * sin > 0  # from behind it is not there
    there &= in_sight(sight, east, north, above, LIGHT_M)
    segment = tl.maximum(state - 1, 0) + LIGHTS
    place, cursor = reserve(segment, there.to(tl.int32) * PIECES, cursor, LIGHTS, LISTING)
    if LISTING:
        for piece in tl.static_range(PIECES):
            write(page, place + piece, segment, 8 * light + piece, there)
    return cursor
