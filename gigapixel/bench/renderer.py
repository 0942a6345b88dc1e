"""What `gigapixel bench renderer` measures: images of worlds, with and without a simulator step before each."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gigapixel.bench.device_info import torch_device
from gigapixel.bench.harness import Measurement, Workload

if TYPE_CHECKING:
    from renderer import CameraRig, Scene

LANES_SCENE = "lanes"  # name, among the maps, of the synthetic scene of `renderer_scenes.lanes_scene`
COPIED_BYTES = 1 << 28  # copied to measure the memory bandwidth of a device


@dataclass(frozen=True)
class RendererSettings:
    """Images of all cameras of all agents in newly reset worlds.

    Attributes:
        map: town or scene pack of all worlds, or "lanes", a synthetic scene of boxes and lane quads.
        worlds, agents: batch of worlds and agents (boxes) in each; every placed agent is a viewer.
        size: size of an image in pixels, WIDTHxHEIGHT.
        cameras: number of cameras, taken from nuPlan's four (front, front left, front right, back).
        backend: "auto" or another of `renderer.BACKENDS`.
        threads: threads of the numba backend; 0 uses all cores.
        step: also measure images with a simulator step before each (`with_step_per_s`).
        opengl: also measure plain OpenGL (`opengl_per_s`); needs the package moderngl and EGL.
        seed: seed of the worlds.
        window_s: minimum length of a timed window.
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
    """The scene is built once; only `render` is timed, until the images are finished on the scene's device.

    Raises ValueError for a malformed size, for more cameras than the rig has, and for `step` with the synthetic scene,
    which is not a simulated world.
    """
    from renderer import render

    rig, device = _rig(settings), _device(settings.backend)
    worlds = None
    if settings.map == LANES_SCENE:
        from gigapixel.bench.renderer_scenes import lanes_scene

        if settings.step:
            raise ValueError(
                f"step=True: the scene {LANES_SCENE!r} is not a world that can be stepped; choose a town"
            )
        scene, rig = lanes_scene(settings.worlds, settings.agents, settings.seed, rig)
    else:
        from gigapixel.bench.renderer_scenes import SteppedWorlds

        worlds = SteppedWorlds(settings.map, settings.worlds, settings.agents, settings.seed, device)
        scene = worlds.scene()
    if settings.threads:
        _limit_threads(settings.threads)
    scene, rig = scene.to(device), rig.to(device)
    views = scene.num_viewers * rig.num_cameras

    def draw(current: Scene) -> int:
        render(current, rig, channels=("rgb",), backend=settings.backend)
        _synchronize(device)
        return views

    def step_and_draw() -> int:
        assert worlds is not None
        worlds.step()
        return draw(worlds.scene())

    variants = {"with_step": step_and_draw} if settings.step else {}
    if settings.opengl:
        from gigapixel.bench.opengl_baseline import OpenGLViews

        variants["opengl"] = OpenGLViews(scene.to("cpu"), rig.to("cpu")).draw
    return Workload(
        description=f"{scene.num_viewers} viewers x {rig.num_cameras} cameras of {rig.width} x {rig.height} pixels "
        f"in {settings.worlds} worlds of {settings.agents} agents in {settings.map}",
        unit="views",
        device=torch_device(device),
        settings=asdict(settings),
        call=lambda: draw(scene),
        variants=variants,
        extra_metrics=lambda measurement: _extra_metrics(measurement, rig, device),
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


def _synchronize(device: str) -> None:
    """Wait until all work queued on the device is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _extra_metrics(measurement: Measurement, rig: CameraRig, device: str) -> dict[str, Any]:
    """The speed per agent, the bytes written against the copy bandwidth of the device, and the peak memory."""
    import torch

    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written = measurement.per_s * rig.height * rig.width * 3
    copied = copy_bytes_per_s(device)  # after the peak: the copies are large
    return {
        "agent_steps_per_s": round(measurement.per_s / rig.num_cameras, 1),
        "written_gb_per_s": round(written / 1e9, 3),
        "copied_gb_per_s": round(copied / 1e9, 1),
        "share_of_copying": round(written / copied, 4),
        "peak_memory_mb": round(peak / 1e6),
    }


def copy_bytes_per_s(device: str) -> float:
    """Bytes per second at which a device copies a large tensor, the best of five."""
    import torch

    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        _synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        _synchronize(device)
        best = max(best, COPIED_BYTES / (time.perf_counter() - began))
    return best


def _limit_threads(threads: int) -> None:
    import numba

    if threads > numba.config.NUMBA_NUM_THREADS:
        raise ValueError(
            f"threads={threads} must be from 0 to {numba.config.NUMBA_NUM_THREADS}, the number of cores"
        )
    numba.set_num_threads(threads)
