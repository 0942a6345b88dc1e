"""The reference renderer, which defines the image: every pixel is tested against every triangle. Slow, on any device.

Surfaces (road, boxes) are sampled at pixel centres: a ray hits a triangle if it is a non-negative combination of the
directions to its three corners. The nearest hit is visible, where 1/depth is multiplied by the depth bias of the
material (see `palette.DEPTH_BIAS`). Decals (paint, lights) are composited over surfaces by pixel coverage
(`coverage.py`). Nothing nearer than NEAR_PLANE_M or further than the draw distance is drawn. Geometry is in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from renderer.backends.coverage import Coverage, cover
from renderer.backends.shading import Surfaces, shade, with_backdrop
from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.palette import MATERIAL_DEPTH_BIAS, NUM_LAYERS, ClassId
from renderer.scene import Scene
from renderer.triangles import Triangles, box_triangles, ground_triangles, light_triangles

NEAR_PLANE_M = 0.1  # depth, along the viewing axis
PAIRS_PER_CHUNK = 1 << 22  # pixels x triangles tested together; bounds the memory


@dataclass(frozen=True)
class _Candidates:
    """Triangles that one viewer or one of its cameras may see.

    Attributes:
        corners: [triangles, 3, 3] f64 m, world or camera frame.
        material: [triangles] i64.
        box: [triangles] i64, -1 for what is no box.
        two_sided: [triangles] bool.
    """

    corners: Tensor
    material: Tensor
    box: Tensor
    two_sided: Tensor

    def __getitem__(self, kept: Bool[Tensor, "triangles"]) -> "_Candidates":
        return _Candidates(self.corners[kept], self.material[kept], self.box[kept], self.two_sided[kept])

    @classmethod
    def of(cls, ground: tuple[Tensor, Tensor], objects: tuple[Tensor, Tensor, Tensor]) -> "_Candidates":
        """Triangles of the ground (corners, material; two-sided) and of objects (corners, material, box; one-sided)."""
        index = torch.arange(len(ground[1]) + len(objects[1]), device=ground[1].device)
        return cls(
            torch.cat([ground[0], objects[0]]).double(),
            torch.cat([ground[1], objects[1]]),
            torch.cat([torch.full_like(ground[1], -1), objects[2]]),
            index < len(ground[1]),
        )


def render_reference(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """As `renderer.render.render`, for a validated scene."""
    ground, boxes, lights = ground_triangles(scene.ground), box_triangles(scene), light_triangles(scene)
    centre, rotation = rig.camera_poses(scene.world_from_rig)
    rays, device = rig.rays, scene.device
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    material = torch.zeros(shape, dtype=torch.int64, device=device)
    depth, instance = torch.zeros(shape, device=device), torch.zeros_like(material)
    share = torch.zeros((NUM_LAYERS, *shape), device=device)
    near = torch.zeros_like(share)
    for viewer in range(scene.num_viewers):
        solid, decals = _triangles_of_viewer(scene, ground, boxes, lights, viewer)
        for camera in range(rig.num_cameras):
            pose = (centre[viewer, camera], rotation[viewer, camera])
            hit = _cast(rays[camera].double(), _in_view(solid, *pose, rays[camera], scene.draw_distance_m))
            camera_height = pose[0][2] - scene.world_from_rig[viewer, 2, 3]
            surfaces = with_backdrop(hit, rays[camera], pose[1], camera_height, scene.draw_distance_m)
            coverage = _cover(
                _in_view(decals, *pose, rays[camera], scene.draw_distance_m),
                rig.intrinsics[camera],
                rays[camera],
                surfaces.in_front(),
                scene.draw_distance_m,
            )
            view = (viewer, camera)
            material[view], depth[view], instance[view] = (
                surfaces.material,
                surfaces.depth,
                surfaces.instance,
            )
            share[:, viewer, camera], near[:, viewer, camera] = coverage.share[:, 0], coverage.near[:, 0]
    return shade(
        Surfaces(material, depth, instance),
        Coverage(share, near),
        rays[None].expand(*shape, 3),
        rotation,
        scene.draw_distance_m,
        channels,
    )


def _cover(
    decals: _Candidates,
    matrix: Float[Tensor, "3 3"],
    rays: Float[Tensor, "height width 3"],
    in_front: Float[Tensor, "height width"],
    draw_distance_m: float,
) -> Coverage:
    """Coverage of one view by decals, [layers, 1, height, width]."""
    return cover(
        torch.zeros_like(decals.material),
        decals.corners,
        decals.material,
        matrix.expand(len(decals.material), 3, 3),
        rays[None],
        in_front[None],
        NEAR_PLANE_M,
        draw_distance_m,
    )


def _triangles_of_viewer(
    scene: Scene, ground: Float[Tensor, "ground 3 3"], boxes: Triangles, lights: Triangles, viewer: int
) -> tuple[_Candidates, _Candidates]:
    """Surfaces and decals of a viewer's world without the viewer's own box, world frame."""
    world = int(scene.viewer_world[viewer])
    map_index = int(scene.map_id[world])
    begin, end = scene.ground.map_quad_start[map_index : map_index + 2].tolist()
    corners = ground[2 * begin : 2 * end]
    paint = scene.ground.class_id[begin:end].repeat_interleave(2)
    road = paint == ClassId.DRIVABLE
    box = (boxes.material[world] >= 0) & (boxes.box != scene.viewer_box[viewer])
    lit = lights.material[world] >= 0
    return (
        _Candidates.of(
            (corners[road], paint[road]),
            (boxes.corners[world][box], boxes.material[world][box], boxes.box[box]),
        ),
        _Candidates.of(
            (corners[~road], paint[~road]),
            (lights.corners[world][lit], lights.material[world][lit], lights.box[lit]),
        ),
    )


def _in_view(
    triangles: _Candidates,
    centre: Float[Tensor, "3"],
    rotation: Float[Tensor, "3 3"],
    rays: Float[Tensor, "height width 3"],
    reach_m: float,
) -> _Candidates:
    """Triangles that face the camera and may be hit by its rays within `reach_m`, in the camera frame.

    centre: m, world. rotation: world_from_camera. The test is conservative; pixels decide what is hit.
    """
    corners = triangles.corners
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = triangles.two_sided | ((normal * (centre.double() - corners[:, 0])).sum(1) > 0)
    corners = (corners - centre.double()) @ rotation.double()  # transpose: camera_from_world
    middle = corners.mean(1)
    radius = (corners - middle[:, None]).norm(dim=2).amax(1)
    outermost = torch.stack([rays[0, 0], rays[0, -1], rays[-1, -1], rays[-1, 0]]).double()
    slack = (
        2 * (rays[0, 0] - rays[-1, -1]).abs().amax() / min(rays.shape[:2])
    )  # up to the corners of the outermost pixels
    normals = torch.linalg.cross(outermost, outermost.roll(-1, dims=0))
    normals = normals / normals.norm(dim=1, keepdim=True)
    beside = ((corners @ normals.T) < -slack * corners.norm(dim=2).amax(1)[:, None, None]).all(1).any(1)
    near = (middle.norm(dim=1) <= reach_m + radius + 0.01) & (corners[..., 2] > NEAR_PLANE_M).any(1)
    return _Candidates(corners, triangles.material, triangles.box, triangles.two_sided)[
        facing & near & ~beside
    ]


def _cast(rays: Float[Tensor, "height width 3"], triangles: _Candidates) -> Surfaces:
    """The nearest surface beyond the near plane that each ray hits, at any distance."""
    height, width, _ = rays.shape
    pixels = rays.reshape(-1, 3)
    bias = torch.as_tensor(MATERIAL_DEPTH_BIAS, device=rays.device).double()
    best = torch.zeros(len(pixels), dtype=torch.float64, device=rays.device)  # bias / depth
    material = torch.full((len(pixels),), int(ClassId.SKY), device=rays.device)
    instance = torch.full_like(material, -1)
    chunk = max(1, PAIRS_PER_CHUNK // len(pixels))
    for begin in range(0, len(triangles.corners), chunk):
        paint, box = (part[begin : begin + chunk] for part in (triangles.material, triangles.box))
        inverse = _intersect(pixels, triangles.corners[begin : begin + chunk])
        nearest, which = torch.where(inverse < 1 / NEAR_PLANE_M, inverse * bias[paint], 0.0).max(dim=1)
        nearer = nearest > best
        material = torch.where(nearer, paint[which], material)
        instance = torch.where(nearer, box[which], instance)
        best = torch.maximum(nearest, best)
    depth = torch.where(best > 0, bias[material] / best.clamp(min=1e-12), torch.inf)
    return Surfaces(*(part.reshape(height, width) for part in (material, depth.float(), instance)))


def _intersect(
    pixels: Float[Tensor, "pixels 3"], corners: Float[Tensor, "triangles 3 3"]
) -> Float[Tensor, "pixels triangles"]:
    """1/depth at which rays (z = 1) hit triangles (camera frame, m); 0 where they miss.

    A ray r = a * first + b * second + c * third reaches the triangle's plane at depth 1 / (a + b + c), and hits the
    triangle if none of the three coefficients is negative (from Cramer's rule).
    """
    first, second, third = corners.unbind(1)
    volume = (first * torch.linalg.cross(second, third)).sum(1, keepdim=True)
    a = pixels @ (torch.linalg.cross(second, third) / volume).T
    b = pixels @ (torch.linalg.cross(third, first) / volume).T
    c = pixels @ (torch.linalg.cross(first, second) / volume).T
    inside = (a >= 0) & (b >= 0) & (c >= 0)  # false for triangles seen edge-on, whose volume is 0
    return torch.where(inside, a + b + c, 0.0)
