"""Some agents follow their trajectories and the others act: each as in worlds where all do the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simulator.conventions import COAST, HARDEST_BRAKING, NUM_JERK_ACTIONS
from student.bridge.mixed_driving import GROUP_METRICS
from student.dagger.closed_loop import drive_until_next_plan
from student.network.encoders import EncoderConfig
from student.network.plan import Plan
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.observation import Observation
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)
TINY = PolicyConfig(
    EncoderConfig(features=16, channels=(8, 16)), PlannerConfig(hidden=32, layers=1), 4, 27, 48
)


class Scripted(StudentPolicy):
    """Plans to go straight on at its speed, coasts at the first call and brakes at the later ones."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.observations = list[Observation]()

    def forward(self, observation: Observation) -> Plan:
        """The same for all agents."""
        action = HARDEST_BRAKING if self.observations else COAST
        self.observations.append(observation)
        agents = len(observation)
        poses = torch.zeros(agents, 8, 3)
        poses[:, :, 0] = observation.ego[:, :1] * 10.0 * 0.5 * torch.arange(1, 9)
        logits = torch.nn.functional.one_hot(torch.full((agents,), action), NUM_JERK_ACTIONS).float()
        return Plan(Trajectory(poses), logits, torch.zeros(agents, 4, 1))


@pytest.fixture(scope="module")
def following() -> PixelWorld:
    return PixelWorld(CONFIG)


@pytest.fixture(scope="module")
def acting(following: PixelWorld) -> PixelWorld:
    return PixelWorld(replace(CONFIG, drive_with="actions"), teacher=following.teacher)


@pytest.fixture(scope="module")
def mixed(following: PixelWorld) -> PixelWorld:
    config = replace(CONFIG, drive_with="mixed", trajectory_share=0.5)
    return PixelWorld(config, teacher=following.teacher)


def positions_after_a_plan(world: PixelWorld, beta: float = 0.0) -> tuple[np.ndarray, Scripted]:
    world.reset(21)
    world.assign_teacher(beta)
    policy = Scripted()
    drive_until_next_plan(world, policy, world.observe())
    return np.asarray(world.state.position), policy


def test_each_group_moves_as_if_all_did_the_same(
    following: PixelWorld, acting: PixelWorld, mixed: PixelWorld
) -> None:
    followed, _ = positions_after_a_plan(following)
    acted, _ = positions_after_a_plan(acting)
    both, _ = positions_after_a_plan(mixed)
    group = mixed.followers
    assert 2 <= group.sum() <= 10
    np.testing.assert_allclose(both[group], followed[group], atol=1e-4)
    np.testing.assert_allclose(both[~group], acted[~group], atol=1e-4)
    assert np.abs(followed - acted).max() > 0.05, "the heads do not agree"
    assert mixed.agent_steps == acting.agent_steps == following.agent_steps > 0


def test_followers_and_the_teachers_agents_are_not_asked_between_plans(mixed: PixelWorld) -> None:
    _, policy = positions_after_a_plan(mixed, beta=0.4)
    first, second = policy.observations
    assert mixed.steps_per_plan == 2
    students = ~(mixed.followers | np.asarray(mixed.teacher_mask))
    driving = torch.from_numpy(students.reshape(-1)[mixed.ego_agents.numpy()])
    assert 0 < len(second) == int(driving.sum()) < len(first)
    assert torch.equal(mixed.acting, driving)
    some = mixed.observe(driving)
    assert torch.equal(some.images, mixed.observe().images[driving])
    assert torch.equal(some.ego, mixed.observe().ego[driving])


def test_without_a_share_one_agent_of_each_world_follows(following: PixelWorld) -> None:
    world = PixelWorld(replace(CONFIG, drive_with="mixed"), teacher=following.teacher)
    chosen = set()
    for seed in range(4):
        world.reset(seed)
        following.reset(seed)
        np.testing.assert_array_equal(world.state.position, following.state.position)
        assert (world.followers.sum(axis=1) == 1).all()
        assert np.asarray(world.state.spawned)[world.followers].all()
        chosen |= set(world.followers.argmax(axis=1).tolist())
    assert len(chosen) > 1
    assert not following.followers.any()


def test_metrics_of_the_groups_add_up(mixed: PixelWorld) -> None:
    """Means over the groups, weighted by their agents, are the means over all."""
    positions_after_a_plan(mixed)
    found = mixed.metrics()
    groups = [{name: found[f"{head}_{name}"] for name in GROUP_METRICS} for head in ("trajectory", "actions")]
    assert groups[0]["agents"] == mixed.followers.sum()
    agents = sum(group["agents"] for group in groups)
    assert agents == found["agents"] >= 10
    for name in GROUP_METRICS[:-1]:
        mean = sum(group[name] * group["agents"] for group in groups) / agents
        assert mean == pytest.approx(found[name], abs=1e-6)
    assert groups[0]["driving_score"] != groups[1]["driving_score"]


def test_a_group_without_agents_has_no_figures(following: PixelWorld) -> None:
    nobody = PixelWorld(
        replace(CONFIG, drive_with="mixed", trajectory_share=0.0), teacher=following.teacher
    ).metrics()
    assert nobody["trajectory_agents"] == 0
    assert nobody["trajectory_driving_score"] is None
    assert nobody["actions_agents"] == nobody["agents"]


def test_followers_are_drawn_with_the_episode_and_restored(mixed: PixelWorld) -> None:
    mixed.reset(21)
    first = mixed.followers.copy()
    saved = mixed.state_dict()
    for _ in range(5):
        mixed.state = mixed.state.replace(active=mixed.state.active.at[1].set(False))
        assert mixed.reset_finished() == 1
        np.testing.assert_array_equal(mixed.followers[0], first[0])
        if (mixed.followers[1] != first[1]).any():
            break
    else:
        pytest.fail("six episodes with the same followers: chance below 1e-6")
    mixed.load_state_dict(saved)
    np.testing.assert_array_equal(mixed.followers, first)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"world\.trajectory_share=1\.5 must lie in \[0, 1\], or be null"):
        PixelWorldConfig(drive_with="mixed", trajectory_share=1.5)
