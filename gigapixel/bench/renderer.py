"""What `gigapixel bench renderer` measures: pictures of worlds that stand still, and of worlds that are stepped."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gigapixel.bench.command import Measurement, Workload
from gigapixel.bench.device_info import torch_device

if TYPE_CHECKING:
    from renderer import CameraRig, Scene

PEERS = "lanes"  # the name of the peers' scene among maps
COPIED_BYTES = 1 << 28  # to learn how fast a device copies


@dataclass(frozen=True)
class RendererSettings:
    """Pictures of all cameras of all agents in freshly spawned worlds.

    Attributes:
        map: town or scene pack of all worlds; "lanes" is a made-up scene of boxes and lane quads around one eye.
        worlds, agents: batch of worlds and agents (boxes) in each; every placed agent is a viewer.
        size: of a picture in pixels, WIDTHxHEIGHT.
        cameras: how many of nuPlan's four (front, front left, front right, back).
        backend: "auto" or another of `renderer.BACKENDS`.
        threads: of the numba backend; 0 takes all that there are.
        step: measure also pictures with a step of the simulator before each (`with_step_per_s`).
        opengl: measure also plain OpenGL (`opengl_per_s`); needs the package moderngl and EGL.
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
    step: bool = False
    opengl: bool = False
    seed: int = 0
    window_s: float = 5.0


def renderer_workload(settings: RendererSettings) -> Workload:
    """The scene is built once; only `render` is timed, up to finished pictures on the scene's device.

    Raises ValueError for an unreadable size, for cameras that the rig does not have, and for steps of a scene that is
    no world.
    """
    from renderer import render

    rig, device = _rig(settings), _device(settings.backend)
    towns = None
    if settings.map == PEERS:
        from gigapixel.bench.renderer_scenes import peers_scene

        if settings.step:
            raise ValueError(f"step=True: the scene {PEERS!r} is no world that can be stepped; choose a town")
        scene, rig = peers_scene(settings.worlds, settings.agents, settings.seed, rig)
    else:
        from gigapixel.bench.renderer_scenes import TownWorlds

        towns = TownWorlds(settings.map, settings.worlds, settings.agents, settings.seed, device)
        scene = towns.scene()
    if settings.threads:
        _limit_threads(settings.threads)
    scene, rig = scene.to(device), rig.to(device)
    views = scene.num_viewers * rig.num_cameras

    def draw(now: Scene) -> int:
        render(now, rig, channels=("rgb",), backend=settings.backend)
        _finish(device)
        return views

    def step_and_draw() -> int:
        assert towns is not None
        towns.step()
        return draw(towns.scene())

    rows = {"with_step": step_and_draw} if settings.step else {}
    if settings.opengl:
        from gigapixel.bench.opengl_baseline import OpenGLPictures

        rows["opengl"] = OpenGLPictures(scene.to("cpu"), rig.to("cpu")).draw
    return Workload(
        description=f"{scene.num_viewers} viewers x {rig.num_cameras} cameras of {rig.width} x {rig.height} pixels "
        f"in {settings.worlds} worlds of {settings.agents} agents in {settings.map}",
        unit="views",
        device=torch_device(device),
        settings=asdict(settings),
        call=lambda: draw(scene),
        rows=rows,
        facts=lambda measured: _facts(measured, rig, device),
    )


def _rig(settings: RendererSettings) -> CameraRig:
    from gigapixel.pictures.render_command import parse_size
    from renderer import CameraRig

    width, height = parse_size(settings.size)
    rig = CameraRig.nuplan(height, width)
    if settings.cameras > rig.num_cameras:
        raise ValueError(
            f"cameras={settings.cameras} must be from 1 to {rig.num_cameras}: {', '.join(rig.names)}"
        )
    return rig.select(rig.names[: settings.cameras])


def _device(backend: str) -> str:
    import torch

    return "cuda" if torch.cuda.is_available() and backend != "numba" else "cpu"


def _finish(device: str) -> None:
    """Wait until all that was asked for is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _facts(measured: Measurement, rig: CameraRig, device: str) -> dict[str, Any]:
    """What the speed means: per agent, and in bytes against what the device can copy."""
    import torch

    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written = measured.per_s * rig.height * rig.width * 3
    copied = copy_bytes_per_s(device)  # after the peak: the copies are large
    return {
        "agent_steps_per_s": round(measured.per_s / rig.num_cameras, 1),
        "written_gb_per_s": round(written / 1e9, 3),
        "copied_gb_per_s": round(copied / 1e9, 1),
        "share_of_copying": round(written / copied, 4),
        "peak_memory_mb": round(peak / 1e6),
    }


def copy_bytes_per_s(device: str) -> float:
    """How fast a device copies a large tensor, the best of five."""
    import torch

    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        _finish(device)
        began = time.perf_counter()
        target.copy_(source)
        _finish(device)
        best = max(best, COPIED_BYTES / (time.perf_counter() - began))
    return best


def _limit_threads(threads: int) -> None:
    import numba

    if threads > numba.config.NUMBA_NUM_THREADS:
        raise ValueError(
            f"threads={threads} must be from 0 to {numba.config.NUMBA_NUM_THREADS}, the cores there are"
        )
    numba.set_num_threads(threads)
