"""Launches of the Triton backend's kernels: from a scene to the images of all views.

Three steps: `cull.py` lists what each view may show, `quad_setup.py` projects it, `tile_raster.py` draws it. The first
step counts before it lists, and the counts are copied to the host once per call, so that lists and records are
allocated at the required size: nothing is ever left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache

import numpy as np
import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor

from renderer.backends.triton_cuda.camera import CAMERA_FIELDS, write_cameras
from renderer.backends.triton_cuda.cull import cull
from renderer.backends.triton_cuda.draw_lists import (
    DECAL_SEGMENT,
    ROAD_SEGMENT,
    SEGMENTS,
    GroundTensors,
    SceneTensors,
)
from renderer.backends.triton_cuda.quad_corners import Shapes
from renderer.backends.triton_cuda.quad_setup import BLOCK, FIELDS, set_up_quads
from renderer.backends.triton_cuda.shading import PaletteTensors
from renderer.backends.triton_cuda.tile_raster import Images, draw_tile
from renderer.camera import CameraRig
from renderer.frame import CHANNEL_TYPES, CHANNELS, Frame
from renderer.palette import (
    GROUND_CLASSES,
    LAYER_MATERIALS,
    MATERIAL_CLASS,
    MATERIAL_DIMMING,
    MATERIAL_LAYER,
    MATERIAL_RGB,
    ClassId,
)
from renderer.scene import Scene
from renderer.triangles import FACE_CORNERS, LIGHT_DISC

INTERPRETED = triton.knobs.runtime.interpret  # as it was when the kernels were defined
# Rows and columns of pixels that a warp draws. An interpreted operation costs about the same for few and many pixels.
TILE = (64, 128) if INTERPRETED else (8, 16)
MEMORY_BYTES = 1 << 28  # records of a chunk of views; a single view may need more
VIEWS_PER_PROGRAM = 128  # rows of the camera table that one warp writes
OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}  # of every launch
BLOCK_BYTES = 4 * FIELDS.value * BLOCK.value


def draw_views(
    scene: Scene,
    rig: CameraRig,
    channels: Sequence[str] = CHANNELS,
    tile: tuple[int, int] = TILE,
    memory_bytes: int = MEMORY_BYTES,
) -> Frame:
    """As `renderer.render.render`, for a validated scene.

    Args:
        scene, rig, channels: see `renderer.render.render`.
        tile: rows and columns of pixels that one warp draws.
        memory_bytes: size of the records that exist at a time, unless a single view needs more. Neither changes the
            images.
    """
    images = {}
    for name in channels:
        shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width, *((3,) if name == "rgb" else ()))
        images[name] = torch.empty(shape, dtype=CHANNEL_TYPES[name], device=scene.device)
    if scene.num_viewers:
        # Triton launches on the current GPU, which need not be the scene's.
        with torch.cuda.device(scene.device) if scene.device.type == "cuda" else nullcontext():
            _launch(scene, rig, Images(*map(images.get, CHANNELS)), tile, memory_bytes)
    return Frame(images)


def _launch(scene: Scene, rig: CameraRig, images: Images, tile: tuple[int, int], memory_bytes: int) -> None:
    """Fill `images`, in chunks of views of bounded memory."""
    views, device = scene.num_viewers * rig.num_cameras, scene.device
    size, reach = (rig.height, rig.width), scene.draw_distance_m
    camera_table = _camera_table(scene, rig)
    ground_tensors, scene_tensors = _ground_tensors(scene), _scene_tensors(scene)
    tiles = triton.cdiv(rig.height, tile[0]) * triton.cdiv(rig.width, tile[1])
    table = torch.zeros(views, SEGMENTS.value, dtype=torch.int32, device=device)
    cull_inputs = (camera_table, ground_tensors, scene_tensors, _segments(device), table)
    no_items = torch.empty(0, 2, dtype=torch.int32, device=device)
    cull[views,](*cull_inputs, no_items, 0, 0, rig.num_cameras, *size, reach, False, **OPTIONS)
    spans, ends = _lay_out(table)
    for first, last, first_block, blocks in _chunks(ends, memory_bytes):
        items = torch.full((blocks * BLOCK.value, 2), -1, dtype=torch.int32, device=device)
        records = torch.empty(blocks * BLOCK.value * FIELDS.value, device=device)
        begin = (first, first_block * BLOCK.value)
        cull[last - first,](*cull_inputs, items, *begin, rig.num_cameras, *size, reach, True, **OPTIONS)
        if blocks:
            setup_inputs = (items, records, camera_table, ground_tensors, scene_tensors, _shapes(device))
            set_up_quads[blocks,](*setup_inputs, rig.num_cameras, *size, **OPTIONS)
        draw_inputs = (records, spans, camera_table, _palette_tensors(device), images, first, first_block)
        draw_tile[(last - first) * tiles,](*draw_inputs, *size, reach, *tile, **OPTIONS)


def _lay_out(table: Int[Tensor, "views segments"]) -> tuple[Int[Tensor, "views 3"], Int[np.ndarray, "views"]]:
    """Replace the counts in `table` by the number of the first item of each segment of each view.

    Returns `spans` (see `tile_raster.draw_tile`), and on the host the end of each view's blocks.
    """
    block, first_decal = BLOCK.value, DECAL_SEGMENT.value
    surfaces = table[:, :first_decal].sum(1)
    surface_blocks = (surfaces + block - 1) // block
    decal_blocks = (table[:, first_decal:].sum(1) + block - 1) // block
    ends = (surface_blocks + decal_blocks).cumsum(0)
    first = ends - surface_blocks - decal_blocks
    before = table.cumsum(1) - table  # within the view
    before[:, first_decal:] += (surface_blocks * block - surfaces)[:, None]  # decals start a new block
    table.copy_(first[:, None] * block + before)
    return torch.stack([first, surface_blocks, decal_blocks], dim=1).int(), ends.cpu().numpy()


def _chunks(ends: Int[np.ndarray, "views"], memory_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """First view, last view (exclusive), first block and number of blocks of each chunk."""
    first, begin = 0, 0
    while first < len(ends):
        limit = begin + memory_bytes // BLOCK_BYTES
        last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
        end = int(ends[last - 1])
        yield first, last, begin, end - begin
        first, begin = last, end


def _camera_table(scene: Scene, rig: CameraRig) -> Float[Tensor, "views fields"]:
    """The table of cameras, see `camera.py`."""
    views = scene.num_viewers * rig.num_cameras
    camera_table = torch.empty(views, CAMERA_FIELDS.value, device=scene.device)
    poses = (scene.world_from_rig.contiguous(), rig.rig_from_camera.contiguous(), rig.intrinsics.contiguous())
    write_cameras[triton.cdiv(views, VIEWS_PER_PROGRAM),](
        camera_table, *poses, views, rig.num_cameras, VIEWS_PER_PROGRAM, **OPTIONS
    )
    return camera_table


def _ground_tensors(scene: Scene) -> GroundTensors:
    tensors = {field: getattr(scene.ground, field).contiguous() for field in GroundTensors._fields}
    tensors["flat"] = tensors["flat"].view(torch.uint8)
    return GroundTensors(**tensors)


def _scene_tensors(scene: Scene) -> SceneTensors:
    computed = {
        "box_turn": torch.stack([scene.box_yaw.cos(), scene.box_yaw.sin()], dim=-1),
        "light_turn": torch.stack([scene.light_yaw.cos(), scene.light_yaw.sin()], dim=-1),
        "boxes": scene.box_class.shape[1],
        "lights": scene.light_state.shape[1],
    }
    return SceneTensors(
        **{
            name: computed[name] if name in computed else getattr(scene, name).contiguous()
            for name in SceneTensors._fields
        }
    )


@lru_cache(maxsize=8)
def _segments(device: torch.device) -> Int[Tensor, "classes"]:
    """Segment of each class id; undefined for those that are no ground class."""
    segment = [DECAL_SEGMENT.value + int(MATERIAL_LAYER[paint]) for paint in range(GROUND_CLASSES[-1] + 1)]
    segment[ClassId.DRIVABLE] = ROAD_SEGMENT.value
    return torch.tensor(segment, dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def _shapes(device: torch.device) -> Shapes:
    return Shapes(
        *(torch.tensor(np.array(table, np.float32), device=device) for table in (FACE_CORNERS, LIGHT_DISC))
    )


@lru_cache(maxsize=8)
def _palette_tensors(device: torch.device) -> PaletteTensors:
    decals = list(LAYER_MATERIALS)
    material = np.column_stack([MATERIAL_RGB, MATERIAL_DIMMING])
    layer = np.column_stack([MATERIAL_RGB[decals], MATERIAL_DIMMING[decals], decals])
    return PaletteTensors(
        material=torch.tensor(material, dtype=torch.float32, device=device),
        class_id=torch.tensor(MATERIAL_CLASS, device=device),
        layer=torch.tensor(layer, dtype=torch.float32, device=device),
    )
