"""The compiled entry of the fast renderer for CPUs: each thread draws an equal part of the views, in its own room."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit, prange

from renderer.backends.numba_cpu.coverage import THIN, draw_thin
from renderer.backends.numba_cpu.polygons import (
    MAX_CORNERS,
    SCRATCH_ROWS,
    Eye,
    Polygons,
    kernel,
    sphere_hidden,
)
from renderer.backends.numba_cpu.shading import finish, paint_sky
from renderer.backends.numba_cpu.surfaces import draw_surfaces

LEAST_ROOM = 512  # polygons gathered before they are drawn


class Picture(NamedTuple):
    """What is drawn of one view so far."""

    length: Any  # [height, width] of the ray of a pixel, in draw distances
    key: Any  # [height, width] precedence / depth of the surface in front, 0 if there is none
    material: Any  # [height, width] u8
    instance: Any  # [height, width] i32, or of no size where nobody asks
    layer: Any  # [height, width] u8, see `coverage.py`
    thin: Any  # [height, width, THIN] f32, see `coverage.py`
    winner: Any  # [height, width] u8, 1 + the layer that covers most; 0 if the surface does
    touched: Any  # [height] u8, whether a row may hold anything thin
    solid: Any  # [height] u8, which surfaces a row may hold, see `surfaces.py`
    edge: Any  # [width + 2] f32, zeros


class Rooms(NamedTuple):
    """Where threads draw, a strand of views each. Kernels count no references, so they cannot make arrays."""

    key: Any  # [strands, height, width] f32
    material: Any  # [strands, height, width] u8
    layer: Any  # [strands, height, width] u8
    winner: Any  # [strands, height, width] u8
    thin: Any  # [strands, height, width, THIN] f32
    touched: Any  # [strands, height] u8
    solid: Any  # [strands, height] u8
    light: Any  # [strands, 3, width] f32
    edge: Any  # [strands, width + 2] f32
    corner: Any  # [strands, room, MAX_CORNERS, 3] f32, this and the next two: `Polygons`
    plane: Any  # [strands, room, 7] f32
    label: Any  # [strands, room, 3] i32
    scratch: Any  # [strands, SCRATCH_ROWS, 3] f32
    cells: Any  # [strands, cells] i64
    sky: Any  # [cameras, height, width, 3] u8, of cameras on upright vehicles
    sky_row: Any  # [cameras, height] u8, whether a row of it shows nothing but sky


def make_rooms(strands: int, cameras: int, height: int, width: int, cells: int, crowd: int) -> Rooms:
    """Room for pictures of one size, of maps of up to `cells` cells with up to `crowd` quads of one class in each."""
    size, room = (strands, height, width), max(LEAST_ROOM, 2 * crowd)
    return Rooms(
        key=np.empty(size, np.float32),
        material=np.empty(size, np.uint8),
        layer=np.empty(size, np.uint8),
        winner=np.empty(size, np.uint8),
        thin=np.empty((strands, height, width, THIN), np.float32),
        touched=np.empty((strands, height), np.uint8),
        solid=np.empty((strands, height), np.uint8),
        light=np.empty((strands, 3, width), np.float32),
        edge=np.zeros((strands, width + 2), np.float32),
        corner=np.empty((strands, room, MAX_CORNERS, 3), np.float32),
        plane=np.empty((strands, room, 7), np.float32),
        label=np.empty((strands, room, 3), np.int32),
        scratch=np.empty((strands, SCRATCH_ROWS, 3), np.float32),
        cells=np.empty((strands, cells), np.int64),
        sky=np.empty((cameras, height, width, 3), np.uint8),
        sky_row=np.empty((cameras, height), np.uint8),
    )


_KERNELS = ("coverage.py", "polygons.py", "shading.py", "surfaces.py")


def _digest() -> str:
    """Of every file that is compiled into the entry."""
    return hashlib.sha256(
        b"".join(Path(__file__).with_name(name).read_bytes() for name in _KERNELS)
    ).hexdigest()


def _compiled(sources: str) -> Any:
    """The entry. numba's cache looks at this file alone, and at what the function holds: so it holds `sources`."""

    @njit(parallel=True, cache=True, error_model="numpy")
    @no_type_check
    def draw_views(eyes, ground, things, look, rooms, rgb, depth, class_id, instance):
        """All views; each of the `rooms` is a strand's to draw in. Channels [viewers, cameras, ...]; of no size if
        unwanted."""
        assert len(sources)
        viewers, cameras = eyes.centre.shape[:2]
        total, strands = viewers * cameras, rooms.key.shape[0]
        for camera in prange(cameras):
            mount, sky = eyes.mount[camera], rooms.sky[camera]
            paint_sky(sky, rooms.sky_row[camera], eyes.rays[camera], mount, look.air, look.base)
        for strand in prange(strands):
            key, material, layer = rooms.key[strand], rooms.material[strand], rooms.layer[strand]
            scratch, cells = rooms.scratch[strand], rooms.cells[strand]
            touched, solid = rooms.touched[strand], rooms.solid[strand]
            polygons = Polygons(rooms.corner[strand], rooms.plane[strand], rooms.label[strand])
            for index in range(total * strand // strands, total * (strand + 1) // strands):
                viewer, camera = index // cameras, index % cameras
                centre, lens = eyes.centre[viewer, camera], eyes.lens[camera]
                eye = Eye(
                    (centre[0], centre[1], centre[2]),
                    _nine(eyes.rotation[viewer, camera]),
                    _twelve(eyes.planes[camera]),
                    (lens[0], lens[1], lens[2], lens[3], lens[4], lens[5], lens[6]),
                    eyes.near,
                    eyes.reach,
                    np.float32(key.shape[0]),
                    np.float32(key.shape[1]),
                )
                picture = Picture(
                    eyes.length[camera],
                    key,
                    material,
                    instance[viewer, camera] if instance.size else instance[0, 0],
                    layer,
                    rooms.thin[strand],
                    rooms.winner[strand],
                    touched,
                    solid,
                    rooms.edge[strand],
                )
                key[:] = 0
                material[:] = 0
                layer[:] = 0
                touched[:] = 0
                solid[:] = 0
                world, own = things.viewer_world[viewer], things.viewer_box[viewer]
                num = _cells_in_view(eye, ground, things.map_id[world], cells)
                draw_surfaces(eye, picture, ground, cells, num, things, world, own, look, polygons, scratch)
                draw_thin(eye, picture, ground, cells, num, things, world, look, polygons, scratch)
                finish(
                    eye,
                    picture,
                    look,
                    eyes.rays[camera],
                    rooms.light[strand],
                    eyes.height[viewer, camera],
                    rooms.sky[camera],
                    rooms.sky_row[camera],
                    eyes.upright[viewer, camera],
                    rgb[viewer, camera] if rgb.size else rgb[0, 0],
                    depth[viewer, camera] if depth.size else depth[0, 0],
                    class_id[viewer, camera] if class_id.size else class_id[0, 0],
                )

    return draw_views


@kernel
@no_type_check
def _nine(a):
    return a[0, 0], a[0, 1], a[0, 2], a[1, 0], a[1, 1], a[1, 2], a[2, 0], a[2, 1], a[2, 2]


@kernel
@no_type_check
def _twelve(a):
    return (
        (a[0, 0], a[0, 1], a[0, 2]),
        (a[1, 0], a[1, 1], a[1, 2]),
        (a[2, 0], a[2, 1], a[2, 2]),
        (a[3, 0], a[3, 1], a[3, 2]),
    )


@kernel
@no_type_check
def _cells_in_view(eye, ground, town, cells):
    """Numbers of the cells of a map that a view may show into `cells`; gives how many."""
    first, columns, rows = ground.map_grid[town, 0], ground.map_grid[town, 1], ground.map_grid[town, 2]
    side = ground.cell_m
    reach = eye.reach + ground.map_origin[town, 2]
    x, y = eye.centre[0] - ground.map_origin[town, 0], eye.centre[1] - ground.map_origin[town, 1]
    begin_column = max(int(np.floor((x - reach) / side)), 0)
    end_column = min(int(np.floor((x + reach) / side)) + 1, columns)
    begin_row = max(int(np.floor((y - reach) / side)), 0)
    end_row = min(int(np.floor((y + reach) / side)) + 1, rows)
    found = 0
    for row in range(begin_row, end_row):
        for column in range(begin_column, end_column):
            cell = ground.grid_cell[first + row * columns + column]
            if cell >= 0 and not sphere_hidden(eye, ground.cell_sphere, cell):
                cells[found] = cell
                found += 1
    return found


draw_views = _compiled(_digest())
