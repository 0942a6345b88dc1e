"""A variant of `gigapixel bench renderer`: the same geometry drawn by OpenGL, on a CPU by Mesa's llvmpipe.

It does what any OpenGL renderer does: flat colours and a depth test at pixel centres, without coverage anti-aliasing,
fog and sky, so it does less work than our renderer. moderngl is an optional package and not a dependency.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from renderer import CameraRig, ClassId, Scene
from renderer.backends.reference import NEAR_PLANE_M
from renderer.palette import MATERIAL_RGB
from renderer.triangles import box_triangles, ground_triangles

VERTEX = """
#version 330
uniform mat4 clip_from_world;
in vec3 position;
in vec3 colour;
out vec3 shade;
void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    shade = colour;
}
"""
FRAGMENT = """
#version 330
in vec3 shade;
out vec4 pixel;
void main() {
    pixel = vec4(shade, 1.0);
}
"""


class OpenGLViews:
    """All views of a scene on the CPU. Vertices are uploaded once; raises ValueError where moderngl or EGL is missing.

    Attributes:
        images: [viewers, cameras, height, width, 3] u8, the result of the last `draw`.
    """

    def __init__(self, scene: Scene, rig: CameraRig) -> None:
        context = _context()
        self._program = context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        layout = ("3f 3f", "position", "colour")
        self._worlds = [
            context.vertex_array(self._program, [(context.buffer(vertices.tobytes()), *layout)])
            for vertices in (_vertices(scene, world) for world in range(len(scene.map_id)))
        ]
        self._frame = context.simple_framebuffer((rig.width, rig.height), 3)
        self._frame.use()
        context.enable(context.DEPTH_TEST)
        self._matrices = clip_from_world(scene, rig).numpy()
        self._viewer_worlds = scene.viewer_world.tolist()
        self.images = np.empty(
            (len(self._viewer_worlds), rig.num_cameras, rig.height, rig.width, 3), np.uint8
        )

    def draw(self) -> int:
        """Draw every view; returns their number."""
        for world, matrices, images in zip(self._viewer_worlds, self._matrices, self.images):
            for matrix, image in zip(matrices, images):
                self._frame.clear(0.66, 0.73, 0.79)
                self._program["clip_from_world"].write(matrix.T.tobytes())
                self._worlds[world].render()
                self._frame.read_into(image, components=3, alignment=1)
        return self.images.shape[0] * self.images.shape[1]


def _context() -> Any:
    try:
        moderngl = importlib.import_module("moderngl")
    except ImportError as error:
        raise ValueError("opengl=True needs the package moderngl: pip install moderngl") from error
    try:
        return moderngl.create_context(standalone=True, backend="egl")
    except Exception as error:  # moderngl raises bare exceptions
        raise ValueError(f"opengl=True needs EGL and an OpenGL driver such as Mesa's ({error})") from error


def _vertices(scene: Scene, world: int) -> np.ndarray:
    """Position (m) and colour (0 to 1) of the triangles of a world, [vertices, 6] f32.

    Markings lie 2 cm above the road. The box of a viewer is not hidden from its own cameras, because that would need a
    draw call per viewer.
    """
    town = int(scene.map_id[world])
    start, end = scene.ground.map_quad_start[town : town + 2].tolist()
    paint = scene.ground.class_id[start:end].repeat_interleave(2)
    ground = ground_triangles(scene.ground)[2 * start : 2 * end].clone()
    ground[..., 2] += 0.02 * (paint != ClassId.DRIVABLE)[:, None]
    boxes = box_triangles(scene)
    there = boxes.material[world] >= 0
    corners = torch.cat([ground, boxes.corners[world][there]])
    material = torch.cat([paint, boxes.material[world][there]])
    colour = torch.as_tensor(MATERIAL_RGB)[material] / 255
    return torch.cat([corners, colour[:, None].expand(-1, 3, -1)], dim=-1).numpy().astype(np.float32)


def clip_from_world(scene: Scene, rig: CameraRig) -> torch.Tensor:
    """[viewers, cameras, 4, 4] f32; rows of an image grow downwards, as in `Frame`, since OpenGL's first row is
    clip y = -1."""
    far, near = scene.draw_distance_m, NEAR_PLANE_M
    matrix = rig.intrinsics
    projection = torch.zeros(rig.num_cameras, 4, 4)
    projection[:, 0, :3] = 2 * matrix[:, 0] / rig.width
    projection[:, 1, :3] = 2 * matrix[:, 1] / rig.height
    projection[:, 0, 2] -= 1
    projection[:, 1, 2] -= 1
    projection[:, 2, 2], projection[:, 2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
    projection[:, 3, 2] = 1
    world_from_camera = scene.world_from_rig[:, None] @ rig.rig_from_camera[None]
    return projection @ torch.linalg.inv(world_from_camera)
