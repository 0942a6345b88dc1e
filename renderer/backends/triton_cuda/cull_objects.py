"""Culling of boxes and lights: the part of the Triton backend's first step for what moves or changes."""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.triton_cuda.camera import sphere_visible
from renderer.backends.triton_cuda.draw_lists import BOX_SEGMENT, LIGHT_SEGMENT, PIECES, reserve, write
from renderer.palette import NUM_FACES
from renderer.scene import LIGHT_RADIUS_M

FACES = tl.constexpr(NUM_FACES)
RADIUS_SCALE = tl.constexpr(1.0001)  # bounding spheres are enlarged: rounding must not make them too small
RADIUS_MARGIN_M = tl.constexpr(0.001)
LIGHT_SPHERE_M = tl.constexpr(LIGHT_RADIUS_M * RADIUS_SCALE.value + RADIUS_MARGIN_M.value)


@triton.jit
@no_type_check
def cull_boxes(scene, world, own_box, box, frustum, output, cursor, LISTING: tl.constexpr):
    """Count or list the camera-facing faces of boxes, one box per lane, except `own_box`; returns the cursors."""
    at = world * scene.boxes + box
    there = (box < scene.boxes) & (box != own_box)
    there &= tl.load(scene.box_class + at, mask=there, other=-1) >= 0
    length = tl.load(scene.box_size + 3 * at, mask=there, other=0.0) * 0.5
    width = tl.load(scene.box_size + 3 * at + 1, mask=there, other=0.0) * 0.5
    height = tl.load(scene.box_size + 3 * at + 2, mask=there, other=0.0) * 0.5
    east = tl.load(scene.box_position + 3 * at, mask=there, other=0.0) - frustum.centre[0]
    north = tl.load(scene.box_position + 3 * at + 1, mask=there, other=0.0) - frustum.centre[1]
    above = tl.load(scene.box_position + 3 * at + 2, mask=there, other=0.0) + height - frustum.centre[2]
    radius = tl.sqrt(length * length + width * width + height * height) * RADIUS_SCALE + RADIUS_MARGIN_M
    there &= sphere_visible(frustum, east, north, above, radius)
    if tl.max(there.to(tl.int32), 0) > 0:
        cos = tl.load(scene.box_turn + 2 * at, mask=there, other=1.0)
        sin = tl.load(scene.box_turn + 2 * at + 1, mask=there, other=0.0)
        ahead = -(east * cos + north * sin)  # of the camera centre, in the box's frame
        aside = east * sin - north * cos
        segment = tl.zeros_like(box) + BOX_SEGMENT
        front, back = (ahead > length).to(tl.int32), (-ahead > length).to(tl.int32)
        left, right = (aside > width).to(tl.int32), (-aside > width).to(tl.int32)
        upper, lower = (-above > height).to(tl.int32), (above > height).to(tl.int32)
        faces = (front, back, left, right, upper, lower)  # as in `palette.Face`
        times = tl.where(there, front + back + left + right + upper + lower, 0)
        place, cursor = reserve(segment, times, cursor, 0, LISTING)
        if LISTING:
            for face in tl.static_range(FACES):
                write(output, place, segment, 8 * box + face, there & (faces[face] > 0))
                place += faces[face]
    return cursor


@triton.jit
@no_type_check
def cull_lights(scene, world, light, frustum, output, cursor, LISTING: tl.constexpr):
    """Count or list the pieces of lights that face the camera, one light per lane; returns the cursors."""
    at = world * scene.lights + light
    state = tl.load(scene.light_state + at, mask=light < scene.lights, other=0).to(tl.int32)
    there = state > 0
    east = tl.load(scene.light_position + 3 * at, mask=there, other=0.0) - frustum.centre[0]
    north = tl.load(scene.light_position + 3 * at + 1, mask=there, other=0.0) - frustum.centre[1]
    above = tl.load(scene.light_position + 3 * at + 2, mask=there, other=0.0) - frustum.centre[2]
    cos = tl.load(scene.light_turn + 2 * at, mask=there, other=0.0)
    sin = tl.load(scene.light_turn + 2 * at + 1, mask=there, other=0.0)
    there &= east * cos + north * sin > 0  # one-sided
    there &= sphere_visible(frustum, east, north, above, LIGHT_SPHERE_M)
    segment = tl.maximum(state - 1, 0) + LIGHT_SEGMENT
    place, cursor = reserve(segment, there.to(tl.int32) * PIECES, cursor, LIGHT_SEGMENT, LISTING)
    if LISTING:
        for piece in tl.static_range(PIECES):
            write(output, place + piece, segment, 8 * light + piece, there)
    return cursor
