"""The definition of the picture: every pixel of every camera asks every triangle. Slow, obvious, on any device.

A ray meets a triangle if it is a non-negative mix of the directions to its three corners. Among the surfaces met, the
nearest wins, where a surface counts as nearer by the precedence of its material (see `palette.LAYER_PRECEDENCE`).
Surfaces nearer than NEAR_M or further than the draw distance do not exist. Geometry is computed in float64.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from renderer.camera import CameraRig
from renderer.frame import Frame
from renderer.palette import MATERIAL_PRECEDENCE, ClassId
from renderer.scene import Scene
from renderer.shading import backdrop_depth, shade
from renderer.triangles import Triangles, ground_triangles, moving_triangles

NEAR_M = 0.1  # along the viewing axis
CHUNK_ELEMENTS = 1 << 22  # pixels x triangles looked at together; bounds the memory


def render_reference(scene: Scene, rig: CameraRig) -> Frame:
    """Draw a valid scene; see `renderer.render.render`."""
    ground, moving = ground_triangles(scene.ground), moving_triangles(scene)
    centre, rotation = rig.placed(scene.world_from_rig)
    rays = rig.rays()
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    material = torch.zeros(shape, dtype=torch.int64, device=scene.device)
    depth = torch.full(shape, torch.inf, device=scene.device)
    for viewer in range(scene.num_viewers):
        corners, surface, two_sided = _seen_by(scene, ground, moving, viewer)
        for camera in range(rig.num_cameras):
            eye = centre[viewer, camera].double()
            seen = (corners - eye) @ rotation[viewer, camera].double()  # transpose: camera_from_world
            visible = _facing(corners, two_sided, eye) & _in_view(
                seen, rays[camera].double(), scene.draw_distance_m
            )
            material[viewer, camera], depth[viewer, camera] = _cast(
                rays[camera].double(), seen[visible], surface[visible], scene.draw_distance_m
            )
    eye_height = centre[..., 2] - scene.world_from_rig[:, None, 2, 3]
    backdrop = backdrop_depth(rays[None].expand(*shape, 3), rotation, eye_height)
    bare = (material == ClassId.SKY) & backdrop.isfinite()
    material = torch.where(bare, int(ClassId.GROUND), material)
    depth = torch.where(bare, backdrop, depth)
    return shade(material, depth, rays[None].expand(*shape, 3), rotation, scene.draw_distance_m)


def _seen_by(
    scene: Scene, ground: Float[Tensor, "ground 3 3"], moving: Triangles, viewer: int
) -> tuple[Float[Tensor, "triangles 3 3"], Int[Tensor, "triangles"], Bool[Tensor, "triangles"]]:
    """Corners, material and two-sidedness of everything in a viewer's world except its own box."""
    world = int(scene.viewer_world[viewer])
    town = int(scene.map_id[world])
    begin, end = scene.ground.map_quad_start[town : town + 2].tolist()
    kept = (moving.material[world] >= 0) & ((moving.box != scene.viewer_box[viewer]) | (moving.box < 0))
    corners = torch.cat([ground[2 * begin : 2 * end], moving.corners[world][kept]]).double()
    paint = scene.ground.class_id[begin:end].repeat_interleave(2)
    surface = torch.cat([paint, moving.material[world][kept]])
    return corners, surface, torch.arange(len(corners), device=scene.device) < len(paint)


def _facing(
    corners: Float[Tensor, "triangles 3 3"], two_sided: Bool[Tensor, "triangles"], eye: Float[Tensor, "3"]
) -> Bool[Tensor, "triangles"]:
    """Whether a triangle is seen from the side from which the corners run counter-clockwise."""
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return two_sided | ((normal * (eye - corners[:, 0])).sum(1) > 0)


def _in_view(
    corners: Float[Tensor, "triangles 3 3"], rays: Float[Tensor, "height width 3"], reach_m: float
) -> Bool[Tensor, "triangles"]:
    """Whether a triangle (camera frame) may meet a ray within reach. Only saves time: the test per pixel decides."""
    middle = corners.mean(1)
    radius = (corners - middle[:, None]).norm(dim=2).amax(1)
    outermost = torch.stack([rays[0, 0], rays[0, -1], rays[-1, -1], rays[-1, 0]])
    inward = torch.linalg.cross(outermost, outermost.roll(-1, dims=0))
    aside = ((corners @ inward.T) < -1e-6).all(1).any(1)  # every corner beyond the same side of the picture
    return (middle.norm(dim=1) <= reach_m + radius + 0.01) & (corners[..., 2] > NEAR_M).any(1) & ~aside


def _cast(
    rays: Float[Tensor, "height width 3"],
    corners: Float[Tensor, "triangles 3 3"],
    surface: Int[Tensor, "triangles"],
    draw_distance_m: float,
) -> tuple[Int[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Material and depth per pixel; SKY and inf where nothing is met. Corners in the camera frame."""
    height, width, _ = rays.shape
    pixels = rays.reshape(-1, 3)
    least = pixels.norm(dim=1) / draw_distance_m  # 1/depth at which this pixel's ray leaves the draw distance
    precedence = torch.as_tensor(MATERIAL_PRECEDENCE, device=rays.device).double()
    best = torch.zeros(len(pixels), dtype=torch.float64, device=rays.device)  # precedence / depth
    material = torch.full((len(pixels),), int(ClassId.SKY), device=rays.device)
    chunk = max(1, CHUNK_ELEMENTS // len(pixels))
    for begin in range(0, len(corners), chunk):
        some, paint = corners[begin : begin + chunk], surface[begin : begin + chunk]
        inverse = _meet(pixels, some)
        exists = (inverse < 1 / NEAR_M) & (inverse >= least[:, None])
        nearest, which = torch.where(exists, inverse * precedence[paint], 0.0).max(dim=1)
        material = torch.where(nearest > best, paint[which], material)
        best = torch.maximum(nearest, best)
    depth = torch.where(best > 0, precedence[material] / best.clamp(min=1e-12), torch.inf)
    return material.reshape(height, width), depth.reshape(height, width).float()


def _meet(
    pixels: Float[Tensor, "pixels 3"], corners: Float[Tensor, "triangles 3 3"]
) -> Float[Tensor, "pixels triangles"]:
    """1/depth at which rays meet triangles; 0 where they do not.

    A ray r = a * first + b * second + c * third reaches the triangle's plane at depth 1 / (a + b + c), and meets the
    triangle if none of the three is negative (Cramer's rule gives them).
    """
    first, second, third = corners.unbind(1)
    volume = (first * torch.linalg.cross(second, third)).sum(1, keepdim=True)
    a = pixels @ (torch.linalg.cross(second, third) / volume).T
    b = pixels @ (torch.linalg.cross(third, first) / volume).T
    c = pixels @ (torch.linalg.cross(first, second) / volume).T
    inside = (a >= 0) & (b >= 0) & (c >= 0)  # false for a triangle seen edge-on, whose volume is 0
    return torch.where(inside, a + b + c, 0.0)
