"""The compiled entry of the numba backend: each thread draws an equal share of the views, in its own workspace."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import prange

from renderer.backends.numba_cpu.compiled_cache import compile_and_cache
from renderer.backends.numba_cpu.coverage import DECAL_FIELDS, draw_decals
from renderer.backends.numba_cpu.polygons import (
    MAX_CORNERS,
    SCRATCH_ROWS,
    Polygons,
    View,
    kernel,
    sphere_outside_view,
)
from renderer.backends.numba_cpu.shading import finish, paint_sky
from renderer.backends.numba_cpu.surfaces import draw_surfaces

MIN_CAPACITY = 512  # polygons collected before they are rasterised


class Framebuffer(NamedTuple):
    """Intermediate buffers of one view."""

    length: Any  # [height, width] length of each pixel's ray (z = 1), in draw distances
    key: Any  # [height, width] depth-test key: depth bias / depth of the nearest surface, 0 if there is none
    material: Any  # [height, width] u8, of that surface
    instance: Any  # [height, width] i32, box of that surface; empty if the channel is not wanted
    layer: Any  # [height, width] u8, see `coverage.py`
    decals: Any  # [height, width, DECAL_FIELDS] f32, see `coverage.py`
    winner: Any  # [height, width] u8, 1 + the layer that covers most of the pixel; 0 if the surface does
    touched: Any  # [height] u8, whether a row may hold decals
    solid: Any  # [height] u8, which surfaces a row may hold, see `surfaces.py`
    edge: Any  # [width + 2] f32, zeros


class Workspace(NamedTuple):
    """Scratch arrays of all threads, allocated by the caller: kernels without reference counting cannot allocate."""

    key: Any  # [workers, height, width] f32
    material: Any  # [workers, height, width] u8
    layer: Any  # [workers, height, width] u8
    winner: Any  # [workers, height, width] u8
    decals: Any  # [workers, height, width, DECAL_FIELDS] f32
    touched: Any  # [workers, height] u8
    solid: Any  # [workers, height] u8
    light: Any  # [workers, 3, width] f32
    edge: Any  # [workers, width + 2] f32
    corner: Any  # [workers, capacity, MAX_CORNERS, 3] f32, this and the next two: `Polygons`
    plane: Any  # [workers, capacity, 7] f32
    label: Any  # [workers, capacity, 3] i32
    scratch: Any  # [workers, SCRATCH_ROWS, 3] f32
    cells: Any  # [workers, cells] i64
    sky: Any  # [cameras, height, width, 3] u8, sky of a camera on an upright vehicle
    sky_row: Any  # [cameras, height] u8, whether a row of `sky` shows nothing but sky


def make_workspace(
    workers: int, num_cameras: int, height: int, width: int, num_cells: int, max_quads_per_cell: int
) -> Workspace:
    """Workspace for `workers` threads; max_quads_per_cell counts the quads of one class."""
    size, capacity = (workers, height, width), max(MIN_CAPACITY, 2 * max_quads_per_cell)
    return Workspace(
        key=np.empty(size, np.float32),
        material=np.empty(size, np.uint8),
        layer=np.empty(size, np.uint8),
        winner=np.empty(size, np.uint8),
        decals=np.empty((workers, height, width, DECAL_FIELDS), np.float32),
        touched=np.empty((workers, height), np.uint8),
        solid=np.empty((workers, height), np.uint8),
        light=np.empty((workers, 3, width), np.float32),
        edge=np.zeros((workers, width + 2), np.float32),
        corner=np.empty((workers, capacity, MAX_CORNERS, 3), np.float32),
        plane=np.empty((workers, capacity, 7), np.float32),
        label=np.empty((workers, capacity, 3), np.int32),
        scratch=np.empty((workers, SCRATCH_ROWS, 3), np.float32),
        cells=np.empty((workers, num_cells), np.int64),
        sky=np.empty((num_cameras, height, width, 3), np.uint8),
        sky_row=np.empty((num_cameras, height), np.uint8),
    )


@kernel
@no_type_check
def _flat_3x3(a):
    """The entries of a 3 x 3 array as a tuple of 9, row by row."""
    return a[0, 0], a[0, 1], a[0, 2], a[1, 0], a[1, 1], a[1, 2], a[2, 0], a[2, 1], a[2, 2]


@kernel
@no_type_check
def _rows_4x3(a):
    """The rows of a 4 x 3 array as a tuple of 4 tuples of 3."""
    return (
        (a[0, 0], a[0, 1], a[0, 2]),
        (a[1, 0], a[1, 1], a[1, 2]),
        (a[2, 0], a[2, 1], a[2, 2]),
        (a[3, 0], a[3, 1], a[3, 2]),
    )


@kernel
@no_type_check
def _cells_in_view(view, ground, map_index, cells):
    """Write the numbers of the cells of a map that a view may show into `cells`; returns how many there are."""
    first, columns, rows = (
        ground.map_grid[map_index, 0],
        ground.map_grid[map_index, 1],
        ground.map_grid[map_index, 2],
    )
    side = ground.cell_m
    reach = view.reach + ground.map_origin[map_index, 2]
    x, y = view.centre[0] - ground.map_origin[map_index, 0], view.centre[1] - ground.map_origin[map_index, 1]
    begin_column = max(int(np.floor((x - reach) / side)), 0)
    end_column = min(int(np.floor((x + reach) / side)) + 1, columns)
    begin_row = max(int(np.floor((y - reach) / side)), 0)
    end_row = min(int(np.floor((y + reach) / side)) + 1, rows)
    found = 0
    for row in range(begin_row, end_row):
        for column in range(begin_column, end_column):
            cell = ground.grid_cell[first + row * columns + column]
            if cell >= 0 and not sphere_outside_view(view, ground.cell_sphere, cell):
                cells[found] = cell
                found += 1
    return found


# All files that are compiled into `draw_views`, and those that hold constants of the kernels.
_KERNEL_SOURCES = (
    "entry.py",  # the order of the fields that kernels read
    "coverage.py",
    "polygons.py",
    "shading.py",
    "surfaces.py",
    "../coverage.py",
    "../../palette.py",
)


def _compiled_draw_views() -> Callable[..., None]:
    """`draw_views`, compiled for all threads and cached on disk.

    numba's cache is keyed by this file and by the closure of the function, so the closure holds a digest of the other
    kernel sources: changing one of them invalidates the cache.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in _KERNEL_SOURCES)).hexdigest()

    @no_type_check
    def draw_views(cameras, ground, scene, palette, workspace, rgb, depth, class_id, instance):
        """Fill the channels [viewers, cameras, ...] of all views; a channel of size 0 is not wanted."""
        assert len(digest)
        num_viewers, num_cameras = cameras.centre.shape[:2]
        total, workers = num_viewers * num_cameras, workspace.key.shape[0]
        for camera in prange(num_cameras):
            paint_sky(
                workspace.sky[camera],
                workspace.sky_row[camera],
                cameras.rays[camera],
                cameras.mount[camera],
                palette.atmosphere,
                palette.base,
            )
        for worker in prange(workers):
            key, material, layer = workspace.key[worker], workspace.material[worker], workspace.layer[worker]
            touched, solid = workspace.touched[worker], workspace.solid[worker]
            scratch, cells = workspace.scratch[worker], workspace.cells[worker]
            polygons = Polygons(workspace.corner[worker], workspace.plane[worker], workspace.label[worker])
            for index in range(total * worker // workers, total * (worker + 1) // workers):
                viewer, camera = index // num_cameras, index % num_cameras
                centre, intrinsics = cameras.centre[viewer, camera], cameras.intrinsics[camera]
                view = View(
                    (centre[0], centre[1], centre[2]),
                    _flat_3x3(cameras.rotation[viewer, camera]),
                    _rows_4x3(cameras.planes[camera]),
                    (
                        intrinsics[0],
                        intrinsics[1],
                        intrinsics[2],
                        intrinsics[3],
                        intrinsics[4],
                        intrinsics[5],
                        intrinsics[6],
                    ),
                    cameras.near,
                    cameras.reach,
                    np.float32(key.shape[0]),
                    np.float32(key.shape[1]),
                )
                buffers = Framebuffer(
                    cameras.length[camera],
                    key,
                    material,
                    instance[viewer, camera] if instance.size else instance[0, 0],
                    layer,
                    workspace.decals[worker],
                    workspace.winner[worker],
                    touched,
                    solid,
                    workspace.edge[worker],
                )
                key[:] = 0
                material[:] = 0
                layer[:] = 0
                touched[:] = 0
                solid[:] = 0
                world, own_box = scene.viewer_world[viewer], scene.viewer_box[viewer]
                num_cells = _cells_in_view(view, ground, scene.map_id[world], cells)
                draw_surfaces(
                    view, buffers, ground, cells, num_cells, scene, world, own_box, palette, polygons, scratch
                )
                draw_decals(view, buffers, ground, cells, num_cells, scene, world, palette, polygons, scratch)
                finish(
                    view,
                    buffers,
                    palette,
                    cameras.rays[camera],
                    workspace.light[worker],
                    cameras.height[viewer, camera],
                    workspace.sky[camera],
                    workspace.sky_row[camera],
                    cameras.upright[viewer, camera],
                    rgb[viewer, camera] if rgb.size else rgb[0, 0],
                    depth[viewer, camera] if depth.size else depth[0, 0],
                    class_id[viewer, camera] if class_id.size else class_id[0, 0],
                )

    return compile_and_cache(draw_views)


draw_views = _compiled_draw_views()
