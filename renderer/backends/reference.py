"""The definition of the picture: every pixel of every camera asks every triangle. Slow, obvious, on any device.

Surfaces (road, boxes) are decided at pixel centres: a ray meets a triangle if it is a non-negative mix of the
directions to its three corners; among the surfaces met the nearest wins, where a surface counts as nearer by the
precedence of its material (see `palette.TOP_PRECEDENCE`). Thin things (paint, lights) are laid over them by the area
that they cover of each pixel (`coverage.py`). Nothing is drawn that is nearer than NEAR_M or further than the draw
distance. Geometry is computed in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from renderer.backends.coverage import Coverage, cover
from renderer.backends.shading import Surfaces, before_backdrop, shade
from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.palette import MATERIAL_PRECEDENCE, NUM_LAYERS, ClassId
from renderer.scene import Scene
from renderer.triangles import Triangles, box_triangles, ground_triangles, light_triangles

NEAR_M = 0.1  # along the viewing axis
CHUNK_ELEMENTS = 1 << 22  # pixels x triangles looked at together; bounds the memory


@dataclass(frozen=True)
class _Seen:
    """Triangles that one viewer may see.

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

    def __getitem__(self, kept: Bool[Tensor, "triangles"]) -> "_Seen":
        return _Seen(self.corners[kept], self.material[kept], self.box[kept], self.two_sided[kept])

    @classmethod
    def of(cls, ground: tuple[Tensor, Tensor], things: tuple[Tensor, Tensor, Tensor]) -> "_Seen":
        """Ground (corners, material) is seen from both sides, things (corners, material, box) are not."""
        index = torch.arange(len(ground[1]) + len(things[1]), device=ground[1].device)
        return cls(
            torch.cat([ground[0], things[0]]).double(),
            torch.cat([ground[1], things[1]]),
            torch.cat([torch.full_like(ground[1], -1), things[2]]),
            index < len(ground[1]),
        )


def render_reference(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """Draw a valid scene; see `renderer.render.render`."""
    ground, boxes, lights = ground_triangles(scene.ground), box_triangles(scene), light_triangles(scene)
    centre, rotation = rig.placed(scene.world_from_rig)
    rays, device = rig.rays, scene.device
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    material = torch.zeros(shape, dtype=torch.int64, device=device)
    depth, instance = torch.zeros(shape, device=device), torch.zeros_like(material)
    share = torch.zeros((NUM_LAYERS, *shape), device=device)
    near = torch.zeros_like(share)
    for viewer in range(scene.num_viewers):
        solid, thin = _seen_by(scene, ground, boxes, lights, viewer)
        for camera in range(rig.num_cameras):
            eye, turn = centre[viewer, camera], rotation[viewer, camera]
            met = _cast(
                rays[camera].double(), _in_view(solid, eye, turn, rays[camera], scene.draw_distance_m)
            )
            height = eye[2] - scene.world_from_rig[viewer, 2, 3]
            surfaces = before_backdrop(met, rays[camera], turn, height, scene.draw_distance_m)
            coverage = _cover(
                _in_view(thin, eye, turn, rays[camera], scene.draw_distance_m),
                rig.intrinsics[camera],
                rays[camera],
                surfaces.in_front(),
                scene.draw_distance_m,
            )
            place = (viewer, camera)
            material[place], depth[place], instance[place] = (
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
    thin: _Seen,
    matrix: Float[Tensor, "3 3"],
    rays: Float[Tensor, "height width 3"],
    in_front: Float[Tensor, "height width"],
    draw_distance_m: float,
) -> Coverage:
    """Coverage of one picture."""
    return cover(
        torch.zeros_like(thin.material),
        thin.corners,
        thin.material,
        matrix.expand(len(thin.material), 3, 3),
        rays[None],
        in_front[None],
        NEAR_M,
        draw_distance_m,
    )


def _seen_by(
    scene: Scene, ground: Float[Tensor, "ground 3 3"], boxes: Triangles, lights: Triangles, viewer: int
) -> tuple[_Seen, _Seen]:
    """Surfaces and thin things of a viewer's world except its own box, world frame."""
    world = int(scene.viewer_world[viewer])
    town = int(scene.map_id[world])
    begin, end = scene.ground.map_quad_start[town : town + 2].tolist()
    corners = ground[2 * begin : 2 * end]
    paint = scene.ground.class_id[begin:end].repeat_interleave(2)
    road = paint == ClassId.DRIVABLE
    box = (boxes.material[world] >= 0) & (boxes.box != scene.viewer_box[viewer])
    lit = lights.material[world] >= 0
    return (
        _Seen.of(
            (corners[road], paint[road]),
            (boxes.corners[world][box], boxes.material[world][box], boxes.box[box]),
        ),
        _Seen.of(
            (corners[~road], paint[~road]),
            (lights.corners[world][lit], lights.material[world][lit], lights.box[lit]),
        ),
    )


def _in_view(
    seen: _Seen,
    eye: Float[Tensor, "3"],
    turn: Float[Tensor, "3 3"],
    rays: Float[Tensor, "height width 3"],
    reach_m: float,
) -> _Seen:
    """Triangles that face the eye and may meet a ray within reach, in the camera frame.

    That they may is only to save time: what they meet is decided pixel by pixel.
    """
    corners = seen.corners
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = seen.two_sided | ((normal * (eye.double() - corners[:, 0])).sum(1) > 0)
    corners = (corners - eye.double()) @ turn.double()  # transpose: camera_from_world
    middle = corners.mean(1)
    radius = (corners - middle[:, None]).norm(dim=2).amax(1)
    outermost = torch.stack([rays[0, 0], rays[0, -1], rays[-1, -1], rays[-1, 0]]).double()
    slack = (
        2 * (rays[0, 0] - rays[-1, -1]).abs().amax() / min(rays.shape[:2])
    )  # a pixel's corners, not its centre
    inward = torch.linalg.cross(outermost, outermost.roll(-1, dims=0))
    inward = inward / inward.norm(dim=1, keepdim=True)
    aside = ((corners @ inward.T) < -slack * corners.norm(dim=2).amax(1)[:, None, None]).all(1).any(1)
    near = (middle.norm(dim=1) <= reach_m + radius + 0.01) & (corners[..., 2] > NEAR_M).any(1)
    return _Seen(corners, seen.material, seen.box, seen.two_sided)[facing & near & ~aside]


def _cast(rays: Float[Tensor, "height width 3"], seen: _Seen) -> Surfaces:
    """What each ray meets first."""
    height, width, _ = rays.shape
    pixels = rays.reshape(-1, 3)
    precedence = torch.as_tensor(MATERIAL_PRECEDENCE, device=rays.device).double()
    best = torch.zeros(len(pixels), dtype=torch.float64, device=rays.device)  # precedence / depth
    material = torch.full((len(pixels),), int(ClassId.SKY), device=rays.device)
    instance = torch.full_like(material, -1)
    chunk = max(1, CHUNK_ELEMENTS // len(pixels))
    for begin in range(0, len(seen.corners), chunk):
        paint, box = (part[begin : begin + chunk] for part in (seen.material, seen.box))
        inverse = _meet(pixels, seen.corners[begin : begin + chunk])
        nearest, which = torch.where(inverse < 1 / NEAR_M, inverse * precedence[paint], 0.0).max(dim=1)
        nearer = nearest > best
        material = torch.where(nearer, paint[which], material)
        instance = torch.where(nearer, box[which], instance)
        best = torch.maximum(nearest, best)
    depth = torch.where(best > 0, precedence[material] / best.clamp(min=1e-12), torch.inf)
    return Surfaces(*(part.reshape(height, width) for part in (material, depth.float(), instance)))


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
