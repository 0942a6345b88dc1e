"""What `gigapixel bench` measures: one workload per room, each with its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gigapixel.bench.command import Workload
from gigapixel.bench.device_info import torch_device
from gigapixel.bench.renderer import RendererSettings, renderer_workload
from gigapixel.bench.simulator import SimulatorSettings, simulator_workload
from gigapixel.bench.teacher import TeacherSettings, teacher_workload


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


def student_workload(settings: StudentSettings) -> Workload:
    """Closed loop of the default student with random weights; agents that still drive are counted by the world."""
    import torch

    from student.dagger.closed_loop import advance
    from student.network.policy import PolicyConfig, StudentPolicy
    from student.pixel_world import PixelWorld, PixelWorldConfig

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
