"""Worlds in which some agents follow trajectories while the others act by jerks at every simulator step.

As in the paper (Gigapixel, section 3): the ego follows its plan through the LQR, the others act by a parallel head.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import rear_poses
from simulator.dynamics.jerk_actions import JERK_ACTIONS
from simulator.dynamics.mixed_actions import MixedAction, MixedActions
from simulator.dynamics.trajectory_actions import TRAJECTORY_ACTIONS, TrajectoryAction
from simulator.metrics.summary import summarise
from simulator.rollout import driving, has_ended, step_fn_of
from simulator.state import WorldState
from teacher.observation.observe import observe_worlds
from teacher.policy import Policy

JERKS_OR_TRAJECTORIES = MixedActions((JERK_ACTIONS, TRAJECTORY_ACTIONS))
"""How agents move while the teacher drives some of them and the student plans for the others, or where some of the
student's follow their plans and some act."""
GROUP_METRICS = (
    "driving_score",
    "goal_rate",
    "collision_rate",
    "offroad_rate",
    "red_light_rate",
    "agents",
)
"""What `metrics_by_head` says of each group."""
FOLLOWERS_STREAM = 20
"""Folded into the key of an episode, so that its worlds are the same whoever follows a trajectory."""


@struct.dataclass
class StartedPlan:
    """Trajectories that are being followed."""

    poses: ArrayField  # [worlds, agents, poses, 3] of the rear axle, in the frame of ``start``
    start: ArrayField  # [worlds, agents, 3] rear-axle poses in the world when the trajectories were made
    step: ArrayField  # [worlds] int32: the worlds' step then


@jax.jit
def start_plan(state: WorldState, poses: Float[Array, "worlds agents poses 3"]) -> StartedPlan:
    """Trajectories that start now."""
    return StartedPlan(poses, rear_poses(state), state.step)


def draw_followers(
    episode_key: Key[Array, ""], spawned: Bool[Array, " agents"], share: float | None
) -> Bool[Array, " agents"]:
    """Which of the ``spawned`` agents of one world follow their trajectories: each with probability ``share``, or,
    without a share, one of them."""
    draw = jax.random.uniform(jax.random.fold_in(episode_key, FOLLOWERS_STREAM), spawned.shape)
    if share is not None:
        return spawned & (draw < share)
    first = jnp.argmax(jnp.where(spawned, draw, -1.0))
    return spawned & (jnp.arange(spawned.shape[0]) == first)


@partial(jax.jit, static_argnames=("rules", "teacher_drives", "greedy"))
def drive_mixed_step(
    key: Key[Array, ""],
    state: WorldState,
    by_teacher: Bool[Array, "worlds agents"],
    follows: Bool[Array, "worlds agents"],
    plan: StartedPlan,
    action: Int[Array, "worlds agents"],
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    teacher_drives: bool,
    greedy: bool,
) -> tuple[WorldState, Int[Array, ""]]:
    """Drives all worlds for one step; returns the next state and the agent-steps taken. The key is consumed.

    Agents act by the teacher where ``by_teacher``; of the others those that ``follows`` names follow ``plan`` and the
    rest take their jerk ``action``. ``teacher_drives`` says at compile time whether the teacher is evaluated at all.
    Worlds whose log has ended do not change.
    """
    age_s = (state.step - plan.step).astype(jnp.float32) * rules.timestep_s
    followed = TrajectoryAction(plan.poses, plan.start, jnp.broadcast_to(age_s[:, None], follows.shape))
    if teacher_drives:
        observation = observe_worlds(state, atlas, rules, teacher.observation)
        action = jnp.where(by_teacher, teacher.act(observation, key, greedy), action)
    chosen = MixedAction(jnp.where(follows & ~by_teacher, 1, 0), (action, followed))
    stop = None if state.scenario.log is None else has_ended
    return step_fn_of(atlas, rules, JERKS_OR_TRAJECTORIES, stop)(state, chosen)[0], driving(state).sum()


def metrics_by_head(
    state: WorldState, followers: Bool[np.ndarray, "worlds agents"]
) -> dict[str, float | None]:
    """GROUP_METRICS of the agents that follow trajectories and of those that act, as `trajectory_goal_rate` and
    `actions_goal_rate`; None, and 0 agents, where a group is empty."""
    found: dict[str, float | None] = {}
    for head, agents in (("trajectory", followers), ("actions", ~followers)):
        group = replace(state, spawned=state.spawned & agents)
        part: dict[str, float | int | None] = {"agents": 0}
        if np.asarray(group.spawned).any():
            part = summarise(group, 0, 0.0).to_json()
        found |= {f"{head}_{name}": part.get(name) for name in GROUP_METRICS}
    return found
