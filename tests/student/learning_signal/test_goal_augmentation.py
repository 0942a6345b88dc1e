"""Goal augmentation: other routes begin where the agents are, and labels follow the commands that go with them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from simulator.config import ROUTE_SPACING_M
from simulator.reset.other_routes import BESIDE_M, TURNED_RAD, with_other_routes
from student.batch import Batch, turn_weights
from student.dagger.goal_augmentation import GoalAugmentation, samples_elsewhere
from student.observation import Command
from student.sub_scores import SUB_SCORES, JudgedProposals
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    return PixelWorld(CONFIG)


@pytest.fixture(scope="module")
def crossing(world: PixelWorld) -> PixelWorld:
    """The same worlds some seconds later, when more agents are near junctions."""
    world.reset(2)
    world.assign_teacher(1.0)
    for _ in range(4):
        world.follow(None)
    return world


def test_other_routes_begin_beside_the_agents_and_follow_lanes(crossing: PixelWorld) -> None:
    state = crossing.state
    which = jnp.ones(state.yaw.shape, bool).at[1].set(False)
    routes = partial(with_other_routes, config=crossing.simulator)
    other, changed = jax.jit(jax.vmap(routes, (0, 0, 0, None)))(
        jax.random.split(jax.random.key(0), 2), state, which, crossing.atlas
    )
    changed = np.asarray(changed)
    assert changed[0].sum() >= 3
    assert not changed[1].any()
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(old)[1], np.asarray(new)[1])
    np.testing.assert_array_equal(other.position, state.position)
    route = np.asarray(other.scenario.route)[changed]
    start = route[:, 0, :2] - np.asarray(state.position)[changed][:, :2]
    assert np.linalg.norm(start, axis=1).max() < BESIDE_M + 0.1
    facing = (
        np.cos(np.asarray(state.yaw)[changed]) * route[:, 0, 2]
        + np.sin(np.asarray(state.yaw)[changed]) * (route[:, 0, 3])
    )
    assert facing.min() > np.cos(TURNED_RAD)
    step = np.linalg.norm(np.diff(route[:, :30, :2], axis=1), axis=-1)
    assert step.max() < 1.3 * ROUTE_SPACING_M, (
        "stations follow one another; on a lane change they are farther apart"
    )
    goal = np.asarray(other.scenario.goal_m)[changed]
    assert (goal[:, 0] > 0).all()
    assert (np.asarray(other.scenario.num_goals)[changed] >= 1).all()
    assert (np.asarray(other.goal_index)[changed] == 0).all()


def test_the_label_turns_where_the_other_command_says(world: PixelWorld) -> None:
    """Over some states: labels under LEFT end turned to the left of those under RIGHT, and the worlds stay."""
    yaw: dict[int, list[float]] = {int(command): [] for command in Command}
    for seed in range(6):
        world.reset(seed)
        world.assign_teacher(1.0)
        for _ in range(3):
            world.follow(None)
            before = np.asarray(world.state.position)
            observation = world.observe()
            label, told = world.label_elsewhere(1.0)
            np.testing.assert_array_equal(np.asarray(world.state.position), before)
            assert (told.command.argmax(1) != observation.command.argmax(1))[label.valid].all()
            for row in label.valid.nonzero()[:, 0].tolist():
                if label.trajectory.poses[row, -1, :2].norm() > 15.0:  # far enough to be in the turn
                    yaw[int(told.command[row].argmax())].append(float(label.trajectory.poses[row, -1, 2]))
    left, right = yaw[Command.LEFT], yaw[Command.RIGHT]
    assert min(len(left), len(right)) >= 3
    assert np.mean(left) > 0.3
    assert np.mean(right) < -0.3


def test_nobody_goes_elsewhere_at_share_zero(crossing: PixelWorld) -> None:
    assert not crossing.label_elsewhere(0.0)[0].valid.any()


def test_extra_samples_have_the_same_pictures_and_no_say_on_judged_proposals(crossing: PixelWorld) -> None:
    observation, label = crossing.observe(), crossing.label()
    agents = len(observation)
    judged = JudgedProposals(
        torch.zeros(agents, 2, 8, 3),
        torch.ones(agents, 2, len(SUB_SCORES)),
        torch.ones(agents, 2, len(SUB_SCORES), dtype=torch.bool),
    )
    batch = Batch(observation, label, turn_weights(label.trajectory), judged)
    found = list(samples_elsewhere(crossing, batch, GoalAugmentation(labels=4, share=1.0), 5.0))
    assert len(found) == 4
    extra = [one for one in found if len(one)]
    assert extra, "somebody is near a junction"
    for one in extra:
        assert one.judged is not None
        assert not one.judged.sub_scores_valid.any()
        assert one.label.valid.all()
        for row in range(len(one)):
            same = (observation.images == one.observation.images[row]).flatten(1).all(1)
            assert same.any()
            assert not torch.equal(observation.command[same][0], one.observation.command[row])
    assert not list(samples_elsewhere(crossing, batch, GoalAugmentation(), 5.0)), "off by default"
    assert torch.equal(replace(batch).weight, batch.weight)


def test_beside_a_recorded_scene_of_one_lane(world: PixelWorld, scene_pack: Path) -> None:
    """A town and a recorded scene in one batch, driven by both heads: in the scene there is no other way."""
    config = replace(CONFIG, maps=("Town02", str(scene_pack)), drive_with="mixed")
    both = PixelWorld(config, teacher=world.teacher)
    both.assign_teacher(0.0)
    recorded = both.ego_agents >= CONFIG.num_agents
    assert recorded.any()
    assert both.followers[1].sum() == 1
    label, told = both.label_elsewhere(1.0)
    assert torch.isfinite(label.trajectory.poses).all()
    assert (told.command.sum(1) == 1).all()
    assert not label.valid[recorded].any()
    plan = both.start_plan(label.trajectory)
    before = np.asarray(both.state.position)
    both.act_beside(plan, label.action[both.acting])
    moved = np.linalg.norm(np.asarray(both.state.position) - before, axis=-1)[1]
    assert (moved[np.asarray(both.state.active)[1]] > 0.3).all()


@pytest.mark.parametrize(
    ("settings", "sentence"), [({"labels": -1}, r"goals\.labels=-1"), ({"share": 0.0}, r"goals\.share=0\.0")]
)
def test_refusals(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GoalAugmentation(**settings)
