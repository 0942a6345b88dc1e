"""`render_numba`: the tensors of a scene as numpy arrays (without a copy), drawn by `views.draw_views` into a frame."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch

from renderer.backends.numba_cpu.views import draw_views, make_workspace
from renderer.backends.reference import NEAR_PLANE_M
from renderer.camera import CameraRig
from renderer.frame import CHANNEL_TYPES, CHANNELS, Frame
from renderer.ground import CULL_CELL_M
from renderer.palette import (
    BOX_MATERIAL,
    DEPTH_BIAS,
    FOG_RGB,
    FOG_START,
    GROUND_CLASSES,
    LAYER_MATERIALS,
    LIGHT_MATERIAL,
    MATERIAL_CLASS,
    MATERIAL_DEPTH_BIAS,
    MATERIAL_DIMMING,
    MATERIAL_LAYER,
    MATERIAL_RGB,
    PAINT_CLASSES,
    ZENITH_RGB,
    ZENITH_SINE,
    ClassId,
)
from renderer.scene import Scene
from renderer.triangles import FACE_CORNERS, LIGHT_DISC


class CameraArrays(NamedTuple):
    """Extrinsics and intrinsics of the cameras of all viewers."""

    centre: Any  # [viewers, cameras, 3] m, world
    rotation: Any  # [viewers, cameras, 3, 3] world_from_camera
    height: Any  # [viewers, cameras] m above the viewer's ground
    upright: Any  # [viewers, cameras] bool, whether the world's up direction is `mount` (the vehicle does not lean)
    mount: Any  # [cameras, 3] the world's up direction in the camera frame of an upright vehicle
    intrinsics: Any  # [cameras, 7] fx, fy, cx, cy, skew in px, 1 / fx, 1 / fy
    planes: Any  # [cameras, 4, 3] inward unit normals of the sides of the view frustum, camera frame
    rays: Any  # [cameras, 2, height, width] x and y of each pixel's ray, where z is 1
    length: Any  # [cameras, height, width] length of these rays, in draw distances
    near: Any  # [] near plane, m
    reach: Any  # [] draw distance, m


class GroundArrays(NamedTuple):
    """The fields of `GroundLibrary` as numpy arrays."""

    quads: Any
    flat: Any
    sphere: Any
    cell_start: Any
    cell_sphere: Any
    grid_cell: Any
    map_grid: Any
    map_origin: Any
    cell_m: Any  # [] side of a cell, m


class SceneArrays(NamedTuple):
    """Boxes, lights and viewers: the fields of `Scene` as numpy arrays."""

    box_position: Any
    box_size: Any
    box_turn: Any  # [worlds, boxes, 2] cosine and sine of the yaw
    box_class: Any
    light_position: Any
    light_turn: Any  # [worlds, lights, 2] cosine and sine of the yaw
    light_state: Any
    map_id: Any
    viewer_world: Any
    viewer_box: Any


class PaletteArrays(NamedTuple):
    """Tables of materials and layers, from `palette.py` and `triangles.py`."""

    base: Any  # [3, materials] RGB 0-255; for the sky: its zenith colour
    class_id: Any  # [materials] u8
    material_bias: Any  # [materials] depth bias
    depth_bias: Any  # [] depth bias of boxes and decals; that of the road is 1
    ground_dimming: Any  # [] of road and bare ground
    box_dimming: Any  # []
    first_box: Any  # [] material of the front of a box of class 0
    layers: Any  # [layers, 4] RGB 0-255, dimming
    layer_class: Any  # [layers] u8
    paint_order: Any  # [paints, 2] index among GROUND_CLASSES, and layer, from the lowest
    light_layer: Any  # [] layer of green lights; yellow and red follow
    atmosphere: Any  # [6] fog's RGB; FOG_START; 1 / (1 - FOG_START); 1 / ZENITH_SINE
    face_corners: Any  # [6, 4, 3] signs of (forward, left, up)
    disc: Any  # [sides, 2] right, up, m


def render_numba(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """As `renderer.render.render`, for a validated scene on the CPU; raises ValueError if it is on another device."""
    if scene.device.type != "cpu":
        raise ValueError(
            f"backend='numba' draws on the CPU and the scene lies on {scene.device}; use Scene.to('cpu')"
        )
    views = (scene.num_viewers, rig.num_cameras)
    images = {}
    for name in CHANNELS:
        size = (rig.height, rig.width) if name in channels else (0, 0)
        shape = (*views, *size, *((3,) if name == "rgb" else ()))
        images[name] = torch.empty(shape, dtype=CHANNEL_TYPES[name])
    if 0 in views:
        return Frame({name: images[name] for name in channels})
    ground = scene.ground
    workers = min(numba.get_num_threads(), views[0] * views[1])
    draw_views(
        _camera_arrays(scene, rig),
        _ground_arrays(scene),
        _scene_arrays(scene),
        PALETTE,
        make_workspace(
            workers,
            rig.num_cameras,
            rig.height,
            rig.width,
            len(ground.cell_sphere),
            ground.max_quads_per_cell,
        ),
        *(images[name].numpy() for name in CHANNELS),
    )
    return Frame({name: images[name] for name in channels})


def _array(tensor: torch.Tensor) -> np.ndarray:
    """A CPU tensor as a contiguous array, without a copy if it is contiguous."""
    return tensor.detach().contiguous().numpy()


def _camera_arrays(scene: Scene, rig: CameraRig) -> CameraArrays:
    centre, rotation = rig.camera_poses(scene.world_from_rig)
    matrix = rig.intrinsics
    fx, fy = matrix[:, 0, 0], matrix[:, 1, 1]
    intrinsics = torch.stack(
        [fx, fy, matrix[:, 0, 2], matrix[:, 1, 2], matrix[:, 0, 1], 1 / fx, 1 / fy], dim=1
    )
    corners = torch.tensor([[0, 0, 1], [rig.width, 0, 1], [rig.width, rig.height, 1], [0, rig.height, 1]])
    edges = torch.einsum("cij,kj->cki", torch.linalg.inv(matrix.double()), corners.double())
    planes = torch.linalg.cross(edges, edges.roll(-1, dims=1))  # top, right, bottom, left; inward
    rays, up = rig.rays, rig.rig_from_camera[:, 2, :3]
    return CameraArrays(
        centre=_array(centre),
        rotation=_array(rotation),
        upright=_array((rotation[..., 2, :] - up).abs().amax(-1) < 1e-6),
        mount=_array(up),
        height=_array(centre[..., 2] - scene.world_from_rig[:, None, 2, 3]),
        intrinsics=_array(intrinsics),
        planes=_array((planes / planes.norm(dim=2, keepdim=True)).float()),
        rays=_array(rays[..., :2].permute(0, 3, 1, 2)),
        length=_array(rig.ray_lengths / scene.draw_distance_m),
        near=np.float32(NEAR_PLANE_M),
        reach=np.float32(scene.draw_distance_m),
    )


def _ground_arrays(scene: Scene) -> GroundArrays:
    fields = {
        field: _array(getattr(scene.ground, field)) for field in GroundArrays._fields if field != "cell_m"
    }
    return GroundArrays(**fields, cell_m=np.float32(CULL_CELL_M))


def _scene_arrays(scene: Scene) -> SceneArrays:
    yaws = {"box_turn": scene.box_yaw, "light_turn": scene.light_yaw}
    turns = {name: torch.stack([yaw.cos(), yaw.sin()], dim=-1) for name, yaw in yaws.items()}
    return SceneArrays(
        **{
            name: _array(turns[name] if name in turns else getattr(scene, name))
            for name in SceneArrays._fields
        }
    )


def _palette_arrays() -> PaletteArrays:
    paints = [(GROUND_CLASSES.index(paint), MATERIAL_LAYER[paint]) for paint in PAINT_CLASSES]
    decals = list(LAYER_MATERIALS)
    fog = [*FOG_RGB, FOG_START, 1 / (1 - FOG_START), 1 / ZENITH_SINE]
    return PaletteArrays(
        base=np.ascontiguousarray(np.concatenate([ZENITH_RGB[None], MATERIAL_RGB[1:]]).T),
        class_id=MATERIAL_CLASS,
        material_bias=MATERIAL_DEPTH_BIAS,
        depth_bias=np.float32(DEPTH_BIAS),
        ground_dimming=MATERIAL_DIMMING[ClassId.DRIVABLE],
        box_dimming=MATERIAL_DIMMING[BOX_MATERIAL],
        first_box=BOX_MATERIAL,
        layers=np.column_stack([MATERIAL_RGB[decals], MATERIAL_DIMMING[decals]]),
        layer_class=MATERIAL_CLASS[decals],
        paint_order=np.array(sorted(paints, key=lambda paint: paint[1])),
        light_layer=int(MATERIAL_LAYER[LIGHT_MATERIAL]),
        atmosphere=np.array(fog, np.float32),
        face_corners=np.array(FACE_CORNERS, np.float32),
        disc=LIGHT_DISC,
    )


PALETTE = _palette_arrays()
