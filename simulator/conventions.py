"""The numbers and enumerations that more than one room must agree on, each defined once. Imports nothing.

Files that depend on them carry a `stamp` of the values that their kind of file depends on, and are refused by
`refuse_other` where they were made under others.
"""

from collections.abc import Iterable, Mapping

# Trajectories: labels, plans and the actions that follow them.
NUM_POSES = 8
"""Poses of a trajectory (NAVSIM: 8)."""
POSE_SPACING_S = 0.5
"""Time between two poses of a trajectory, s (NAVSIM: 0.5). The simulator's time step must divide it."""
HORIZON_S = NUM_POSES * POSE_SPACING_S
"""Time from now to the last pose of a trajectory, s."""

# Traffic participants.
CAR, TRUCK, CYCLIST, PEDESTRIAN, STATIC = range(5)
KIND_NAMES = ("car", "truck", "cyclist", "pedestrian")
"""Kinds of agents. Boxes that are drawn may also be STATIC (barriers, cones); no agent is."""
WHEELBASE_RATIO = 0.6
"""Wheelbase over length of a vehicle (PufferDrive); the axles lie symmetrically about the centre of its box."""
STANDSTILL_MPS = 0.1
"""An agent slower than this stands still (CARLA's leaderboard)."""

# Required signal at a stop line: none, a light's three colours, a full stop (stop sign), yielding (yield sign).
OFF, GREEN, YELLOW, RED, STOP, YIELD = range(6)
NUM_LINE_STATES = 6

# GIGAFLOW's discrete actions: every pair of a longitudinal and a lateral jerk, longitudinal first.
LONGITUDINAL_JERKS_MPS3 = (-15.0, -4.0, 0.0, 4.0)
LATERAL_JERKS_MPS3 = (-4.0, 0.0, 4.0)  # left positive
NUM_JERK_ACTIONS = len(LONGITUDINAL_JERKS_MPS3) * len(LATERAL_JERKS_MPS3)
COAST = LONGITUDINAL_JERKS_MPS3.index(0.0) * len(LATERAL_JERKS_MPS3) + LATERAL_JERKS_MPS3.index(0.0)
"""The action without any jerk."""
HARDEST_BRAKING = LATERAL_JERKS_MPS3.index(0.0)
"""The action that brakes hardest, straight ahead."""

TRAIT_NAMES = (
    "collision",
    "offroad",
    "red_light",
    "comfort",
    "lane_align",
    "lane_center",
    "center_bias",
    "progress",
    "reverse",
    "overspeed",
    "idle",
    "goal",
    "stop_sign",
    "align_speed",
    "moving",
)
"""Driver traits: the reward weights of one agent, each in [0, 1]. `teacher.reward` has their ranges and terms."""
NUM_TRAITS = len(TRAIT_NAMES)

# Differences in height (m) that tell one level of the road from another. What is compared differs, so the limits do.
LEVEL_GAP_M = 2.5
"""Two agents, or an agent and a lane, farther apart in height are on different levels."""
BRIDGE_CLEARANCE_M = 3.0
"""Lanes at one place with a larger gap between their heights are a road and a bridge over it: a truck fits between."""
OBSERVED_LEVEL_GAP_M = 4.0
"""A driver does not observe what lies higher or lower by more (ours: slopes 100 m ahead stay in view)."""
LANE_JOINT_GAP_M = 1.5
"""Lane ends farther apart in height do not join."""


SCENE_PACK_CONVENTIONS = ("kinds", "num_line_states")
"""What the arrays of a scene pack depend on."""
TEACHER_CONVENTIONS = ("kinds", "num_line_states", "longitudinal_jerks_mps3", "lateral_jerks_mps3", "traits")
"""What the weights of a teacher depend on. It acts by jerks, so the poses of a trajectory are not among them."""
STUDENT_CONVENTIONS = ("num_poses", "pose_spacing_s", *TEACHER_CONVENTIONS)
"""What the weights of a student depend on."""


def stamp(names: Iterable[str]) -> dict[str, object]:
    """This version's values of the conventions ``names`` (one of the tuples above), for a file's metadata."""
    values: dict[str, object] = {
        "num_poses": NUM_POSES,
        "pose_spacing_s": POSE_SPACING_S,
        "kinds": list(KIND_NAMES),
        "num_line_states": NUM_LINE_STATES,
        "longitudinal_jerks_mps3": list(LONGITUDINAL_JERKS_MPS3),
        "lateral_jerks_mps3": list(LATERAL_JERKS_MPS3),
        "traits": list(TRAIT_NAMES),
    }
    return {name: values[name] for name in names}


LONGEST_SHOWN = 300
"""Longer values of a file are cut in messages."""


def _equal(found: object, expected: object) -> bool:
    """Whether a value of a file is the expected one; tensors, which cannot be compared with lists, are not."""
    try:
        return bool(found == expected)
    except (RuntimeError, ValueError, TypeError):
        return False


def refuse_other(
    stored: Mapping[str, object],
    names: Iterable[str],
    where: str,
    remedy: str = "train it again, or use the version that made it",
) -> None:
    """Raises ValueError with one sentence where a file's stamp differs from this version's in one of ``names``.

    Other entries of ``stored`` are ignored. ``where`` names the file.
    """
    for name, here in stamp(names).items():
        if name not in stored:
            raise ValueError(f"{where}: its conventions do not say {name}; this version has {name}={here}")
        if not _equal(stored[name], here):
            found = " ".join(str(stored[name]).split())[:LONGEST_SHOWN]
            raise ValueError(
                f"{where}: made with {name}={found}, but this version has {name}={here} "
                f"(simulator/conventions.py); {remedy}"
            )
