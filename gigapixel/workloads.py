"""What `gigapixel bench` measures: one workload per room, each with its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gigapixel.bench import Workload
from gigapixel.machine import cpu_name
from gigapixel.simulator_workload import SimulatorSettings, simulator_workload
from gigapixel.teacher_workload import TeacherSettings, teacher_workload


@dataclass(frozen=True)
class RendererSettings:
    """Pictures of all cameras of all agents in freshly spawned worlds.

    Attributes:
        map: town of all worlds.
        worlds, agents: batch of worlds and agents (boxes) in each; every placed agent is a viewer.
        width, height: picture size in pixels.
        backend: "auto", "reference", "numba" or "nvdiffrast".
        seed: of the worlds.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 4
    agents: int = 32
    width: int = 96
    height: int = 54
    backend: str = "auto"
    seed: int = 0
    window_s: float = 5.0


@dataclass(frozen=True)
class StudentSettings:
    """A student with random weights driving closed-loop: render, infer, step.

    Attributes:
        map: town of all worlds.
        worlds, agents: batch of worlds and agents in each; all of them have cameras and drive.
        decisions: decisions (0.5 s each) per call; worlds start anew with every call.
        seed: of the worlds.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 2
    agents: int = 16
    decisions: int = 4
    seed: int = 0
    window_s: float = 5.0


def renderer_workload(settings: RendererSettings) -> Workload:
    """The scene is built once; only `render` is timed, up to finished pictures on the scene's device."""
    from functools import partial

    import jax
    import torch

    from renderer import CameraRig, render
    from simulator.config import SimulatorConfig
    from simulator.maps import load_atlas, load_maps
    from simulator.rollout import reset_worlds
    from student.bridge import drawable, ground_library, light_table, scene

    atlas = load_atlas([settings.map])
    config = SimulatorConfig(num_agents=settings.agents)
    fresh = jax.jit(partial(reset_worlds, config=config, num_worlds=settings.worlds))
    state = fresh(jax.random.key(settings.seed), atlas)
    table = light_table(atlas)
    seen = jax.jit(partial(drawable, config=config))(state, table.stops[jax.device_get(state.map_id)], atlas)
    viewers = torch.from_numpy(jax.device_get(state.present).reshape(-1).nonzero()[0])
    device = "cuda" if torch.cuda.is_available() and settings.backend != "numba" else "cpu"
    drawn = scene(state, seen, table, ground_library(load_maps([settings.map])), viewers).to(device)
    rig = CameraRig.nuplan(settings.height, settings.width).to(device)

    def call() -> int:
        render(drawn, rig, channels=("rgb",), backend=settings.backend)
        if device == "cuda":
            torch.cuda.synchronize()
        return len(viewers) * rig.num_cameras

    return Workload(
        description=f"{len(viewers)} viewers x {rig.num_cameras} cameras of {settings.width} x {settings.height} "
        f"pixels in {settings.worlds} worlds of {settings.agents} agents in {settings.map}",
        unit="views",
        device=torch_device(device),
        settings=asdict(settings),
        call=call,
    )


def torch_device(device: str) -> str:
    """Name of a torch device."""
    import torch

    return f"cuda: {torch.cuda.get_device_name()}" if device == "cuda" else f"cpu: {cpu_name()}"


def student_workload(settings: StudentSettings) -> Workload:
    """Closed loop of the default student with random weights; agents that still drive are counted by the world."""
    import torch

    from student.driving import advance
    from student.policy import PolicyConfig, StudentPolicy
    from student.world import PixelWorld, PixelWorldConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    world = PixelWorld(
        PixelWorldConfig(maps=(settings.map,), num_worlds=settings.worlds, num_agents=settings.agents), device
    )
    torch.manual_seed(settings.seed)
    policy = StudentPolicy(PolicyConfig()).to(device).eval()

    def call() -> int:
        world.reset(settings.seed)
        for _ in range(settings.decisions):
            advance(world, policy, world.observe())
        return world.agent_steps

    return Workload(
        description=f"{settings.worlds} worlds x {settings.agents} agents x {settings.decisions} decisions of "
        f"{world.config.plan_s} s in {settings.map}: render four cameras of 96 x 54, infer, track; "
        "only agents that still drive are counted, reset included",
        unit="agent_steps",
        device=torch_device(device),
        settings=asdict(settings),
        call=call,
    )


BUILDERS: dict[str, tuple[type, Callable[[Any], Workload]]] = {
    "simulator": (SimulatorSettings, simulator_workload),
    "renderer": (RendererSettings, renderer_workload),
    "teacher": (TeacherSettings, teacher_workload),
    "student": (StudentSettings, student_workload),
}
