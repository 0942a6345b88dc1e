"""Classes of samples, and batches in which rare ones are as likely as frequent ones."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from simulator.conventions import GREEN, RED, YELLOW
from student.batch import Batch, Label
from student.dagger.data import OnPolicyData
from student.dagger.replay_buffer import ReplayBuffer
from student.dagger.situations import (
    LIGHT,
    LIGHT_M,
    NEAR_M,
    NEAR_OTHERS,
    OTHER,
    SITUATIONS,
    TURN,
    balanced_rows,
    situation_of,
)
from student.observation import Command, one_hot_command
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from teacher.observation.ego_frame import POSITION_SCALE_M
from teacher.observation.observe import EGO_WIDTH, observe_worlds
from teacher.observation.road import NEXT_LINE_WIDTH

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)


def test_the_first_class_that_applies() -> None:
    command = one_hot_command(torch.tensor([Command.LEFT, Command.RIGHT, Command.STRAIGHT, Command.UNKNOWN]))
    yes, no = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    assert situation_of(yes, yes, command).tolist() == [LIGHT] * 4
    assert situation_of(no, yes, command).tolist() == [TURN, TURN, NEAR_OTHERS, NEAR_OTHERS]
    assert situation_of(no, no, command).tolist() == [TURN, TURN, OTHER, OTHER]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shares_of_the_classes_in_a_batch(share: float) -> None:
    """90 samples of one class, 9 of another, 1 of a third, none of the fourth; of 6000 draws each class has
    share / 3 + (1 - share) * its part, within 5 sigma (chance of failure below 1e-5)."""
    situation = torch.tensor([OTHER] * 90 + [TURN] * 9 + [LIGHT])
    rows = balanced_rows(situation, 6000, share, torch.Generator().manual_seed(4))
    count = torch.bincount(situation[rows], minlength=len(SITUATIONS))
    for number, part in ((OTHER, 0.90), (TURN, 0.09), (LIGHT, 0.01), (NEAR_OTHERS, 0.0)):
        expected = share / 3 + (1 - share) * part if part else 0.0
        sigma = (6000 * expected * (1 - expected)) ** 0.5
        assert abs(int(count[number]) - 6000 * expected) <= 5 * sigma, SITUATIONS[number]
    again = balanced_rows(situation, 6000, share, torch.Generator().manual_seed(4))
    assert torch.equal(rows, again)


def test_the_buffer_keeps_classes_and_draws_by_them(make_observation) -> None:
    label = Label(Trajectory(torch.zeros(50, 8, 3)), torch.ones(50, dtype=torch.bool), torch.arange(50))
    situation = torch.full((50,), OTHER)
    situation[7] = LIGHT
    plain = Batch(make_observation(50), label, torch.ones(50))
    buffer, copy = ReplayBuffer(50), ReplayBuffer(50)
    buffer.add(replace(plain, situation=situation))
    copy.load_state_dict(buffer.state_dict())
    assert torch.equal(copy.situations(), situation)
    drawn = copy.sample(400, torch.Generator().manual_seed(0), balanced_share=1.0)
    assert abs(int((drawn.label.action == 7).sum()) - 200) < 50
    assert ((drawn.situation == LIGHT) == (drawn.label.action == 7)).all()
    without = ReplayBuffer(50)
    without.add(plain)
    assert "situation" not in without.state_dict()["rows"], "off by default"
    first, second = (
        one.sample(20, torch.Generator().manual_seed(0)).label.action for one in (without, buffer)
    )
    assert torch.equal(first, second), "without a share batches are drawn as ever"


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    world = PixelWorld(CONFIG)
    world.reset(5)
    return world


def test_agents_are_near_when_the_gap_is_small(world: PixelWorld) -> None:
    """Two cars of 4 m are moved onto a line: centres 4 m + NEAR_M apart, a little less, a little more."""
    straight = one_hot_command(torch.full((len(world.ego_agents),), int(Command.STRAIGHT)))
    state = world.state
    size = state.scenario.size.at[0, :2, 0].set(4.0)
    for gap, near in ((NEAR_M - 0.1, True), (NEAR_M + 0.1, False)):
        place = state.position.at[0].set(jnp.arange(6.0)[:, None] * jnp.array([500.0, 0.0, 0.0]))
        place = place.at[0, 1].set(place[0, 0] + jnp.array([0.0, 4.0 + gap, 0.0]))
        world.state = state.replace(
            position=place, present=state.present.at[0].set(True), scenario=state.scenario.replace(size=size)
        )
        found = world.situations(straight)[:2]
        assert ((found == NEAR_OTHERS) == near).all()
    world.state = state


def test_agents_before_a_red_light_are_in_its_class(world: PixelWorld) -> None:
    """Found among many states by the light that the teacher observes: it is red or yellow and near."""
    look = jax.jit(
        lambda state: observe_worlds(state, world.atlas, world.simulator, world.teacher.observation).ego
    )
    lines, classes = [], []
    for seed in range(6):
        world.reset(seed)
        world.assign_teacher(1.0)
        for _ in range(4):
            world.follow(None)
        line = np.asarray(look(world.state)).reshape(-1, EGO_WIDTH)[
            world.ego_agents.numpy(), -NEXT_LINE_WIDTH:
        ]
        lines.append(line)
        straight = one_hot_command(torch.full((len(world.ego_agents),), int(Command.STRAIGHT)))
        classes.append(world.situations(straight).numpy())
    line, found = np.concatenate(lines), np.concatenate(classes)
    stops = (line[:, RED] + line[:, YELLOW] > 0) & (line[:, 6] * POSITION_SCALE_M < LIGHT_M)
    np.testing.assert_array_equal(found == LIGHT, stops)
    assert stops.sum() >= 2
    assert (line[:, GREEN] > 0).any()


def test_an_epoch_draws_from_all_classes() -> None:
    """Through the data module: classes are collected, logged and drawn; without the option there are none."""
    data = OnPolicyData(
        CONFIG, balanced_share=0.8, decisions_per_epoch=3, batch_size=200, buffer_capacity=100
    )
    assert OnPolicyData(CONFIG).balanced_share == 0.0
    data.world, data.buffer = PixelWorld(CONFIG), ReplayBuffer(100)
    data.world.reset(1)
    for _ in range(3):
        batch = data.labelled(data.world)
        data.buffer.add(batch[batch.label.valid])
        data.world.assign_teacher(1.0)
        data.world.follow(None)
    held = data.buffer.situations()
    assert len(held.unique()) >= 2
    rarest = int(torch.bincount(held, minlength=4)[held.unique()].argmin())
    number = int(held.unique()[rarest])
    drawn = data.draw().situation
    assert drawn is not None
    assert (drawn == number).float().mean() > 0.5 * 0.8 / len(held.unique())
    shares = data.statistics()
    assert sum(shares[f"{name}_share"] for name in SITUATIONS) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"data\.balanced_share=1\.2 must lie in \[0, 1\]"):
        OnPolicyData(CONFIG, balanced_share=1.2)
