"""What every kernel of the Triton backend knows of a view: where its eye is, how it sees, what it cannot see.

Kernels are in this folder; `launch.py` launches them. One program is one warp almost
everywhere: then what lanes find out together costs shuffles and no barrier.
"""

from typing import no_type_check

import triton
import triton.language as tl

from renderer.backends.reference import NEAR_M

NEAR = tl.constexpr(NEAR_M)
LANES = tl.constexpr(32)  # of a warp, and so of most blocks

# Columns of the table of eyes [views, EYE] f32.
ROTATION = tl.constexpr(0)  # 9, world_from_camera, row by row
CENTRE = tl.constexpr(9)  # 3, world, m
LENS = tl.constexpr(12)  # fx, fy, cx, cy, skew in px
HEIGHT = tl.constexpr(17)  # above the viewer's ground, m
EYE = tl.constexpr(18)


@triton.jit
@no_type_check  # annotations would have to be Triton's types
def place_eyes(eyes, world_from_rig, rig_from_camera, intrinsics, views, cameras, EYES: tl.constexpr):
    """Fill the table of eyes, viewer by viewer. A product of matrices by hand: torch might use TF32 for it."""
    view = tl.program_id(0) * EYES + tl.arange(0, EYES)
    there = view < views
    rig = world_from_rig + (view // cameras) * 16
    mount = rig_from_camera + (view % cameras) * 16
    eye = eyes + view * EYE
    for row in tl.static_range(3):
        x = tl.load(rig + 4 * row, mask=there, other=0.0)
        y = tl.load(rig + 4 * row + 1, mask=there, other=0.0)
        z = tl.load(rig + 4 * row + 2, mask=there, other=0.0)
        for column in tl.static_range(4):
            turned = x * tl.load(mount + column, mask=there, other=0.0)
            turned += y * tl.load(mount + 4 + column, mask=there, other=0.0)
            turned += z * tl.load(mount + 8 + column, mask=there, other=0.0)
            if column < 3:
                tl.store(eye + ROTATION + 3 * row + column, turned, mask=there)
            else:
                ground = tl.load(rig + 4 * row + 3, mask=there, other=0.0)
                tl.store(eye + CENTRE + row, turned + ground, mask=there)
                if row == 2:
                    tl.store(eye + HEIGHT, turned + ground - ground, mask=there)
    lens = intrinsics + (view % cameras) * 9
    tl.store(eye + LENS, tl.load(lens, mask=there, other=1.0), mask=there)
    tl.store(eye + LENS + 1, tl.load(lens + 4, mask=there, other=1.0), mask=there)
    tl.store(eye + LENS + 2, tl.load(lens + 2, mask=there, other=0.0), mask=there)
    tl.store(eye + LENS + 3, tl.load(lens + 5, mask=there, other=0.0), mask=there)
    tl.store(eye + LENS + 4, tl.load(lens + 1, mask=there, other=0.0), mask=there)


@triton.jit
@no_type_check
def load_rotation(eyes, view):
    """world_from_camera of one view, or of a block of them: nine numbers, row by row."""
    at = eyes + view * EYE + ROTATION
    return (
        tl.load(at),
        tl.load(at + 1),
        tl.load(at + 2),
        tl.load(at + 3),
        tl.load(at + 4),
        tl.load(at + 5),
        tl.load(at + 6),
        tl.load(at + 7),
        tl.load(at + 8),
    )


@triton.jit
@no_type_check
def load_centre(eyes, view):
    """Where the eye is in the world."""
    at = eyes + view * EYE + CENTRE
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
@no_type_check
def load_lens(eyes, view):
    """fx, fy, cx, cy, skew."""
    at = eyes + view * EYE + LENS
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4)


@triton.jit
@no_type_check
def into_camera(rotation, x, y, z):
    """Turn a vector from world axes to camera axes."""
    return (
        rotation[0] * x + rotation[3] * y + rotation[6] * z,
        rotation[1] * x + rotation[4] * y + rotation[7] * z,
        rotation[2] * x + rotation[5] * y + rotation[8] * z,
    )


@triton.jit
@no_type_check
def in_sight(sight, east, north, above, radius):
    """Whether spheres may be seen: not entirely behind, beyond the draw distance or beside the picture.

    sight: the view's rotation, lens, height and width in px, and draw distance. Middles are given from the eye, in
    world axes. A side of the picture is a plane through the eye: what is right of the left one has
    `fx x + skew y + cx z > 0`.
    """
    rotation, lens, height, width, reach = sight
    fx, fy, cx, cy, skew = lens
    x, y, z = into_camera(rotation, east, north, above)
    far = reach + radius
    seen = (z + radius >= NEAR) & (x * x + y * y + z * z <= far * far)
    across, down = fx * x + skew * y, fy * y
    rest_x, rest_y = width - cx, height - cy
    seen &= across + cx * z >= -radius * tl.sqrt(fx * fx + skew * skew + cx * cx)
    seen &= rest_x * z - across >= -radius * tl.sqrt(fx * fx + skew * skew + rest_x * rest_x)
    seen &= down + cy * z >= -radius * tl.sqrt(fy * fy + cy * cy)
    seen &= rest_y * z - down >= -radius * tl.sqrt(fy * fy + rest_y * rest_y)
    return seen


@triton.jit
@no_type_check
def next_one(wanted, last):
    """The first lane after `last` in which `wanted` is true; LANES if there is none."""
    lanes = tl.arange(0, LANES)
    return tl.min(tl.where(wanted & (lanes > last), lanes, LANES), 0)
