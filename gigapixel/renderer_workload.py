"""What `gigapixel bench renderer` measures: pictures of worlds that do not move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gigapixel.bench import Workload
from gigapixel.machine import torch_device

if TYPE_CHECKING:
    from renderer import CameraRig, Scene

PEERS = "lanes"
"""The scene in which renderers for CPUs have been compared: boxes within 50 m and 2,000 quads of lanes within 300 m of
an eye 1.6 m above a plane."""
PEERS_QUADS, PEERS_BOXES_M, PEERS_LANES_M, PEERS_EYE_M = 2_000, 50.0, 300.0, 1.6


@dataclass(frozen=True)
class RendererSettings:
    """Pictures of all cameras of all agents in freshly spawned worlds.

    Attributes:
        map: town of all worlds; "lanes" is a made-up scene of boxes and lane quads around one eye.
        worlds, agents: batch of worlds and agents (boxes) in each; every placed agent is a viewer.
        size: of a picture in pixels, WIDTHxHEIGHT.
        cameras: how many of nuPlan's four (front, front left, front right, back).
        backend: "auto", "reference", "numba" or "nvdiffrast".
        threads: of the numba backend; 0 takes all that there are.
        seed: of the worlds.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 4
    agents: int = 64
    size: str = "96x54"
    cameras: int = 4
    backend: str = "auto"
    threads: int = 0
    seed: int = 0
    window_s: float = 5.0


def renderer_workload(settings: RendererSettings) -> Workload:
    """The scene is built once; only `render` is timed, up to finished pictures on the scene's device.

    Raises ValueError for an unreadable size and for cameras that the rig does not have.
    """
    import torch

    from gigapixel.render_command import parse_size
    from renderer import CameraRig, render

    width, height = parse_size(settings.size)
    rig = CameraRig.nuplan(height, width)
    if settings.cameras > rig.num_cameras:
        raise ValueError(
            f"cameras={settings.cameras} must be from 1 to {rig.num_cameras}: {', '.join(rig.names)}"
        )
    rig = rig.select(rig.names[: settings.cameras])
    scene, rig = peers_scene(settings, rig) if settings.map == PEERS else (town_scene(settings), rig)
    if settings.threads:
        _limit_threads(settings.threads)
    device = "cuda" if torch.cuda.is_available() and settings.backend != "numba" else "cpu"
    scene, rig = scene.to(device), rig.to(device)

    def call() -> int:
        render(scene, rig, channels=("rgb",), backend=settings.backend)
        if device == "cuda":
            torch.cuda.synchronize()
        return scene.num_viewers * rig.num_cameras

    return Workload(
        description=f"{scene.num_viewers} viewers x {rig.num_cameras} cameras of {width} x {height} pixels in "
        f"{settings.worlds} worlds of {settings.agents} agents in {settings.map}",
        unit="views",
        device=torch_device(device),
        settings=asdict(settings),
        call=call,
    )


def _limit_threads(threads: int) -> None:
    import numba

    if threads > numba.config.NUMBA_NUM_THREADS:
        raise ValueError(
            f"threads={threads} must be from 0 to {numba.config.NUMBA_NUM_THREADS}, the cores there are"
        )
    numba.set_num_threads(threads)


def town_scene(settings: RendererSettings) -> Scene:
    """Freshly spawned worlds of one town, seen by everybody in them."""
    from functools import partial

    import jax
    import torch

    from gigapixel.moment import scene_at
    from simulator.config import SimulatorConfig
    from simulator.maps import load_atlas, load_maps
    from simulator.rollout import reset_worlds
    from student.bridge import ground_library

    atlas = load_atlas([settings.map])
    config = SimulatorConfig(num_agents=settings.agents)
    fresh = jax.jit(partial(reset_worlds, config=config, num_worlds=settings.worlds))
    state = fresh(jax.random.key(settings.seed), atlas)
    viewers = torch.from_numpy(jax.device_get(state.present).reshape(-1).nonzero()[0])
    return scene_at(state, atlas, config, ground_library(load_maps([settings.map])), viewers)


def peers_scene(settings: RendererSettings, rig: CameraRig) -> tuple[Scene, CameraRig]:
    """`worlds` viewers of as many worlds of `agents` boxes each; the eye of every camera is PEERS_EYE_M up."""
    import dataclasses

    import torch

    from renderer import ClassId, GroundLibrary, GroundMesh, Scene

    generator = torch.Generator().manual_seed(settings.seed)

    def within(reach_m: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * reach_m

    along = torch.tensor([[-4.0, -1.75], [4.0, -1.75], [4.0, 1.75], [-4.0, 1.75]])
    middle, turn = within(PEERS_LANES_M, PEERS_QUADS, 1, 2), within(torch.pi, PEERS_QUADS, 1)
    corners = torch.stack(
        [
            along[:, 0] * turn.cos() - along[:, 1] * turn.sin(),
            along[:, 0] * turn.sin() + along[:, 1] * turn.cos(),
        ],
        dim=-1,
    )
    quads = torch.cat([middle + corners, torch.zeros(PEERS_QUADS, 4, 1)], dim=-1)
    ground = GroundMesh(quads, torch.full((PEERS_QUADS,), int(ClassId.DRIVABLE)))
    worlds, boxes = settings.worlds, settings.agents
    pose = torch.eye(4).repeat(worlds, 1, 1)
    scene = Scene(
        box_position=torch.cat(
            [within(PEERS_BOXES_M, worlds, boxes, 2), torch.zeros(worlds, boxes, 1)], dim=-1
        ),
        box_size=torch.tensor([4.6, 1.9, 1.6]).expand(worlds, boxes, 3).contiguous(),
        box_yaw=within(torch.pi, worlds, boxes),
        box_class=torch.zeros(worlds, boxes, dtype=torch.int64),
        light_position=torch.zeros(worlds, 0, 3),
        light_yaw=torch.zeros(worlds, 0),
        light_state=torch.zeros(worlds, 0, dtype=torch.int64),
        ground=GroundLibrary([ground]),
        map_id=torch.zeros(worlds, dtype=torch.int64),
        viewer_world=torch.arange(worlds),
        viewer_box=torch.full((worlds,), -1),
        world_from_rig=pose,
        draw_distance_m=PEERS_LANES_M,
    )
    mount = rig.rig_from_camera.clone()
    mount[:, 2, 3] = PEERS_EYE_M
    return scene, dataclasses.replace(rig, rig_from_camera=mount)
