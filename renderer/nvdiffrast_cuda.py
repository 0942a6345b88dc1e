"""The mesh renderer for CUDA: every view's triangles in clip space, drawn by nvdiffrast in one batched call.

nvdiffrast answers one question, which triangle is in front at each pixel; depth comes from that triangle's plane and
colour from `shading.py`, as in the reference. Its pictures begin with the row at clip y = -1, so with y growing
downwards nothing needs to be flipped. nvdiffrast is an optional install with a non-commercial licence.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from renderer.camera import CameraRig
from renderer.frame import Frame
from renderer.palette import MATERIAL_PRECEDENCE, ClassId
from renderer.reference import NEAR_M
from renderer.scene import Scene
from renderer.shading import backdrop_depth, shade
from renderer.triangles import Triangles, ground_triangles, moving_triangles

MAX_SIDE_PX = 2048  # nvdiffrast's CUDA rasteriser draws no larger picture
CHUNK_ELEMENTS = (
    1 << 25
)  # views x triangles, and views x pixels x 8, looked at in one call; bounds the memory
NOWHERE = (2.0, 2.0, 2.0, 1.0)  # clip position outside every view

# (clip positions [vertices, 4] f32, triangles [n, 3] i32, ranges [views, 2] i32 on the CPU, height, width)
# -> [views, height, width] i64: index of the triangle in front, -1 for none
Rasterize = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def render_nvdiffrast(scene: Scene, rig: CameraRig) -> Frame:
    """Draw a valid scene on CUDA; see `renderer.render.render`."""
    if not torch.cuda.is_available():
        raise ValueError("backend='nvdiffrast' needs an NVIDIA GPU and torch sees none; use backend='numba'")
    if scene.device.type != "cuda":
        raise ValueError(
            f"backend='nvdiffrast' draws on CUDA and the scene lies on {scene.device}; use Scene.to('cuda')"
        )
    if max(rig.height, rig.width) > MAX_SIDE_PX:
        raise ValueError(
            f"backend='nvdiffrast' draws at most {MAX_SIDE_PX} pixels a side, not {rig.height} x {rig.width}; "
            "use CameraRig.resized or another backend"
        )
    with torch.no_grad():
        return draw_meshes(scene, rig, _rasterizer(scene.device))


@cache
def _rasterizer(device: torch.device) -> Rasterize:
    """nvdiffrast's CUDA rasteriser; compiles its plugin on first use on a machine."""
    try:
        import nvdiffrast.torch as nvdiffrast
    except ImportError as error:
        raise ValueError(
            "backend='nvdiffrast' needs the package nvdiffrast; pip install \"gigapixel[nvdiffrast]\", or use another "
            "backend"
        ) from error
    from torch.utils import cpp_extension

    # Recent torch no longer leaves a fresh extension importable by name, which nvdiffrast's loader counts on.
    folder = cpp_extension._get_build_directory("nvdiffrast_plugin", False)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        context = nvdiffrast.RasterizeCudaContext(device=device)
    except (RuntimeError, ImportError, OSError) as error:
        line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"backend='nvdiffrast' could not build its CUDA plugin ({line}); it needs nvcc, ninja and CUDA_HOME, with "
            "the CUDA headers on CPATH"
        ) from error

    def rasterize(clip: Tensor, triangles: Tensor, ranges: Tensor, height: int, width: int) -> Tensor:
        answer: Any = nvdiffrast.rasterize(
            context, clip, triangles, (height, width), ranges=ranges, grad_db=False
        )
        if isinstance(answer, Exception):  # it returns some of its errors instead of raising them
            raise answer
        return answer[0][..., 3].long() - 1

    return rasterize


def draw_meshes(scene: Scene, rig: CameraRig, rasterize: Rasterize) -> Frame:
    """Everything but the rasteriser, on any device; views are drawn in chunks of bounded memory."""
    ground, moving = ground_triangles(scene.ground), moving_triangles(scene)
    centre, rotation = rig.placed(scene.world_from_rig)
    rays = rig.rays()
    per_view = max(len(ground) + moving.material.shape[1], 8 * rig.height * rig.width)
    step = max(1, CHUNK_ELEMENTS // (per_view * rig.num_cameras))
    chunks = []
    for begin in range(0, scene.num_viewers, step):
        viewers = torch.arange(begin, min(begin + step, scene.num_viewers), device=scene.device)
        views = _Views(
            viewer=viewers.repeat_interleave(rig.num_cameras),
            camera=torch.arange(rig.num_cameras, device=scene.device).repeat(len(viewers)),
            centre=centre[viewers].flatten(0, 1),
            rotation=rotation[viewers].flatten(0, 1),
        )
        chunks.append(_draw_chunk(scene, rig, rasterize, views, ground, moving, rays))
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    return Frame(
        rgb=torch.cat([chunk.rgb for chunk in chunks] or [torch.zeros(0, dtype=torch.uint8)]).reshape(
            *shape, 3
        ),
        depth=torch.cat([chunk.depth for chunk in chunks] or [torch.zeros(0)]).reshape(shape),
        class_id=torch.cat(
            [chunk.class_id for chunk in chunks] or [torch.zeros(0, dtype=torch.uint8)]
        ).reshape(shape),
    )


@dataclass(frozen=True)
class _Views:
    viewer: Tensor  # [views] i64
    camera: Tensor  # [views] i64
    centre: Tensor  # [views, 3] world
    rotation: Tensor  # [views, 3, 3] world_from_camera


def _draw_chunk(
    scene: Scene,
    rig: CameraRig,
    rasterize: Rasterize,
    views: _Views,
    ground: Float[Tensor, "ground 3 3"],
    moving: Triangles,
    all_rays: Float[Tensor, "cameras height width 3"],
) -> Frame:
    corners, paint, ranges = _gather(scene, views, ground, moving)
    clip = _clip_positions(corners, paint, ranges, rig, views)
    triangles = torch.arange(len(corners) * 3, dtype=torch.int32, device=scene.device).reshape(-1, 3)
    front = rasterize(clip, triangles, ranges, rig.height, rig.width)
    rays = all_rays[views.camera]
    hit = front >= 0
    which = front.clamp(min=0)
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    offset = (normal * corners[:, 0]).sum(-1)
    slope = (normal[which] * rays).sum(-1)
    depth = torch.where(hit, offset[which] / torch.where(hit, slope, 1.0), torch.inf)
    hit &= depth * rays.norm(dim=-1) <= scene.draw_distance_m
    eye_height = views.centre[:, 2] - scene.world_from_rig[views.viewer, 2, 3]
    backdrop = backdrop_depth(rays, views.rotation, eye_height)
    behind = torch.where(backdrop.isfinite(), int(ClassId.GROUND), int(ClassId.SKY))
    material = torch.where(hit, paint[which], behind)
    return shade(material, torch.where(hit, depth, backdrop), rays, views.rotation, scene.draw_distance_m)


def _gather(
    scene: Scene, views: _Views, ground: Float[Tensor, "ground 3 3"], moving: Triangles
) -> tuple[Float[Tensor, "triangles 3 3"], Int[Tensor, "triangles"], Int[Tensor, "views 2"]]:
    """All triangles that any of the views may see, view by view.

    Gives corners in the frame of the camera that sees them, materials, and (first, number) of each view, on the CPU.
    Every view begins with one triangle of zero size, so that none is without.
    """
    world = scene.viewer_world[views.viewer]
    town = scene.map_id[world]
    quad_start = scene.ground.map_quad_start
    quad = torch.arange(len(ground) // 2, device=scene.device)
    mine = (quad >= quad_start[town][:, None]) & (quad < quad_start[town + 1][:, None])
    sphere = scene.ground.sphere
    mine &= _may_see(
        views, sphere[:, :3].expand(len(world), -1, -1), sphere[:, 3].expand(len(world), -1), scene
    )
    pieces = [_pick(mine.repeat_interleave(2, dim=1), ground, None, views)]
    paints = [scene.ground.class_id.repeat_interleave(2)[pieces[0][1]]]
    own = scene.viewer_box[views.viewer][:, None]
    there = (moving.material[world] >= 0) & ((moving.box != own) | (moving.box < 0))
    middle = moving.corners.mean(2)
    radius = (moving.corners - middle[:, :, None]).norm(dim=3).amax(2) + 1e-3
    there &= _may_see(views, middle[world], radius[world], scene)
    normal = torch.linalg.cross(
        moving.corners[:, :, 1] - moving.corners[:, :, 0], moving.corners[:, :, 2] - moving.corners[:, :, 0]
    )
    level = (normal * moving.corners[:, :, 0]).sum(-1)
    there &= torch.einsum("vti,vi->vt", normal[world], views.centre) > level[world]
    pieces.append(_pick(there, moving.corners, world, views))
    paints.append(moving.material[world][there])
    every = torch.arange(len(world), device=scene.device)
    corners = torch.cat([torch.zeros(len(world), 3, 3, device=scene.device), pieces[0][2], pieces[1][2]])
    view = torch.cat([every, pieces[0][0], pieces[1][0]])
    order = torch.argsort(view, stable=True)
    count = torch.bincount(view, minlength=len(world)).cpu()
    ranges = torch.stack([count.cumsum(0) - count, count], dim=1).to(torch.int32)
    paint = torch.cat([torch.zeros_like(every), *paints])
    return corners[order], paint[order], ranges


def _may_see(
    views: _Views,
    middle: Float[Tensor, "views things 3"],
    radius: Float[Tensor, "views things"],
    scene: Scene,
) -> Bool[Tensor, "views things"]:
    """Spheres that are not entirely behind the camera or beyond the draw distance."""
    offset = middle - views.centre[:, None]
    ahead = (offset * views.rotation[:, None, :, 2]).sum(-1)
    return (ahead + radius >= NEAR_M) & (offset.norm(dim=-1) - radius <= scene.draw_distance_m)


def _pick(
    mask: Bool[Tensor, "views triangles"],
    corners: Float[Tensor, "*worlds triangles 3 3"],
    world: Int[Tensor, "views"] | None,
    views: _Views,
) -> tuple[Int[Tensor, "picked"], Int[Tensor, "picked"], Float[Tensor, "picked 3 3"]]:
    """View, index and camera-frame corners of every true entry of mask [views, triangles]."""
    view, index = mask.nonzero().unbind(1)
    chosen = corners[index] if world is None else corners[world[view], index]
    return view, index, (chosen - views.centre[view][:, None]) @ views.rotation[view]


def _clip_positions(
    corners: Float[Tensor, "triangles 3 3"],
    paint: Int[Tensor, "triangles"],
    ranges: Int[Tensor, "views 2"],
    rig: CameraRig,
    views: _Views,
) -> Float[Tensor, "vertices 4"]:
    """Clip positions whose z/w orders surfaces as the reference does: 1 - 2 * near * precedence / depth."""
    count = ranges[:, 1].long().to(corners.device)
    camera = views.camera.repeat_interleave(count)
    pixels = corners @ rig.intrinsics[camera].transpose(1, 2)  # (x * depth, y * depth, depth)
    depth = corners[..., 2]
    precedence = torch.as_tensor(MATERIAL_PRECEDENCE, device=corners.device)
    near = NEAR_M / precedence.max()
    clip = torch.stack(
        [
            2 * pixels[..., 0] / rig.width - depth,
            2 * pixels[..., 1] / rig.height - depth,
            depth - 2 * near * precedence[paint][:, None],
            depth,
        ],
        dim=-1,
    )
    first = ranges[:, 0].long().to(corners.device)
    clip[first] = torch.tensor(NOWHERE, device=corners.device)
    return clip.reshape(-1, 4).contiguous()
