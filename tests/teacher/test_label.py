"""Labels: frames by hand, the fork leaves the world alone, and a label is what the teacher then really does."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.conventions import NUM_POSES
from simulator.dynamics.bicycle import rear_poses
from simulator.poses import to_frame
from simulator.rollout import reset_worlds, rollout_worlds
from simulator.state import WorldState
from teacher.label import label
from teacher.policy import Policy, load_policy, make_policy_fn

ATLAS = ["Town02"]


@pytest.fixture(scope="module")
def policy() -> Policy:
    loaded = load_policy("pretrained")
    return loaded.replace(simulator=dataclasses.replace(loaded.simulator, num_agents=6, num_goals=3))


@pytest.fixture(scope="module")
def worlds(policy: Policy) -> WorldState:
    build = jax.jit(partial(reset_worlds, config=policy.simulator, num_worlds=4))
    return build(jax.random.key(2), load_atlas(ATLAS))


@pytest.fixture(scope="module")
def fork(policy: Policy, worlds: WorldState):
    return jax.jit(label)(jax.random.key(0), worlds, policy, load_atlas(ATLAS))


def test_frame_change_by_hand() -> None:
    # seen from (1, 2) heading north, a point 3 m further north heading west is 3 m ahead, turned a quarter left
    seen = to_frame(jnp.array([1.0, 5.0, np.pi]), jnp.array([1.0, 2.0, np.pi / 2]))
    np.testing.assert_allclose(seen, [3.0, 0.0, np.pi / 2], atol=1e-6)


def test_shapes_and_first_metres(fork, worlds: WorldState) -> None:
    assert fork.trajectory.shape == (4, 6, NUM_POSES, 3)
    valid = np.asarray(fork.valid)
    assert valid.mean() > 0.3
    reach = np.linalg.norm(np.asarray(fork.trajectory)[..., 0, :2], axis=-1)[valid]
    speed = np.abs(np.asarray(worlds.speed))[valid]
    assert (np.abs(reach - 0.5 * speed) < 0.5 * 0.5 * 5.0 * 0.5 + 0.6).all(), (
        "half a second from a speed and |a| <= 5"
    )


def test_the_label_is_where_the_teacher_then_goes(fork, policy: Policy, worlds: WorldState) -> None:
    """Driving all agents by the same greedy teacher for 4 s ends at the last pose of every valid label."""
    atlas = load_atlas(ATLAS)
    choose = make_policy_fn(policy, atlas, policy.simulator, greedy=True)
    steps = NUM_POSES * policy.simulator.steps_per_pose
    final, _ = jax.jit(lambda key, state: rollout_worlds(choose, key, state, atlas, policy.simulator, steps))(
        jax.random.key(9), worlds
    )
    valid = np.asarray(fork.valid)
    ends = to_frame(rear_poses(final), rear_poses(worlds))
    np.testing.assert_allclose(
        np.asarray(ends)[valid], np.asarray(fork.trajectory)[..., -1, :][valid], atol=1e-3
    )
    np.testing.assert_array_equal(np.asarray(final.active & worlds.active), valid)


def test_crashing_agents_get_no_label(policy: Policy, worlds: WorldState) -> None:
    """Two agents put nose to nose at speed cannot avoid each other: neither label is valid."""
    heading = jnp.stack([jnp.cos(worlds.yaw[:, 0]), jnp.sin(worlds.yaw[:, 0]), jnp.zeros(4)], axis=-1)
    size = worlds.scenario.size.at[:, :2].set(jnp.array([4.5, 2.0, 1.5]))
    facing = worlds.replace(
        position=worlds.position.at[:, 1].set(worlds.position[:, 0] + 6.0 * heading),
        yaw=worlds.yaw.at[:, 1].set(worlds.yaw[:, 0] + np.pi),
        speed=worlds.speed.at[:, :2].set(10.0),
        active=jnp.ones_like(worlds.active),
        present=jnp.ones_like(worlds.present),
        scenario=worlds.scenario.replace(size=size),
    )
    found = jax.jit(label)(jax.random.key(0), facing, policy, load_atlas(ATLAS))
    assert not found.valid[:, :2].any()
