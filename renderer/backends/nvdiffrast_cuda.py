"""The mesh renderer for CUDA: every view's triangles in clip space, drawn by nvdiffrast in one batched call.

nvdiffrast answers one question, which surface is in front at each pixel's centre; depth comes from that triangle's
plane, what thin things cover from `coverage.py` and colour from `shading.py`, as in the reference. Its pictures begin
with the row at clip y = -1, so with y growing downwards nothing needs to be flipped. nvdiffrast is an optional
install with a non-commercial licence.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from renderer.backends.coverage import cover
from renderer.backends.reference import NEAR_M
from renderer.backends.shading import Surfaces, before_backdrop, shade
from renderer.camera import CameraRig
from renderer.frame import CHANNEL_TYPES, CHANNELS, Frame
from renderer.palette import MATERIAL_PRECEDENCE, NUM_LAYERS, ClassId
from renderer.scene import Scene
from renderer.triangles import Triangles, box_triangles, ground_triangles, light_triangles

MAX_SIDE_PX = 2048  # nvdiffrast's CUDA rasteriser draws no larger picture
CHUNK_ELEMENTS = (
    1 << 25
)  # views x triangles, and views x pixels x 8, looked at in one call; bounds the memory
NOWHERE = (2.0, 2.0, 2.0, 1.0)  # clip position outside every view

# (clip positions [vertices, 4] f32, triangles [n, 3] i32, ranges [views, 2] i32 on the CPU, height, width)
# -> [views, height, width] i64: index of the triangle in front, -1 for none
Rasterize = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def render_nvdiffrast(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
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
        return draw_meshes(scene, rig, _rasterizer(scene.device), channels)


@cache
def _rasterizer(device: torch.device) -> Rasterize:
    """nvdiffrast's CUDA rasteriser; compiles its plugin on first use on a machine."""
    try:
        import nvdiffrast.torch as nvdiffrast
    except ImportError as error:
        raise ValueError(
            "backend='nvdiffrast' needs the package nvdiffrast; pip install \"gigapixel[nvdiffrast]\", or use "
            "another backend"
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
            f"backend='nvdiffrast' could not build its CUDA plugin ({line}); it needs nvcc, ninja and CUDA_HOME, "
            "with the CUDA headers on CPATH"
        ) from error

    def rasterize(clip: Tensor, triangles: Tensor, ranges: Tensor, height: int, width: int) -> Tensor:
        answer: Any = nvdiffrast.rasterize(
            context, clip, triangles, (height, width), ranges=ranges, grad_db=False
        )
        if isinstance(answer, Exception):  # it returns some of its errors instead of raising them
            raise answer
        return answer[0][..., 3].long() - 1

    return rasterize


def draw_meshes(
    scene: Scene, rig: CameraRig, rasterize: Rasterize, channels: Sequence[str] = CHANNELS
) -> Frame:
    """Everything but the rasteriser, on any device; views are drawn in chunks of bounded memory."""
    world = _World(ground_triangles(scene.ground), box_triangles(scene), light_triangles(scene))
    centre, rotation = rig.placed(scene.world_from_rig)
    rays = rig.rays
    per_view = max(
        len(world.ground) + world.boxes.material.shape[1] + world.lights.material.shape[1],
        (8 + NUM_LAYERS) * rig.height * rig.width,
    )
    step = max(1, CHUNK_ELEMENTS // (per_view * rig.num_cameras))
    shape = (scene.num_viewers, rig.num_cameras, rig.height, rig.width)
    chunks: dict[str, list[Tensor]] = {name: [] for name in channels}
    for begin in range(0, scene.num_viewers, step):
        viewers = torch.arange(begin, min(begin + step, scene.num_viewers), device=scene.device)
        views = _Views(
            viewer=viewers.repeat_interleave(rig.num_cameras),
            camera=torch.arange(rig.num_cameras, device=scene.device).repeat(len(viewers)),
            centre=centre[viewers].flatten(0, 1),
            rotation=rotation[viewers].flatten(0, 1),
        )
        drawn = _draw_chunk(scene, rig, rasterize, views, world, rays, channels)
        for name in channels:
            chunks[name].append(drawn[name])
    empty = {name: torch.zeros(0, dtype=CHANNEL_TYPES[name], device=scene.device) for name in channels}
    return Frame(
        {
            name: torch.cat(chunks[name] or [empty[name]]).reshape(*shape, *((3,) if name == "rgb" else ()))
            for name in channels
        }
    )


@dataclass(frozen=True)
class _World:
    """All triangles, world frame; see `triangles.py`."""

    ground: Tensor
    boxes: Triangles
    lights: Triangles


@dataclass(frozen=True)
class _Views:
    viewer: Tensor  # [views] i64
    camera: Tensor  # [views] i64
    centre: Tensor  # [views, 3] world
    rotation: Tensor  # [views, 3, 3] world_from_camera


@dataclass(frozen=True)
class _Picked:
    """Triangles that views may see, view by view.

    Attributes:
        view: [triangles] i64. corners: [triangles, 3, 3] f32 m, frame of the camera that sees them.
        material: [triangles] i64. box: [triangles] i64, -1 for what is no box.
    """

    view: Tensor
    corners: Tensor
    material: Tensor
    box: Tensor


def _draw_chunk(
    scene: Scene,
    rig: CameraRig,
    rasterize: Rasterize,
    views: _Views,
    world: _World,
    all_rays: Float[Tensor, "cameras height width 3"],
    channels: Sequence[str],
) -> Frame:
    road = scene.ground.class_id == ClassId.DRIVABLE
    solid = _gather(scene, views, world.ground, road, world.boxes, blank=True)
    thin = _gather(scene, views, world.ground, ~road, world.lights, blank=False)
    count = torch.bincount(solid.view, minlength=len(views.viewer)).cpu()
    ranges = torch.stack([count.cumsum(0) - count, count], dim=1).to(torch.int32)
    clip = _clip_positions(solid, ranges, rig, views)
    triangles = torch.arange(len(solid.view) * 3, dtype=torch.int32, device=scene.device).reshape(-1, 3)
    front = rasterize(clip, triangles, ranges, rig.height, rig.width)
    rays = all_rays[views.camera]
    met = _surfaces(front, solid, rays)
    eye_height = views.centre[:, 2] - scene.world_from_rig[views.viewer, 2, 3]
    surfaces = before_backdrop(met, rays, views.rotation, eye_height, scene.draw_distance_m)
    coverage = cover(
        thin.view,
        thin.corners,
        thin.material,
        rig.intrinsics[views.camera[thin.view]],
        rays,
        surfaces.in_front(),
        NEAR_M,
        scene.draw_distance_m,
    )
    return shade(surfaces, coverage, rays, views.rotation, scene.draw_distance_m, channels)


def _surfaces(
    front: Int[Tensor, "views height width"], solid: _Picked, rays: Float[Tensor, "views height width 3"]
) -> Surfaces:
    """What the triangles in front are; depth from their planes."""
    hit, which = front >= 0, front.clamp(min=0)
    corners = solid.corners
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    offset = (normal * corners[:, 0]).sum(-1)
    slope = (normal[which] * rays).sum(-1)
    depth = torch.where(hit, offset[which] / torch.where(hit, slope, 1.0), torch.inf)
    material = torch.where(hit, solid.material[which], int(ClassId.SKY))
    return Surfaces(material, depth, torch.where(hit, solid.box[which], -1))


def _gather(
    scene: Scene,
    views: _Views,
    ground: Float[Tensor, "ground 3 3"],
    wanted: Bool[Tensor, "quads"],
    things: Triangles,
    blank: bool,
) -> _Picked:
    """All triangles of wanted ground quads and of things that any of the views may see.

    With `blank`, every view begins with one triangle of zero size, so that none is without.
    """
    world = scene.viewer_world[views.viewer]
    town = scene.map_id[world]
    quad_start = scene.ground.map_quad_start
    quad = torch.arange(len(ground) // 2, device=scene.device)
    mine = wanted & (quad >= quad_start[town][:, None]) & (quad < quad_start[town + 1][:, None])
    sphere = scene.ground.sphere
    mine &= _may_see(
        views, sphere[:, :3].expand(len(world), -1, -1), sphere[:, 3].expand(len(world), -1), scene
    )
    on_ground = _pick(mine.repeat_interleave(2, dim=1), ground, None, views)
    own = scene.viewer_box[views.viewer][:, None]
    there = (things.material[world] >= 0) & ((things.box != own) | (things.box < 0))
    middle = things.corners.mean(2)
    radius = (things.corners - middle[:, :, None]).norm(dim=3).amax(2) + 1e-3
    there &= _may_see(views, middle[world], radius[world], scene)
    normal = torch.linalg.cross(
        things.corners[:, :, 1] - things.corners[:, :, 0], things.corners[:, :, 2] - things.corners[:, :, 0]
    )
    level = (normal * things.corners[:, :, 0]).sum(-1)
    there &= torch.einsum("vti,vi->vt", normal[world], views.centre) > level[world]
    on_things = _pick(there, things.corners, world, views)
    every = torch.arange(len(world) if blank else 0, device=scene.device)
    corners = torch.cat([torch.zeros(len(every), 3, 3, device=scene.device), on_ground[2], on_things[2]])
    view = torch.cat([every, on_ground[0], on_things[0]])
    order = torch.argsort(view, stable=True)
    paint = scene.ground.class_id.repeat_interleave(2)[on_ground[1]]
    nobody = torch.full((len(every) + len(paint),), -1, device=scene.device)
    return _Picked(
        view=view[order],
        corners=corners[order],
        material=torch.cat([torch.zeros_like(every), paint, things.material[world][there]])[order],
        box=torch.cat([nobody, things.box[on_things[1]]])[order],
    )


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
    solid: _Picked, ranges: Int[Tensor, "views 2"], rig: CameraRig, views: _Views
) -> Float[Tensor, "vertices 4"]:
    """Clip positions whose z/w orders surfaces as the reference does: 1 - 2 * near * precedence / depth."""
    pixels = solid.corners @ rig.intrinsics[views.camera[solid.view]].transpose(1, 2)  # (x, y, 1) * depth
    depth = solid.corners[..., 2]
    precedence = torch.as_tensor(MATERIAL_PRECEDENCE, device=depth.device)
    near = NEAR_M / precedence.max()
    clip = torch.stack(
        [
            2 * pixels[..., 0] / rig.width - depth,
            2 * pixels[..., 1] / rig.height - depth,
            depth - 2 * near * precedence[solid.material][:, None],
            depth,
        ],
        dim=-1,
    )
    clip[ranges[:, 0].long().to(clip.device)] = torch.tensor(NOWHERE, device=clip.device)
    return clip.reshape(-1, 4).contiguous()
