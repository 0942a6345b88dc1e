"""The table of cameras that all kernels of the Triton backend read, and culling of spheres against a view frustum.

`launch.py` launches the kernels. Almost every program is one warp: results are then shared between lanes by shuffles,
without barriers.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.backends.reference import NEAR_PLANE_M

NEAR = tl.constexpr(NEAR_PLANE_M)
LANES = tl.constexpr(32)  # of a warp; the size of most blocks

# Columns of the camera table [views, CAMERA_FIELDS] f32.
ROTATION = tl.constexpr(0)  # 9, world_from_camera, row by row
CENTRE = tl.constexpr(9)  # 3, world, m
INTRINSICS = tl.constexpr(12)  # fx, fy, cx, cy, skew in px
HEIGHT = tl.constexpr(17)  # above the viewer's ground, m
CAMERA_FIELDS = tl.constexpr(18)


class Frustum(NamedTuple):
    """What one view may show."""

    centre: Any  # 3, world, m
    rotation: Any  # 9, world_from_camera, row by row
    intrinsics: Any  # fx, fy, cx, cy, skew in px
    height: Any  # of the image, px
    width: Any  # px
    reach: Any  # draw distance, m


@triton.jit
@no_type_check  # annotations would have to be Triton's types
def write_cameras(
    camera_table, world_from_rig, rig_from_camera, intrinsics, views, num_cameras, VIEWS: tl.constexpr
):
    """Fill VIEWS rows of the camera table, viewer by viewer.

    The matrix product is written out because torch may compute it in TF32.
    """
    view = tl.program_id(0) * VIEWS + tl.arange(0, VIEWS)
    there = view < views
    rig = world_from_rig + (view // num_cameras) * 16
    mount = rig_from_camera + (view % num_cameras) * 16
    camera = camera_table + view * CAMERA_FIELDS
    for row in tl.static_range(3):
        x = tl.load(rig + 4 * row, mask=there, other=0.0)
        y = tl.load(rig + 4 * row + 1, mask=there, other=0.0)
        z = tl.load(rig + 4 * row + 2, mask=there, other=0.0)
        for column in tl.static_range(4):
            rotated = x * tl.load(mount + column, mask=there, other=0.0)
            rotated += y * tl.load(mount + 4 + column, mask=there, other=0.0)
            rotated += z * tl.load(mount + 8 + column, mask=there, other=0.0)
            if column < 3:
                tl.store(camera + ROTATION + 3 * row + column, rotated, mask=there)
            else:
                ground = tl.load(rig + 4 * row + 3, mask=there, other=0.0)
                tl.store(camera + CENTRE + row, rotated + ground, mask=there)
                if row == 2:
                    tl.store(camera + HEIGHT, rotated + ground - ground, mask=there)
    matrix = intrinsics + (view % num_cameras) * 9
    tl.store(camera + INTRINSICS, tl.load(matrix, mask=there, other=1.0), mask=there)
    tl.store(camera + INTRINSICS + 1, tl.load(matrix + 4, mask=there, other=1.0), mask=there)
    tl.store(camera + INTRINSICS + 2, tl.load(matrix + 2, mask=there, other=0.0), mask=there)
    tl.store(camera + INTRINSICS + 3, tl.load(matrix + 5, mask=there, other=0.0), mask=there)
    tl.store(camera + INTRINSICS + 4, tl.load(matrix + 1, mask=there, other=0.0), mask=there)


@triton.jit
@no_type_check
def load_rotation(camera_table, view):
    """world_from_camera of one view or of a block of views: nine numbers, row by row."""
    at = camera_table + view * CAMERA_FIELDS + ROTATION
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
def load_centre(camera_table, view):
    """Camera centre x, y, z in the world, m, of one view or of a block of views."""
    at = camera_table + view * CAMERA_FIELDS + CENTRE
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
@no_type_check
def load_intrinsics(camera_table, view):
    """fx, fy, cx, cy, skew, px, of one view or of a block of views."""
    at = camera_table + view * CAMERA_FIELDS + INTRINSICS
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4)


@triton.jit
@no_type_check
def into_camera(rotation, x, y, z):
    """Rotate a vector from world axes to camera axes."""
    return (
        rotation[0] * x + rotation[3] * y + rotation[6] * z,
        rotation[1] * x + rotation[4] * y + rotation[7] * z,
        rotation[2] * x + rotation[5] * y + rotation[8] * z,
    )


@triton.jit
@no_type_check
def sphere_visible(frustum, east, north, above, radius):
    """Whether spheres may be visible: not entirely behind the camera, beyond the draw distance or beside the image.

    Sphere centres are given relative to the camera centre, in world axes, m. A side of the image is a plane through
    the camera centre: a point is to the right of the left side if `fx x + skew y + cx z > 0`.
    """
    fx, fy, cx, cy, skew = frustum.intrinsics
    x, y, z = into_camera(frustum.rotation, east, north, above)
    far = frustum.reach + radius
    visible = (z + radius >= NEAR) & (x * x + y * y + z * z <= far * far)
    across, down = fx * x + skew * y, fy * y
    rest_x, rest_y = frustum.width - cx, frustum.height - cy
    visible &= across + cx * z >= -radius * tl.sqrt(fx * fx + skew * skew + cx * cx)
    visible &= rest_x * z - across >= -radius * tl.sqrt(fx * fx + skew * skew + rest_x * rest_x)
    visible &= down + cy * z >= -radius * tl.sqrt(fy * fy + cy * cy)
    visible &= rest_y * z - down >= -radius * tl.sqrt(fy * fy + rest_y * rest_y)
    return visible


@triton.jit
@no_type_check
def next_lane(wanted, last):
    """The first lane after `last` in which `wanted` is true; LANES if there is none."""
    lanes = tl.arange(0, LANES)
    return tl.min(tl.where(wanted & (lanes > last), lanes, LANES), 0)
