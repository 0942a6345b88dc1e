"""Hand-made scenes, and a stub of nvdiffrast's rasteriser in plain torch."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from renderer import Camera, CameraRig, ClassId, Frame, GroundLibrary, GroundMesh, Scene, render
from renderer.backends.nvdiffrast_cuda import draw_meshes
from renderer.ground_quads import dashed_quads, polygon_quads, ribbon_quads, strip_quads

Box = tuple[
    float, float, float, float, float, float, float, int
]  # x, y, z, yaw, length, width, height, class
Light = tuple[float, float, float, float, int]  # x, y, z, yaw, state
Pose = tuple[float, float, float, float]  # x, y, z, yaw of a rig


def _plain_rasterize(clip: Tensor, triangles: Tensor, ranges: Tensor, height: int, width: int) -> Tensor:
    """Index of the nearest triangle at each pixel, as nvdiffrast: row 0 is clip y = -1, |z/w| <= 1 is visible."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height * 2 - 1,
        (torch.arange(width) + 0.5) / width * 2 - 1,
        indexing="ij",
    )
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3).double()
    front = torch.full((len(ranges), height, width), -1, dtype=torch.int64)
    for view, (first, count) in enumerate(ranges.tolist()):
        index = first + torch.arange(count)
        corners = clip[triangles[index].long()].double()
        planar, w = corners[..., :2], corners[..., 3:]
        aside = ((planar < -w).all(1) | (planar > w).all(1)).any(1)
        index, corners = index[~aside], corners[~aside]  # only saves time
        if len(index) == 0:
            continue
        planar = corners[..., [0, 1, 3]]
        normal = [torch.linalg.cross(planar[:, k - 2], planar[:, k - 1]) for k in range(3)]
        volume = (planar[:, 0] * normal[0]).sum(1, keepdim=True)  # exactly 0 for a triangle without area
        share = [part / volume for part in normal]
        mix = [pixels @ part.T for part in share]  # pixel = sum of mix * corner
        depth = sum(part * corners[:, k, 2] for k, part in enumerate(mix))  # z/w
        visible = (mix[0] >= 0) & (mix[1] >= 0) & (mix[2] >= 0) & (depth.abs() <= 1)
        nearest, which = torch.where(visible, depth, torch.inf).min(dim=1)
        front[view] = torch.where(nearest.isfinite(), index[which], -1).reshape(height, width)
    return front


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Renders with one backend, on the CPU where that is possible."""

    backend: str

    @property
    def interpreted(self) -> bool:
        """Whether a view takes about a second: Triton's kernels where there is no GPU."""
        return self.backend == "triton" and not torch.cuda.is_available()

    def __call__(self, scene: Scene, rig: CameraRig) -> Frame:
        """As `render`; the backend "meshes" is the nvdiffrast backend with the stub rasteriser."""
        if self.backend == "meshes":
            scene.validate()
            return draw_meshes(scene, rig, _plain_rasterize)
        if self.backend == "triton" and not self.interpreted:
            return render(scene.to("cuda"), rig.to("cuda"), backend="triton").to("cpu")
        return render(scene, rig, backend=self.backend)

    def some(self, rig: CameraRig) -> CameraRig:
        """All cameras of `rig`, or only the first where rendering is slow."""
        return rig.select(rig.names[:1]) if self.interpreted else rig


def _drawing(backend: str) -> Drawing:
    if backend == "triton":
        pytest.importorskip("triton", reason="Triton comes with torch's builds for CUDA")
    return Drawing(backend)


@pytest.fixture(params=["reference", "numba", "triton", "meshes"])
def drawn(request: pytest.FixtureRequest) -> Drawing:
    """Render with each backend."""
    return _drawing(request.param)


@pytest.fixture(params=["numba", "triton", "meshes"])
def fast(request: pytest.FixtureRequest) -> Drawing:
    """Render with each backend that must agree with the reference."""
    return _drawing(request.param)


def _one_camera(height: int = 10, width: int = 10, focal: float = 10.0, **mount: float) -> CameraRig:
    """A camera 1 m above the rear axle, looking forward unless told otherwise."""
    settings = {"x_m": 0.0, "y_m": 0.0, "z_m": 1.0, **mount}
    camera = Camera("only", width=width, height=height, focal_px=focal, **settings)
    return CameraRig.from_cameras([camera], height, width)


def pose_matrix(pose: Pose) -> Tensor:
    """world_from_rig [4, 4] of a level rig."""
    x, y, z, yaw = pose
    cos, sin = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]])


def _one_world(
    boxes: Sequence[Box] = (),
    lights: Sequence[Light] = (),
    meshes: Sequence[GroundMesh] = (),
    poses: Sequence[Pose] = ((0.0, 0.0, 0.0, 0.0),),
    viewer_box: int = -1,
    draw_distance_m: float = 100.0,
) -> Scene:
    """A scene of one world, seen from some poses."""
    box = torch.tensor(boxes, dtype=torch.float32).reshape(1, len(boxes), 8)
    light = torch.tensor(lights, dtype=torch.float32).reshape(1, len(lights), 5)
    return Scene(
        box_position=box[..., :3],
        box_size=box[..., 4:7],
        box_yaw=box[..., 3],
        box_class=box[..., 7].long(),
        light_position=light[..., :3],
        light_yaw=light[..., 3],
        light_state=light[..., 4].long(),
        ground=GroundLibrary([GroundMesh.concatenate(meshes)]),
        map_id=torch.zeros(1, dtype=torch.int64),
        viewer_world=torch.zeros(len(poses), dtype=torch.int64),
        viewer_box=torch.full((len(poses),), viewer_box),
        world_from_rig=torch.stack([pose_matrix(pose) for pose in poses]),
        draw_distance_m=draw_distance_m,
    )


def street_mesh() -> GroundMesh:
    """Two lanes each way along x with a bend and a hump, a crossing road, paint of every class."""
    x = torch.arange(-80.0, 121.0, 2.0)
    bend, hump = 0.001 * x.clamp(min=0) ** 2, 0.4 * torch.exp(-((x - 60) ** 2) / 400)

    def line(y: float, begin: float = -80.0, end: float = 120.0) -> Tensor:
        kept = (x >= begin) & (x <= end)
        return torch.stack([x, bend + y, hump], dim=1)[kept]

    parts = [
        ribbon_quads(line(7), line(-7), ClassId.DRIVABLE),
        ribbon_quads([[35, -80, 0], [35, 80, 0.3]], [[45, -80, 0.2], [45, 80, 0]], ClassId.DRIVABLE),
        polygon_quads([[29, -6, 0], [32, -6, 0], [32, 8, 0], [30, 9, 0], [29, 8, 0]], ClassId.CROSSWALK),
        strip_quads([[27.5, 0.7, 0], [27.5, -6.3, 0]], 0.5, ClassId.STOP_LINE),
    ]
    for side in (1, -1):
        parts.append(strip_quads(line(7 * side), 0.3, ClassId.ROAD_EDGE))
        parts.append(strip_quads(line(0.15 * side, end=26), 0.12, ClassId.MARKING_YELLOW))
        parts.append(dashed_quads(line(3.5 * side), 0.15, 3.0, 5.0, ClassId.MARKING_WHITE))
    return GroundMesh.concatenate(parts)


STREET_BOXES: tuple[Box, ...] = (
    (1.4, -1.75, 0, 0, 4.6, 1.9, 1.5, 0),
    (14, -5.25, 0, 0, 4.6, 1.9, 1.5, 0),
    (24, -1.75, 0, 0.2, 4.5, 1.9, 1.5, 0),
    (18, 1.75, 0, math.pi, 4.6, 1.9, 1.6, 0),
    (40, -12, 0, math.pi / 2, 9, 2.5, 3.2, 1),
    (12, 5, 0, math.pi, 1.8, 0.6, 1.7, 2),
    (30.5, 4, 0, -math.pi / 2, 0.6, 0.6, 1.75, 3),
    (20, -8.2, 0, 0.3, 4.6, 1.9, 1.5, 4),
    (3.5, -3.4, 0, 0.0, 1.0, 1.0, 1.6, 4),  # cut by the near plane of the front camera when the rig swerves
    (-12, -1.75, 0, 0, 7, 2.4, 2.8, 1),
    (0, 0, 0, 0, 1, 1, 1, -1),
)
STREET_LIGHTS: tuple[Light, ...] = (
    (47, -1.75, 5, 0, 3),
    (47, -5.25, 5, 0, 2),
    (33, 1.75, 5, math.pi, 1),
    (38, 9, 5, 1.5, 1),
)


def _street(poses: Sequence[Pose] = ((0.0, -1.75, 0.0, 0.0),)) -> Scene:
    """Boxes, lights and ground of every class; box 0 is the viewers' own."""
    return _one_world(STREET_BOXES, STREET_LIGHTS, [street_mesh()], poses, viewer_box=0)


@pytest.fixture
def triton() -> Drawing:
    """Render with the Triton backend."""
    return _drawing("triton")


@pytest.fixture(scope="session")
def one_camera() -> Callable[..., CameraRig]:
    return _one_camera


@pytest.fixture(scope="session")
def one_world() -> Callable[..., Scene]:
    return _one_world


@pytest.fixture(scope="session")
def street() -> Callable[..., Scene]:
    return _street
