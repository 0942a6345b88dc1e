"""What `gigapixel bench student` measures: a student that drives from rendered images in closed loop."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gigapixel.bench.device_info import torch_device
from gigapixel.bench.harness import Workload


@dataclass(frozen=True)
class StudentSettings:
    """A student with random weights drives in closed loop: render, infer, step.

    Attributes:
        map: town of all worlds.
        worlds, agents: number of worlds and of agents in each; all agents have cameras and are driven.
        decisions: decisions (0.5 s each) per call; every call resets the worlds.
        seed: seed of the worlds.
        window_s: minimum length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 2
    agents: int = 16
    decisions: int = 4
    seed: int = 0
    window_s: float = 5.0


def student_workload(settings: StudentSettings) -> Workload:
    """The default student with random weights; counts the steps of agents that are still driving."""
    import torch

    from student.dagger.closed_loop import drive_until_next_plan
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
            drive_until_next_plan(world, policy, world.observe())
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
