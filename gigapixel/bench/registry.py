"""The workloads of `gigapixel bench`: per room its settings and the function that makes the workload from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gigapixel.bench.harness import Workload
from gigapixel.bench.renderer import RendererSettings, renderer_workload
from gigapixel.bench.simulator import SimulatorSettings, simulator_workload
from gigapixel.bench.student import StudentSettings, student_workload
from gigapixel.bench.teacher import TeacherSettings, teacher_workload

WORKLOADS: dict[str, tuple[type, Callable[[Any], Workload]]] = {
    "simulator": (SimulatorSettings, simulator_workload),
    "renderer": (RendererSettings, renderer_workload),
    "teacher": (TeacherSettings, teacher_workload),
    "student": (StudentSettings, student_workload),
}
