"""The student: plans from camera images, trained by DAgger with the privileged teacher as expert.

Importing this package loads torch and never JAX; importing `student.world.config`, `student.bridge.scene` or
`student.dagger.data` loads both.
"""

from student.batch import Batch, Label
from student.checkpoint import load_policy, save_policy
from student.network.policy import Plan, PolicyConfig, StudentPolicy
from student.observation import Command, Observation
from student.trajectory import Trajectory

__all__ = [
    "Batch",
    "Command",
    "Label",
    "Observation",
    "Plan",
    "PolicyConfig",
    "StudentPolicy",
    "Trajectory",
    "load_policy",
    "save_policy",
]
