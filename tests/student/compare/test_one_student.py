"""One student among teachers: exactly one agent of each world is observed, labelled and driven by the student."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from student.dagger.closed_loop import ClosedLoopConfig
from student.dagger.data import OnPolicyData
from student.network.policy import PolicyConfig, StudentPolicy
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.one_student import OneStudent
from student.world.pixel_world import PixelWorld

CONFIG = PixelWorldConfig(
    maps=("Town02",),
    num_worlds=2,
    num_agents=6,
    teacher_greedy=True,
    height_px=27,
    width_px=48,
    students="one",
)


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    """Two worlds of six agents, one of each the student."""
    return PixelWorld(CONFIG)


def test_a_student_stays_until_it_no_longer_drives() -> None:
    chooser = OneStudent(2)
    chooser.reset(0)
    drives = torch.tensor([[True] * 4, [False, True, False, False]])
    first = chooser.mask(drives)
    assert first.sum(1).tolist() == [1, 1]
    assert first[1, 1]
    assert torch.equal(chooser.mask(drives), first)
    assert torch.equal(chooser.mask(drives & (first | ~first)), first)
    gone = drives & ~first
    second = chooser.mask(gone)
    assert second.sum(1).tolist() == [1, 0]
    assert not (second & first).any()
    again = torch.stack([chooser.mask(drives)[0] for _ in range(3)])
    assert (again == second[0]).all(), "it does not return to the first one"


def test_students_are_drawn_evenly_and_anew_for_each_episode() -> None:
    chooser = OneStudent(1)
    chooser.reset(5)
    counts = torch.zeros(4)
    for _ in range(2000):
        chooser.begin_episode(0)
        counts += chooser.mask(torch.tensor([[True, True, False, True]]))[0]
    assert counts[2] == 0
    assert (counts[[0, 1, 3]] > 2000 / 3 - 5 * 21).all(), "five standard deviations of a binomial"


def test_only_the_student_of_each_world_is_seen_and_labelled(world: PixelWorld) -> None:
    world.reset(1)
    assert (world.ego_agents // 6).tolist() == [0, 1]
    assert len(world.observe()) == len(world.label()) == 2
    whole = PixelWorld(replace(CONFIG, students="all"), teacher=world.teacher)
    whole.reset(1)
    np.testing.assert_array_equal(np.asarray(whole.state.position), np.asarray(world.state.position))
    rows = torch.isin(whole.ego_agents, world.ego_agents)
    assert torch.equal(whole.observe().images[rows], world.observe().images)
    assert torch.equal(whole.label().trajectory.poses[rows], world.label().trajectory.poses)


def test_the_teacher_drives_the_others(world: PixelWorld) -> None:
    """While the student stands still, the others move as if the teacher drove all, until they would meet it."""
    world.reset(3)
    world.assign_teacher(0.0)
    students = np.asarray(~world.teacher_mask)
    assert students.sum(1).tolist() == [1, 1]
    np.testing.assert_array_equal(students.ravel().nonzero()[0], world.ego_agents.numpy())
    start = np.asarray(world.state.position)
    world.follow(Trajectory(torch.zeros(2, 8, 3)))
    driven = np.asarray(world.state.position)
    world.reset(3)
    world.assign_teacher(1.0)
    assert np.asarray(world.teacher_mask).all()
    world.follow(None)
    by_teacher = np.asarray(world.state.position)
    np.testing.assert_allclose(driven[~students], by_teacher[~students], atol=1e-4)
    assert np.abs(driven - start)[~students].max() > 0.5
    assert np.abs(driven - by_teacher)[students].max() > 0.05


def test_a_checkpoint_keeps_the_students(world: PixelWorld) -> None:
    world.reset(4)
    state, students = world.state_dict(), world.ego_agents.clone()
    world.reset(5)
    world.load_state_dict(state)
    assert torch.equal(world.ego_agents, students)
    whole = PixelWorld(replace(CONFIG, students="all"), teacher=world.teacher)
    with pytest.raises(ValueError, match=r"world\.students='all', but the checkpoint was made with 'one'"):
        whole.load_state_dict(state)


def test_labels_count_what_is_learnt_from(tiny_config: PolicyConfig, torch_seed: None) -> None:
    """One label per world and decision at most; a share of them with `label_share`; and the teacher always drives
    where there is no beta."""
    policy = StudentPolicy(tiny_config)
    counts = {}
    for name, world, share in (
        ("one", CONFIG, 1.0),
        ("all", replace(CONFIG, students="all"), 1.0),
        ("half", replace(CONFIG, students="all"), 0.5),
    ):
        evaluated = ClosedLoopConfig(("Town02",), num_worlds=2, seconds=2.0)
        data = OnPolicyData(world, evaluated, beta_steps=None, decisions_per_epoch=4, label_share=share)
        data.setup("fit")
        data.collect(policy)
        assert data.world is not None
        assert data.world.teacher_drives_all
        assert data.statistics()["beta"] == 1.0
        counts[name] = data.labels
        assert len(data.episode(evaluated).world.ego_agents) > 2, "all agents are students in an evaluation"
    assert 0 < counts["one"] <= 4 * 2
    assert 0 < counts["half"] < counts["all"]
    assert counts["one"] < counts["all"]
    with pytest.raises(ValueError, match=r"data\.label_share=0 must lie in \(0, 1\]"):
        OnPolicyData(CONFIG, label_share=0)
