"""What the teacher would do from here: fork the joint state, let the teacher drive every agent, record the paths.

State is immutable, so the fork of the paper (Gigapixel, section 3.2: "at each visited joint state the simulator is
forked") is simply a scan that starts from the same pytree; the original is untouched.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.conventions import NUM_POSES
from simulator.dynamics.bicycle import motion_of, rear_pose, to_rear_axle_frame, vehicle_of
from simulator.rollout import step_worlds
from simulator.state import WorldState
from teacher.observation.observe import observe
from teacher.policy import Policy


@struct.dataclass
class Label:
    """The teacher's answer for every agent of every world."""

    trajectory: ArrayField  # [worlds, agents, 8, 3] x, y (m), yaw (rad) in the current rear-axle frame
    valid: ArrayField  # [worlds, agents] bool: the agent drives now and neither crashes nor leaves within 4 s
    action: ArrayField  # [worlds, agents] int32: the teacher's action in the current state


def rear_poses(state: WorldState) -> Float[Array, "worlds agents 3"]:
    """World pose (x, y, yaw) of every agent's rear axle."""
    return rear_pose(motion_of(state), vehicle_of(state))


def label(
    key: Key[Array, ""], state: WorldState, policy: Policy, atlas: RoadAtlas, greedy: bool = True
) -> Label:
    """Rolls the teacher for 4 s from batched worlds. The key is consumed; ``state`` is not changed.

    An agent's label is valid when it is active now and still active at the end of the fork: neither crashed nor
    arrived (an arrived agent has left the world, so its later poses mean nothing).
    """
    config = policy.simulator

    def act(world: WorldState, act_key: Array) -> Array:
        seen = jax.vmap(observe, (0, None, None, None))(world, atlas, config, policy.observation)
        return policy.act(seen, act_key, greedy)

    def one(world: WorldState, step_key: Array) -> tuple[WorldState, tuple[Array, Array]]:
        action = act(world, step_key)
        following, _ = step_worlds(world, action, atlas, config)
        return following, (rear_poses(following), action)

    steps = NUM_POSES * config.steps_per_pose
    final, (poses, actions) = jax.lax.scan(one, state, jax.random.split(key, steps))
    poses = jnp.moveaxis(
        poses[config.steps_per_pose - 1 :: config.steps_per_pose], 0, 2
    )  # [worlds, agents, 8, 3]
    trajectory = to_rear_axle_frame(poses, rear_poses(state)[:, :, None])
    return Label(trajectory=trajectory, valid=state.active & final.active, action=actions[0])
