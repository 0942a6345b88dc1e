"""The student: drives from pictures alone, taught by the privileged teacher in self-play.

Importing this package loads torch and never JAX; `student.pixel_world`, `student.bridge` and what builds on them
(`student.dagger.data`) do.
"""

from student.checkpoint import load_policy, save_policy
from student.network.policy import Plan, PolicyConfig, StudentPolicy
from student.observation import Command, Observation
from student.targets import Batch, Targets
from student.trajectory import Trajectory

__all__ = [
    "Batch",
    "Command",
    "Observation",
    "Plan",
    "PolicyConfig",
    "StudentPolicy",
    "Targets",
    "Trajectory",
    "load_policy",
    "save_policy",
]
