"""From a scene to the kernels of the Triton backend and back: tables, room for what they write, and their launches.

Three steps: `cull.py` lists what each view may show, `quad_setup.py` projects it, `tile_raster.py` draws.
The first one counts before it lists, and its counts come to the host, once per call: so every list and record has
room, whatever the scene, and no view is ever drawn without what it should show.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import numpy as np
import torch
import triton
from jaxtyping import Int
from torch import Tensor

from renderer.backends.triton_cuda.camera import EYE, place_eyes
from renderer.backends.triton_cuda.cull import find
from renderer.backends.triton_cuda.draw_lists import FIRST_LAYER, ROAD, SEGMENTS, Ground, Things
from renderer.backends.triton_cuda.quad_corners import Shapes
from renderer.backends.triton_cuda.quad_setup import BLOCK, FIELDS, set_up
from renderer.backends.triton_cuda.shading import Look
from renderer.backends.triton_cuda.tile_raster import draw
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

INTERPRETED = triton.knobs.runtime.interpret  # as it was when the kernels were read
# Rows and columns of pixels that a warp draws. Interpreted, an operation costs much the same for few and for many.
TILE = (64, 128) if INTERPRETED else (8, 16)
EYES = 128  # placed by one warp
MEMORY_BYTES = 1 << 28  # of records at a time; a view that needs more by itself gets more
OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}  # of every launch
BLOCK_BYTES = 4 * FIELDS.value * BLOCK.value


def draw_views(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """Draw a valid scene; see `renderer.render.render`."""
    pictures = {}
    for name in CHANNELS:
        shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width, *((3,) if name == "rgb" else ()))
        wanted = name in channels
        pictures[name] = torch.empty(shape if wanted else 0, dtype=CHANNEL_TYPES[name], device=scene.device)
    if scene.num_viewers:
        with _current(scene.device):
            _launch(scene, rig, pictures, channels)
    return Frame({name: pictures[name] for name in channels})


def _launch(scene: Scene, rig: CameraRig, pictures: Mapping[str, Tensor], channels: Sequence[str]) -> None:
    """Fill the pictures of the channels; views are drawn in chunks of bounded memory."""
    views, device = scene.num_viewers * rig.num_cameras, scene.device
    size, reach = (rig.height, rig.width), scene.draw_distance_m
    eyes, ground, things = _eyes(scene, rig), _ground(scene), _things(scene)
    wanted = [name in channels for name in CHANNELS]
    tiles = triton.cdiv(rig.height, TILE[0]) * triton.cdiv(rig.width, TILE[1])
    table = torch.zeros(views, SEGMENTS.value, dtype=torch.int32, device=device)
    told = (eyes, ground, things, _segments(device), table)
    nothing = torch.empty(0, 2, dtype=torch.int32, device=device)
    find[views,](*told, nothing, 0, 0, rig.num_cameras, *size, reach, False, **OPTIONS)
    spans, ends = _lay_out(table)
    for first, last, first_block, blocks in _chunks(ends):
        items = torch.full((blocks * BLOCK.value, 2), -1, dtype=torch.int32, device=device)
        records = torch.empty(blocks * BLOCK.value * FIELDS.value, device=device)
        begin = (first, first_block * BLOCK.value)
        find[last - first,](*told, items, *begin, rig.num_cameras, *size, reach, True, **OPTIONS)
        if blocks:
            listed = (items, records, eyes, ground, things, _shapes(device))
            set_up[blocks,](*listed, rig.num_cameras, *size, **OPTIONS)
        drawn = (records, spans, eyes, _look(device), *pictures.values(), first, first_block)
        draw[(last - first) * tiles,](*drawn, *size, reach, *wanted, *TILE, **OPTIONS)


def _current(device: torch.device) -> AbstractContextManager[None]:
    """Triton launches on the current GPU, which need not be the scene's."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _lay_out(table: Int[Tensor, "views segments"]) -> tuple[Int[Tensor, "views 3"], Int[np.ndarray, "views"]]:
    """Turn counts into where each segment of each view begins, in place.

    Gives the first block of each view, its blocks of surfaces and of thin things; and where its blocks end, on the
    host.
    """
    block, first_layer = BLOCK.value, FIRST_LAYER.value
    surfaces = table[:, :first_layer].sum(1)
    of_surfaces = (surfaces + block - 1) // block
    of_thin = (table[:, first_layer:].sum(1) + block - 1) // block
    ends = (of_surfaces + of_thin).cumsum(0)
    first = ends - of_surfaces - of_thin
    before = table.cumsum(1) - table  # within the view
    before[:, first_layer:] += (of_surfaces * block - surfaces)[:, None]  # thin things begin a block
    table.copy_(first[:, None] * block + before)
    return torch.stack([first, of_surfaces, of_thin], dim=1).int(), ends.cpu().numpy()


def _chunks(ends: Int[np.ndarray, "views"]) -> Iterator[tuple[int, int, int, int]]:
    """First view, last (not included), first block and number of blocks of each chunk: MEMORY_BYTES, or one view."""
    first, begin = 0, 0
    while first < len(ends):
        room = begin + MEMORY_BYTES // BLOCK_BYTES
        last = max(int(np.searchsorted(ends, room, side="right")), first + 1)
        end = int(ends[last - 1])
        yield first, last, begin, end - begin
        first, begin = last, end


def _eyes(scene: Scene, rig: CameraRig) -> Tensor:
    """The table of eyes [views, EYE] f32."""
    views = scene.num_viewers * rig.num_cameras
    eyes = torch.empty(views, EYE.value, device=scene.device)
    poses = (scene.world_from_rig.contiguous(), rig.rig_from_camera.contiguous(), rig.intrinsics.contiguous())
    place_eyes[triton.cdiv(views, EYES),](eyes, *poses, views, rig.num_cameras, EYES, **OPTIONS)
    return eyes


def _ground(scene: Scene) -> Ground:
    tensors = {field: getattr(scene.ground, field).contiguous() for field in Ground._fields}
    tensors["flat"] = tensors["flat"].view(torch.uint8)
    return Ground(**tensors)


def _things(scene: Scene) -> Things:
    made = {
        "box_turn": torch.stack([scene.box_yaw.cos(), scene.box_yaw.sin()], dim=-1),
        "light_turn": torch.stack([scene.light_yaw.cos(), scene.light_yaw.sin()], dim=-1),
        "boxes": scene.box_class.shape[1],
        "lights": scene.light_state.shape[1],
    }
    return Things(
        **{name: made[name] if name in made else getattr(scene, name).contiguous() for name in Things._fields}
    )


@lru_cache(maxsize=8)
def _segments(device: torch.device) -> Int[Tensor, "classes"]:
    """The segment of each ground class; that of the classes that are none is never asked for."""
    segment = [FIRST_LAYER.value + int(MATERIAL_LAYER[paint]) for paint in range(GROUND_CLASSES[-1] + 1)]
    segment[ClassId.DRIVABLE] = ROAD.value
    return torch.tensor(segment, dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def _shapes(device: torch.device) -> Shapes:
    return Shapes(
        *(torch.tensor(np.array(table, np.float32), device=device) for table in (FACE_CORNERS, LIGHT_DISC))
    )


@lru_cache(maxsize=8)
def _look(device: torch.device) -> Look:
    thin = list(LAYER_MATERIALS)
    material = np.column_stack([MATERIAL_RGB, MATERIAL_DIMMING])
    layer = np.column_stack([MATERIAL_RGB[thin], MATERIAL_DIMMING[thin], thin])
    return Look(
        material=torch.tensor(material, dtype=torch.float32, device=device),
        class_id=torch.tensor(MATERIAL_CLASS, device=device),
        layer=torch.tensor(layer, dtype=torch.float32, device=device),
    )
