"""What `gigapixel bench student` measures: a student that drives from rendered images, and its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gigapixel.bench.device_info import torch_device
from gigapixel.bench.harness import Workload


@dataclass(frozen=True)
class StudentSettings:
    """A student drives in closed loop (render, infer, step), and learns from a teacher.

    Attributes:
        config: training configuration whose student, worlds and batches are measured; empty: the default student and
            optimiser.
        weights: policy file of this architecture to start from. Empty: random weights; their agents crash early.
        map: town of all worlds. Empty: those of the configuration, else Town03.
        worlds, agents: number of worlds and of agents in each; all agents have cameras and are driven. 0: those of the
            configuration, else 2 and 16.
        batch_size: samples per optimiser step. 0: that of the configuration, else 128.
        decisions: decisions (0.5 s each) per call; for driving, every call resets the worlds.
        batches: optimiser steps per call that learns. 0: as many per decision as in the configuration, else 2.
        buffer: samples in the replay buffer, which are drawn from. 0: as many as a call collects.
        compile: the student is compiled by `torch.compile`.
        seed: seed of the worlds.
        window_s: minimum length of a timed window.
    """

    config: str = ""
    weights: str = ""
    map: str = ""
    worlds: int = 0
    agents: int = 0
    batch_size: int = 0
    decisions: int = 4
    batches: int = 0
    buffer: int = 0
    compile: bool = False
    seed: int = 0
    window_s: float = 5.0


def student_workload(settings: StudentSettings) -> Workload:
    """Driving of the student, which counts the steps of agents that still drive, and the parts of its training as
    variants. Raises OSError or ValueError for configurations and weights that cannot be read or do not fit."""
    import torch

    from gigapixel.bench.student_training import StudentTraining
    from student.dagger.closed_loop import drive_until_next_plan

    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = StudentTraining(settings, device)
    world, policy = training.world, training.module.policy

    def drive() -> int:
        policy.eval()
        world.reset(settings.seed)
        for _ in range(settings.decisions):
            drive_until_next_plan(world, policy, world.observe())
        training.wait()
        return world.agent_steps

    config = training.data.world_config
    return Workload(
        description=f"{config.num_worlds} worlds x {config.num_agents} agents x {settings.decisions} decisions of "
        f"{config.plan_s} s in {', '.join(config.maps)}: render {training.num_cameras} cameras of "
        f"{config.width_px} x {config.height_px}, infer, track; only agents that still drive are counted, reset "
        f"included; of training: {settings.decisions} decisions, then {training.batches} batches of "
        f"{training.data.batch_size}, {training.start}, without the teacher driving",
        unit="agent_steps",
        device=torch_device(device),
        settings=asdict(settings),
        call=drive,
        variants={
            "collect": training.collect,
            "label": training.label,
            "learn": training.learn,
            "whole": training.whole,
        },
        variant_units={"label": "samples", "learn": "samples"},
        extra_metrics=lambda _: {"parameters": training.parameters},
        final_metrics=lambda variants: {
            "whole_samples_per_s": round(variants["whole"].per_s * training.samples_per_agent_step, 1)
        },
    )
