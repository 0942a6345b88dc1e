"""Labels for the student: the teacher drives all agents for 4 s from a copy of the current state.

The state is immutable, so the fork of the paper (Gigapixel, section 3.2: "at each visited joint state the simulator is
forked") is a rollout that starts from the same pytree.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Key

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.conventions import NUM_POSES
from simulator.dynamics.bicycle import rear_poses
from simulator.poses import to_frame
from simulator.rollout import rollout, step_fn_of
from simulator.state import WorldState
from teacher.observation.occlusion import View
from teacher.policy import Policy, make_policy_fn


@struct.dataclass
class Label:
    """The teacher's trajectory and action for every agent of every world."""

    trajectory: ArrayField  # [worlds, agents, NUM_POSES, 3] x, y (m), yaw (rad) in the rear-axle frame of now
    valid: ArrayField  # [worlds, agents] bool: the agent drives now and still does after 4 s
    pose_valid: (
        ArrayField  # [worlds, agents, NUM_POSES] bool: the agent drives now and still does at this pose
    )
    action: ArrayField  # [worlds, agents] int32: the teacher's action in the current state


def label(
    key: Key[Array, ""],
    state: WorldState,
    policy: Policy,
    atlas: RoadAtlas,
    greedy: bool = True,
    view: View | None = None,
) -> Label:
    """Labels of batched worlds from a rollout of 4 s in which ``policy`` drives all agents; ``view`` as in
    `teacher.observation.observe.observe_worlds`. The key is consumed.

    A label is valid if the agent is active now and at the end of the rollout: it neither crashed, left the road nor
    arrived (an agent that has arrived is removed, so its later poses mean nothing). Of the others ``pose_valid`` tells
    the poses before that moment.
    """
    config, steps_per_pose = policy.simulator, policy.simulator.steps_per_pose
    keys = jax.random.split(key, NUM_POSES * steps_per_pose)
    final, (poses, actions, active) = rollout(
        make_policy_fn(policy, atlas, config, greedy, view),
        step_fn_of(atlas, config),
        state,
        keys,
        record=lambda step: (rear_poses(step.next_state), step.action, step.next_state.active),
    )
    at_poses = slice(steps_per_pose - 1, None, steps_per_pose)
    poses, active = (
        jnp.moveaxis(part[at_poses], 0, 2) for part in (poses, active)
    )  # [worlds, agents, poses, ...]
    trajectory = to_frame(poses, rear_poses(state)[:, :, None])
    return Label(
        trajectory=trajectory,
        valid=state.active & final.active,
        pose_valid=state.active[..., None] & active,
        action=actions[0],
    )
