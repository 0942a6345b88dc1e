"""A scene as triangles in the world frame, for the reference and the nvdiffrast backend."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderer.ground import GroundLibrary
from renderer.palette import BOX_MATERIAL, LIGHT_MATERIAL, NUM_FACES
from renderer.scene import LIGHT_RADIUS_M, Scene

LIGHT_SIDES = 12  # a light is drawn as a regular polygon of so many sides
QUAD_TRIANGLES = ((0, 1, 2), (0, 2, 3))  # corners of the triangles of a quad
_ANGLES = 2 * np.pi * (np.arange(LIGHT_SIDES) + 0.5) / LIGHT_SIDES
# [sides, 2] right and up, m, for a driver who faces the light; counter-clockwise.
LIGHT_DISC = (LIGHT_RADIUS_M * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)).astype(np.float32)
# Corners of each face, counter-clockwise seen from outside, as signs of (forward, left, up); rows ordered as `Face`.
FACE_CORNERS = (
    ((1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)),
    ((-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)),
    ((1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)),
    ((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)),
    ((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    ((-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)),
)


@dataclass(frozen=True)
class Triangles:
    """Triangles of boxes or lights, padded to one number per world.

    One-sided: visible from the side where their corners run counter-clockwise.

    Attributes:
        corners: [worlds, triangles, 3, 3] f32 world metres; zeros where absent.
        material: [worlds, triangles] i64; -1 where absent.
        box: [triangles] i64, index of the box that a triangle belongs to; -1 for lights.
    """

    corners: Tensor
    material: Tensor
    box: Tensor


def box_triangles(scene: Scene) -> Triangles:
    """The 12 triangles of every box, face by face."""
    worlds, boxes = scene.box_class.shape
    corners = _cut(_box_faces(scene)).reshape(worlds, boxes * 12, 3, 3)
    face = torch.arange(NUM_FACES, device=scene.device).repeat_interleave(2)
    material = BOX_MATERIAL + NUM_FACES * scene.box_class[..., None] + face
    material = torch.where(scene.box_class[..., None] >= 0, material, -1).reshape(worlds, boxes * 12)
    owner = torch.arange(boxes, device=scene.device).repeat_interleave(12)
    return Triangles(_zero_absent(corners, material), material, owner)


def light_triangles(scene: Scene) -> Triangles:
    """The LIGHT_SIDES - 2 triangles of every light."""
    worlds, lights = scene.light_state.shape
    fan = torch.tensor([(0, k, k + 1) for k in range(1, LIGHT_SIDES - 1)], device=scene.device)
    corners = _light_discs(scene)[:, :, fan].reshape(worlds, lights * len(fan), 3, 3)
    material = torch.where(scene.light_state > 0, LIGHT_MATERIAL + scene.light_state - 1, -1)
    material = material.repeat_interleave(len(fan), dim=1)
    no_box = torch.full((lights * len(fan),), -1, device=scene.device)
    return Triangles(_zero_absent(corners, material), material, no_box)


def _zero_absent(
    corners: Float[Tensor, "worlds triangles 3 3"], material: Int[Tensor, "worlds triangles"]
) -> Float[Tensor, "worlds triangles 3 3"]:
    """`corners`, zero where `material` is -1."""
    return torch.where(material[..., None, None] >= 0, corners, torch.zeros_like(corners))


def ground_triangles(ground: GroundLibrary) -> Float[Tensor, "triangles 3 3"]:
    """The triangles of every quad, m, world; triangle t belongs to quad t // 2."""
    return _cut(ground.quads).reshape(-1, 3, 3)


def _cut(quads: Float[Tensor, "*lead 4 3"]) -> Float[Tensor, "*lead 2 3 3"]:
    """The two triangles of every quad."""
    return quads[..., torch.tensor(QUAD_TRIANGLES, device=quads.device), :]


def _box_faces(scene: Scene) -> Float[Tensor, "worlds boxes 6 4 3"]:
    """Corners of the faces of all boxes, m, world; see `FACE_CORNERS`."""
    cos, sin, zero = scene.box_yaw.cos(), scene.box_yaw.sin(), torch.zeros_like(scene.box_yaw)
    axes = torch.stack(  # [worlds, boxes, axis, xyz]: forward, left, up
        [
            torch.stack([cos, sin, zero], dim=-1),
            torch.stack([-sin, cos, zero], dim=-1),
            torch.stack([zero, zero, zero + 1], dim=-1),
        ],
        dim=-2,
    )
    half = scene.box_size / 2
    centre = scene.box_position + half * torch.tensor([0.0, 0.0, 1.0], device=scene.device)
    signs = torch.tensor(FACE_CORNERS, dtype=torch.float32, device=scene.device)
    reach = torch.einsum("fka,nba,nbai->nbfki", signs, half, axes)
    return centre[:, :, None, None] + reach


def _light_discs(scene: Scene) -> Float[Tensor, "worlds lights sides 3"]:
    """Corners of the discs of all lights, m, world; see `LIGHT_DISC`."""
    right, up = torch.as_tensor(LIGHT_DISC, device=scene.device).unbind(1)
    sin, cos = scene.light_yaw.sin()[..., None], scene.light_yaw.cos()[..., None]
    offset = torch.stack([sin * right, -cos * right, up.expand(*scene.light_yaw.shape, -1)], dim=-1)
    return scene.light_position[:, :, None] + offset
