"""The fast renderer for CPUs: tensors become numpy arrays without a copy, and `numba_views` draws into the frame."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch

from renderer.backends.numba_cpu.views import draw_views, make_rooms
from renderer.backends.reference import NEAR_M
from renderer.camera import CameraRig
from renderer.frame import CHANNEL_TYPES, CHANNELS, Frame
from renderer.ground import CELL_M
from renderer.palette import (
    BOX_MATERIAL,
    GROUND_CLASSES,
    HAZE_RGB,
    HAZE_START,
    LAYER_MATERIALS,
    LIGHT_MATERIAL,
    MATERIAL_CLASS,
    MATERIAL_DIMMING,
    MATERIAL_LAYER,
    MATERIAL_PRECEDENCE,
    MATERIAL_RGB,
    PAINT_CLASSES,
    TOP_PRECEDENCE,
    ZENITH_RGB,
    ZENITH_SINE,
    ClassId,
)
from renderer.scene import Scene
from renderer.triangles import FACE_CORNERS, LIGHT_DISC


class Eyes(NamedTuple):
    """Cameras of all viewers: where they are and how they see."""

    centre: Any  # [viewers, cameras, 3] world
    rotation: Any  # [viewers, cameras, 3, 3] world_from_camera
    height: Any  # [viewers, cameras] above the viewer's ground, m
    upright: Any  # [viewers, cameras] bool, whether up is where it is for an upright vehicle
    mount: Any  # [cameras, 3] up in the camera frame, for an upright vehicle
    lens: Any  # [cameras, 7] fx, fy, cx, cy, skew in px, 1 / fx, 1 / fy
    planes: Any  # [cameras, 4, 3] inward unit normals of the four sides of the view, camera frame
    rays: Any  # [cameras, 2, height, width] x and y where z is 1
    length: Any  # [cameras, height, width] of those rays, in draw distances
    near: Any  # [] m
    reach: Any  # [] draw distance, m


class Ground(NamedTuple):
    """`GroundLibrary` as numpy arrays."""

    quads: Any
    flat: Any
    sphere: Any
    cell_start: Any
    cell_sphere: Any
    grid_cell: Any
    map_grid: Any
    map_origin: Any
    cell_m: Any  # [] side of a cell


class Things(NamedTuple):
    """Boxes, lights and who looks, as in `Scene`."""

    box_position: Any
    box_size: Any
    box_turn: Any  # [worlds, boxes, 2] cosine and sine of the yaw
    box_class: Any
    light_position: Any
    light_turn: Any  # [worlds, lights, 2]
    light_state: Any
    map_id: Any
    viewer_world: Any
    viewer_box: Any


class Look(NamedTuple):
    """Tables of the palette."""

    base: Any  # [3, materials] colour; the sky's at its zenith
    class_id: Any  # [materials] u8
    precedence: Any  # [materials]
    top_precedence: Any  # [] of boxes and thin things
    ground_dimming: Any  # [] of road and bare ground
    box_dimming: Any  # []
    first_box: Any  # [] material of the first kind's front
    layers: Any  # [layers, 4] colour, dimming
    layer_class: Any  # [layers] u8
    paint_order: Any  # [paints, 2] place among ground classes, and layer, from the lowest
    light_layer: Any  # [] of the green light
    air: Any  # [6] haze's colour; where it starts; 1 / (1 - where it starts); 1 / zenith sine
    face_corners: Any  # [6, 4, 3] signs
    disc: Any  # [sides, 2] right, up, m


def render_numba(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """Draw a valid scene on the CPU; see `renderer.render.render`."""
    if scene.device.type != "cpu":
        raise ValueError(
            f"backend='numba' draws on the CPU and the scene lies on {scene.device}; use Scene.to('cpu')"
        )
    views = (scene.num_viewers, rig.num_cameras)
    pictures = {}
    for name in CHANNELS:
        size = (rig.height, rig.width) if name in channels else (0, 0)
        shape = (*views, *size, *((3,) if name == "rgb" else ()))
        pictures[name] = torch.empty(shape, dtype=CHANNEL_TYPES[name])
    if 0 in views:
        return Frame({name: pictures[name] for name in channels})
    ground = scene.ground
    strands = min(numba.get_num_threads(), views[0] * views[1])
    draw_views(
        _eyes(scene, rig),
        _ground(scene),
        _things(scene),
        LOOK,
        make_rooms(
            strands, rig.num_cameras, rig.height, rig.width, len(ground.cell_sphere), ground.most_in_cell
        ),
        *(pictures[name].numpy() for name in CHANNELS),
    )
    return Frame({name: pictures[name] for name in channels})


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _eyes(scene: Scene, rig: CameraRig) -> Eyes:
    centre, rotation = rig.placed(scene.world_from_rig)
    matrix = rig.intrinsics
    fx, fy = matrix[:, 0, 0], matrix[:, 1, 1]
    lens = torch.stack([fx, fy, matrix[:, 0, 2], matrix[:, 1, 2], matrix[:, 0, 1], 1 / fx, 1 / fy], dim=1)
    corners = torch.tensor([[0, 0, 1], [rig.width, 0, 1], [rig.width, rig.height, 1], [0, rig.height, 1]])
    edges = torch.einsum("cij,kj->cki", torch.linalg.inv(matrix.double()), corners.double())
    planes = torch.linalg.cross(edges, edges.roll(-1, dims=1))  # top, right, bottom, left; inward
    rays, up = rig.rays, rig.rig_from_camera[:, 2, :3]
    return Eyes(
        centre=_array(centre),
        rotation=_array(rotation),
        upright=_array((rotation[..., 2, :] - up).abs().amax(-1) < 1e-6),
        mount=_array(up),
        height=_array(centre[..., 2] - scene.world_from_rig[:, None, 2, 3]),
        lens=_array(lens),
        planes=_array((planes / planes.norm(dim=2, keepdim=True)).float()),
        rays=_array(rays[..., :2].permute(0, 3, 1, 2)),
        length=_array(rig.ray_lengths / scene.draw_distance_m),
        near=np.float32(NEAR_M),
        reach=np.float32(scene.draw_distance_m),
    )


def _ground(scene: Scene) -> Ground:
    fields = {field: _array(getattr(scene.ground, field)) for field in Ground._fields if field != "cell_m"}
    return Ground(**fields, cell_m=np.float32(CELL_M))


def _things(scene: Scene) -> Things:
    turned = {"box_turn": scene.box_yaw, "light_turn": scene.light_yaw}
    made = {name: torch.stack([yaw.cos(), yaw.sin()], dim=-1) for name, yaw in turned.items()}
    return Things(
        **{name: _array(made[name] if name in made else getattr(scene, name)) for name in Things._fields}
    )


def _look() -> Look:
    paints = [(GROUND_CLASSES.index(paint), MATERIAL_LAYER[paint]) for paint in PAINT_CLASSES]
    thin = list(LAYER_MATERIALS)
    haze = [*HAZE_RGB, HAZE_START, 1 / (1 - HAZE_START), 1 / ZENITH_SINE]
    return Look(
        base=np.ascontiguousarray(np.concatenate([ZENITH_RGB[None], MATERIAL_RGB[1:]]).T),
        class_id=MATERIAL_CLASS,
        precedence=MATERIAL_PRECEDENCE,
        top_precedence=np.float32(TOP_PRECEDENCE),
        ground_dimming=MATERIAL_DIMMING[ClassId.DRIVABLE],
        box_dimming=MATERIAL_DIMMING[BOX_MATERIAL],
        first_box=BOX_MATERIAL,
        layers=np.column_stack([MATERIAL_RGB[thin], MATERIAL_DIMMING[thin]]),
        layer_class=MATERIAL_CLASS[thin],
        paint_order=np.array(sorted(paints, key=lambda paint: paint[1])),
        light_layer=int(MATERIAL_LAYER[LIGHT_MATERIAL]),
        air=np.array(haze, np.float32),
        face_corners=np.array(FACE_CORNERS, np.float32),
        disc=LIGHT_DISC,
    )


LOOK = _look()
