"""The nvdiffrast renderer for CUDA: the triangles of every view in clip space, rasterised in one batched call.

nvdiffrast finds the nearest surface at each pixel's centre. Depth is computed from that triangle's plane, decal
coverage by `coverage.py` and colour by `shading.py`, as in the reference. nvdiffrast's first image row is at clip
y = -1, so with y pointing down nothing needs to be flipped. It is an optional install with a non-commercial licence.
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
from renderer.backends.reference import NEAR_PLANE_M
from renderer.backends.shading import Surfaces, shade, with_backdrop
from renderer.camera import CameraRig
from renderer.frame import CHANNEL_TYPES, CHANNELS, Frame
from renderer.palette import MATERIAL_DEPTH_BIAS, NUM_LAYERS, ClassId
from renderer.scene import Scene
from renderer.triangles import Triangles, box_triangles, ground_triangles, light_triangles

NVDIFFRAST_MAX_SIDE_PX = 2048  # limit of nvdiffrast's CUDA rasteriser
ELEMENTS_PER_CHUNK = 1 << 25  # views x triangles and views x pixels x 8 processed at once; bounds the memory
OUTSIDE_CLIP = (2.0, 2.0, 2.0, 1.0)  # clip position outside every view

# (clip positions [vertices, 4] f32, triangles [n, 3] i32, ranges [views, 2] i32 on the CPU, height, width)
# -> [views, height, width] i64: index of the triangle in front, -1 for none
Rasterize = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def render_nvdiffrast(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """As `renderer.render.render`, for a validated scene on CUDA; raises ValueError where that is not possible."""
    if not torch.cuda.is_available():
        raise ValueError("backend='nvdiffrast' needs an NVIDIA GPU and torch sees none; use backend='numba'")
    if scene.device.type != "cuda":
        raise ValueError(
            f"backend='nvdiffrast' draws on CUDA and the scene lies on {scene.device}; use Scene.to('cuda')"
        )
    if max(rig.height, rig.width) > NVDIFFRAST_MAX_SIDE_PX:
        raise ValueError(
            f"backend='nvdiffrast' draws at most {NVDIFFRAST_MAX_SIDE_PX} pixels a side, not {rig.height} x "
            f"{rig.width}; use CameraRig.resized or another backend"
        )
    with torch.no_grad():
        return draw_meshes(scene, rig, nvdiffrast_rasterizer(scene.device), channels)


@cache
def nvdiffrast_rasterizer(device: torch.device) -> Rasterize:
    """nvdiffrast's CUDA rasteriser; compiles its plugin on first use on a machine.

    Raises ValueError if the package is missing or the plugin cannot be built.
    """
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
    """Draw a validated scene with a given rasteriser, on any device, in chunks of views of bounded memory."""
    world = _World(ground_triangles(scene.ground), box_triangles(scene), light_triangles(scene))
    centre, rotation = rig.camera_poses(scene.world_from_rig)
    rays = rig.rays
    per_view = max(
        len(world.ground) + world.boxes.material.shape[1] + world.lights.material.shape[1],
        (8 + NUM_LAYERS) * rig.height * rig.width,
    )
    step = max(1, ELEMENTS_PER_CHUNK // (per_view * rig.num_cameras))
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
    """All triangles of a scene, world frame; see `triangles.py`. ground: [triangles, 3, 3]."""

    ground: Tensor
    boxes: Triangles
    lights: Triangles


@dataclass(frozen=True)
class _Views:
    """The views of one chunk."""

    viewer: Tensor  # [views] i64
    camera: Tensor  # [views] i64
    centre: Tensor  # [views, 3] world
    rotation: Tensor  # [views, 3, 3] world_from_camera


@dataclass(frozen=True)
class _Candidates:
    """Triangles that views may show, sorted by view.

    Attributes:
        view: [triangles] i64. corners: [triangles, 3, 3] f32 m, camera frame of their view.
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
    """The channels of the views of one chunk, [views, height, width, ...]."""
    road = scene.ground.class_id == ClassId.DRIVABLE
    solid = _gather(scene, views, world.ground, road, world.boxes, blank=True)
    decals = _gather(scene, views, world.ground, ~road, world.lights, blank=False)
    count = torch.bincount(solid.view, minlength=len(views.viewer)).cpu()
    ranges = torch.stack([count.cumsum(0) - count, count], dim=1).to(torch.int32)
    clip = _clip_positions(solid, ranges, rig, views)
    triangles = torch.arange(len(solid.view) * 3, dtype=torch.int32, device=scene.device).reshape(-1, 3)
    front = rasterize(clip, triangles, ranges, rig.height, rig.width)
    rays = all_rays[views.camera]
    hit = _surfaces(front, solid, rays)
    camera_height = views.centre[:, 2] - scene.world_from_rig[views.viewer, 2, 3]
    surfaces = with_backdrop(hit, rays, views.rotation, camera_height, scene.draw_distance_m)
    coverage = cover(
        decals.view,
        decals.corners,
        decals.material,
        rig.intrinsics[views.camera[decals.view]],
        rays,
        surfaces.in_front(),
        NEAR_PLANE_M,
        scene.draw_distance_m,
    )
    return shade(surfaces, coverage, rays, views.rotation, scene.draw_distance_m, channels)


def _surfaces(
    front: Int[Tensor, "views height width"], solid: _Candidates, rays: Float[Tensor, "views height width 3"]
) -> Surfaces:
    """The surfaces of the nearest triangles; depth, m, from their planes.

    front: index of the nearest triangle of `solid`, -1 for none.
    """
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
    objects: Triangles,
    blank: bool,
) -> _Candidates:
    """All triangles of the `wanted` ground quads and of `objects` that the views may show.

    With `blank`, every view begins with a triangle of zero size, so that no view is empty.
    """
    world = scene.viewer_world[views.viewer]
    map_index = scene.map_id[world]
    quad_start = scene.ground.map_quad_start
    quad = torch.arange(len(ground) // 2, device=scene.device)
    candidate = (
        wanted & (quad >= quad_start[map_index][:, None]) & (quad < quad_start[map_index + 1][:, None])
    )
    sphere = scene.ground.sphere
    candidate &= _may_be_visible(
        views, sphere[:, :3].expand(len(world), -1, -1), sphere[:, 3].expand(len(world), -1), scene
    )
    on_ground = _pick(candidate.repeat_interleave(2, dim=1), ground, None, views)
    own = scene.viewer_box[views.viewer][:, None]
    there = (objects.material[world] >= 0) & ((objects.box != own) | (objects.box < 0))
    middle = objects.corners.mean(2)
    radius = (objects.corners - middle[:, :, None]).norm(dim=3).amax(2) + 1e-3
    there &= _may_be_visible(views, middle[world], radius[world], scene)
    normal = torch.linalg.cross(
        objects.corners[:, :, 1] - objects.corners[:, :, 0],
        objects.corners[:, :, 2] - objects.corners[:, :, 0],
    )
    level = (normal * objects.corners[:, :, 0]).sum(-1)
    there &= torch.einsum("vti,vi->vt", normal[world], views.centre) > level[world]
    on_objects = _pick(there, objects.corners, world, views)
    every = torch.arange(len(world) if blank else 0, device=scene.device)
    corners = torch.cat([torch.zeros(len(every), 3, 3, device=scene.device), on_ground[2], on_objects[2]])
    view = torch.cat([every, on_ground[0], on_objects[0]])
    order = torch.argsort(view, stable=True)
    paint = scene.ground.class_id.repeat_interleave(2)[on_ground[1]]
    no_box = torch.full((len(every) + len(paint),), -1, device=scene.device)
    return _Candidates(
        view=view[order],
        corners=corners[order],
        material=torch.cat([torch.zeros_like(every), paint, objects.material[world][there]])[order],
        box=torch.cat([no_box, objects.box[on_objects[1]]])[order],
    )


def _may_be_visible(
    views: _Views,
    middle: Float[Tensor, "views objects 3"],
    radius: Float[Tensor, "views objects"],
    scene: Scene,
) -> Bool[Tensor, "views objects"]:
    """Whether spheres (world frame, m) are not entirely behind the camera or beyond the draw distance."""
    offset = middle - views.centre[:, None]
    ahead = (offset * views.rotation[:, None, :, 2]).sum(-1)
    return (ahead + radius >= NEAR_PLANE_M) & (offset.norm(dim=-1) - radius <= scene.draw_distance_m)


def _pick(
    mask: Bool[Tensor, "views triangles"],
    corners: Float[Tensor, "*worlds triangles 3 3"],
    world: Int[Tensor, "views"] | None,
    views: _Views,
) -> tuple[Int[Tensor, "picked"], Int[Tensor, "picked"], Float[Tensor, "picked 3 3"]]:
    """View, index and camera-frame corners (m) of every true entry of `mask`.

    corners: world frame, of all views or, with `world` (the world of each view), of each world.
    """
    view, index = mask.nonzero().unbind(1)
    chosen = corners[index] if world is None else corners[world[view], index]
    return view, index, (chosen - views.centre[view][:, None]) @ views.rotation[view]


def _clip_positions(
    solid: _Candidates, ranges: Int[Tensor, "views 2"], rig: CameraRig, views: _Views
) -> Float[Tensor, "vertices 4"]:
    """Clip positions whose z/w = 1 - 2 * near * bias / depth orders surfaces as the reference does.

    The first triangle of each view (see `ranges`) is moved outside of the image.
    """
    pixels = solid.corners @ rig.intrinsics[views.camera[solid.view]].transpose(1, 2)  # (x, y, 1) * depth
    depth = solid.corners[..., 2]
    bias = torch.as_tensor(MATERIAL_DEPTH_BIAS, device=depth.device)
    near = NEAR_PLANE_M / bias.max()
    clip = torch.stack(
        [
            2 * pixels[..., 0] / rig.width - depth,
            2 * pixels[..., 1] / rig.height - depth,
            depth - 2 * near * bias[solid.material][:, None],
            depth,
        ],
        dim=-1,
    )
    clip[ranges[:, 0].long().to(clip.device)] = torch.tensor(OUTSIDE_CLIP, device=clip.device)
    return clip.reshape(-1, 4).contiguous()
