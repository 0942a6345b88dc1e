"""`PixelWorldConfig`: what a student's worlds are made of, and who drives in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from renderer import CalibrationNoise
from simulator.conventions import POSE_SPACING_S
from simulator.reset.log_scenario import ReplayConfig
from student.bridge.labelling import LabelSight


@dataclass(frozen=True)
class PixelWorldConfig:
    """Worlds for a student. Physics, lights and dynamics are those that the teacher was trained in.

    A map is a town or a pack of recorded scenes (`womd.h5`, `womd.h5:train`, `womd.h5:NAME`, see
    `simulator.reset.map_set`). A world keeps its town or its pack: worlds of one pack start with its scenes in turn,
    and draw one at random for every later episode.

    `drive_with` selects the head of the student that drives. With `trajectory` a trajectory is planned every `plan_s`
    and tracked until the next one. With `actions` the student is given a new observation, and its most likely jerk
    action is applied, at every simulator step (`timestep_s` of the teacher's simulator); labels are still made every
    `plan_s`. With `mixed` some agents follow their trajectories and the others act, as in the paper; `trajectory_share`
    says how many, and they are drawn with each episode of a world. Any command takes these settings, for example
    `gigapixel student test --data.world.drive_with actions`.
    """

    maps: tuple[str, ...] = ("Town01", "Town02", "Town03", "Town04", "Town05")  # assigned to worlds in turn
    replay: ReplayConfig | None = field(default_factory=ReplayConfig)  # of scenes; none: spawn as in towns
    num_worlds: int = 8
    num_agents: int = 16  # per world
    episode_s: float = 30.0  # training resets a world after it
    num_goals: int = 3
    goal_spacing_m: tuple[float, float] = (40.0, 80.0)
    careful_share: float = 1.0  # share of worlds whose agents all have the default (evaluation) conditioning
    teacher: str = "pretrained"  # policy file of the teacher, or "pretrained"
    teacher_greedy: bool = False  # the teacher drives by its most likely action (labels always do)
    drive_with: Literal["trajectory", "actions", "mixed"] = "trajectory"  # heads that drive, see above
    trajectory_share: float | None = None
    """mixed: share of the agents that follow their trajectories; none: one agent of each world does."""
    target_points: int = 0  # of the route, that the student is given beside the command; set by model.policy
    plan_s: float = 0.5  # time between two plans (2 Hz), a multiple of 0.5 s
    incomplete_labels: Literal["drop", "mask"] = "drop"
    """Labels of agents that crash, leave the road or arrive within the teacher's 4 s: not used, or used with the poses
    before that moment (training only)."""
    label_sight: LabelSight = "all"
    """Which other agents the teacher observes while it labels: all in its range, those that no other box occludes, or
    those of them that are in the view of a camera. Its driving is as ever."""
    students: Literal["all", "one"] = "all"  # one: of each world; the teacher drives its other agents
    cameras: str | None = None  # camera file such as configs/cameras/nuplan.yaml; none: nuPlan's four
    calibration_noise: CalibrationNoise = field(default_factory=CalibrationNoise)  # of each agent; none
    calibration_rigs: int = 8  # perturbed rigs, if there is noise; each costs a call of the renderer
    height_px: int = 54
    width_px: int = 96
    backend: str = "auto"  # of the renderer

    def __post_init__(self) -> None:
        if not self.maps:
            raise ValueError("world.maps is empty; name at least one town or scene pack")
        if self.target_points < 0:
            raise ValueError(f"world.target_points={self.target_points} must not be negative (0: none)")
        for name in ("num_worlds", "num_agents", "calibration_rigs"):
            if getattr(self, name) < 1:
                raise ValueError(f"world.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.careful_share <= 1:
            raise ValueError(f"world.careful_share={self.careful_share} must lie in [0, 1]")
        if self.drive_with not in ("trajectory", "actions", "mixed"):
            raise ValueError(
                f"world.drive_with={self.drive_with!r} is unknown; use 'trajectory', 'actions' or 'mixed'"
            )
        if self.trajectory_share is not None and not 0 <= self.trajectory_share <= 1:
            raise ValueError(f"world.trajectory_share={self.trajectory_share} must lie in [0, 1], or be null")
        if self.incomplete_labels not in ("drop", "mask"):
            raise ValueError(
                f"world.incomplete_labels={self.incomplete_labels!r} is unknown; use 'drop' or 'mask'"
            )
        if self.label_sight not in ("all", "unoccluded", "cameras"):
            raise ValueError(
                f"world.label_sight={self.label_sight!r} is unknown; use 'all', 'unoccluded' or 'cameras'"
            )
        if self.students not in ("all", "one"):
            raise ValueError(f"world.students={self.students!r} is unknown; use 'all' or 'one'")
        periods = self.plan_s / POSE_SPACING_S
        if periods < 1 or abs(periods - round(periods)) > 1e-6 or periods > 4:
            raise ValueError(f"world.plan_s={self.plan_s} must be 0.5, 1.0, 1.5 or 2.0 s")
