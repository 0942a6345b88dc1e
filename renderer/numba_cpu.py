"""The fast renderer for CPUs: tensors become numpy arrays without a copy, and `numba_kernels` draws into the frame."""

from typing import Any, NamedTuple

import numpy as np
import torch

from renderer.camera import CameraRig
from renderer.frame import Frame
from renderer.numba_kernels import draw_views
from renderer.palette import (
    BOX_MATERIAL,
    HAZE_RGB,
    HAZE_START,
    LIGHT_MATERIAL,
    MATERIAL_CLASS,
    MATERIAL_DIMMING,
    MATERIAL_PRECEDENCE,
    MATERIAL_RGB,
    ZENITH_RGB,
    ZENITH_SINE,
)
from renderer.reference import NEAR_M
from renderer.scene import LIGHT_RADIUS_M, Scene
from renderer.triangles import FACE_CORNERS, LIGHT_SIDES


class Eyes(NamedTuple):
    """Cameras of all viewers: where they are and how they see."""

    centre: Any  # [viewers, cameras, 3] world
    rotation: Any  # [viewers, cameras, 3, 3] world_from_camera
    height: Any  # [viewers, cameras] above the viewer's ground, m
    lens: Any  # [cameras, 5] fx, fy, cx, cy, skew in px
    planes: Any  # [cameras, 4, 3] inward unit normals of the four sides of the view, camera frame
    rays: Any  # [cameras, height, width, 3] scaled to z = 1
    length: Any  # [cameras, height, width] of those rays, in draw distances
    near: Any  # [] m
    reach: Any  # [] draw distance, m


class Ground(NamedTuple):
    """`GroundLibrary` as numpy arrays."""

    quads: Any
    class_id: Any
    sphere: Any
    flat: Any
    cell_start: Any
    cell_sphere: Any
    map_cell_start: Any


class Things(NamedTuple):
    """Boxes, lights and who looks, as in `Scene`."""

    box_position: Any
    box_size: Any
    box_yaw: Any
    box_class: Any
    light_position: Any
    light_yaw: Any
    light_state: Any
    map_id: Any
    viewer_world: Any
    viewer_box: Any


class Look(NamedTuple):
    """Tables of the palette."""

    rgb: Any  # [materials, 3]
    dimming: Any  # [materials]
    class_id: Any  # [materials] u8
    precedence: Any  # [materials]
    face_corners: Any  # [6, 4, 3] signs
    disc: Any  # [sides, 2] right, up, m
    haze_rgb: Any  # [3]
    zenith_rgb: Any  # [3]
    air: Any  # [2] haze start, zenith sine
    first_material: Any  # [2] of lights, of boxes


def render_numba(scene: Scene, rig: CameraRig) -> Frame:
    """Draw a valid scene on the CPU; see `renderer.render.render`."""
    if scene.device.type != "cpu":
        raise ValueError(
            f"backend='numba' draws on the CPU and the scene lies on {scene.device}; use Scene.to('cpu')"
        )
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    rgb = torch.empty((*shape, 3), dtype=torch.uint8)
    depth = torch.empty(shape, dtype=torch.float32)
    class_id = torch.empty(shape, dtype=torch.uint8)
    draw_views(
        _eyes(scene, rig), _ground(scene), _things(scene), LOOK, rgb.numpy(), depth.numpy(), class_id.numpy()
    )
    return Frame(rgb, depth, class_id)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _eyes(scene: Scene, rig: CameraRig) -> Eyes:
    centre, rotation = rig.placed(scene.world_from_rig)
    matrix = rig.intrinsics
    lens = torch.stack(
        [matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2], matrix[:, 0, 1]], dim=1
    )
    corners = torch.tensor([[0, 0, 1], [rig.width, 0, 1], [rig.width, rig.height, 1], [0, rig.height, 1]])
    edges = torch.einsum("cij,kj->cki", torch.linalg.inv(matrix.double()), corners.double())
    planes = torch.linalg.cross(edges, edges.roll(-1, dims=1))  # top, right, bottom, left; inward
    rays = rig.rays()
    return Eyes(
        centre=_array(centre),
        rotation=_array(rotation),
        height=_array(centre[..., 2] - scene.world_from_rig[:, None, 2, 3]),
        lens=_array(lens),
        planes=_array((planes / planes.norm(dim=2, keepdim=True)).float()),
        rays=_array(rays),
        length=_array(rays.norm(dim=-1) / scene.draw_distance_m),
        near=np.float32(NEAR_M),
        reach=np.float32(scene.draw_distance_m),
    )


def _ground(scene: Scene) -> Ground:
    return Ground(*(_array(getattr(scene.ground, field)) for field in Ground._fields))


def _things(scene: Scene) -> Things:
    return Things(*(_array(getattr(scene, field)) for field in Things._fields))


def _look() -> Look:
    angle = 2 * np.pi * (np.arange(LIGHT_SIDES) + 0.5) / LIGHT_SIDES
    return Look(
        rgb=MATERIAL_RGB,
        dimming=MATERIAL_DIMMING,
        class_id=MATERIAL_CLASS,
        precedence=MATERIAL_PRECEDENCE,
        face_corners=np.array(FACE_CORNERS, np.float32),
        disc=(LIGHT_RADIUS_M * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32),
        haze_rgb=HAZE_RGB,
        zenith_rgb=ZENITH_RGB,
        air=np.array([HAZE_START, ZENITH_SINE], np.float32),
        first_material=np.array([LIGHT_MATERIAL, BOX_MATERIAL]),
    )


LOOK = _look()
