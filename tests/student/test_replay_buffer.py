"""The replay buffer: order, wrap-around, fairness, and an exact copy through a checkpoint."""

from __future__ import annotations

import io

import pytest
import torch

from student.dagger.beta_schedule import BetaSchedule
from student.dagger.replay_buffer import ReplayBuffer
from student.observation import Observation
from student.targets import Targets
from student.trajectory import Trajectory

HEIGHT, WIDTH, CAMERAS = 27, 48, 4


def numbered(first: int, count: int, make_observation) -> tuple[Observation, Targets]:
    """Samples whose action counts up from `first`."""
    observation = make_observation(count, seed=first)
    targets = Targets(
        Trajectory(torch.zeros(count, 8, 3)), torch.arange(first, first + count), torch.ones(count)
    )
    return observation, targets


def held(buffer: ReplayBuffer) -> list[int]:
    return sorted(buffer.get(torch.arange(len(buffer))).targets.action.tolist())


def make_buffer(capacity: int) -> ReplayBuffer:
    return ReplayBuffer(capacity, CAMERAS, HEIGHT, WIDTH)


def test_the_newest_samples_stay(make_observation) -> None:
    buffer = make_buffer(10)
    first = 0
    for count in (4, 3, 5, 1, 9):
        buffer.add(*numbered(first, count, make_observation))
        first += count
        assert held(buffer) == list(range(max(0, first - 10), first))
    buffer.add(*numbered(first, 25, make_observation))  # more than it can hold
    assert held(buffer) == list(range(first + 15, first + 25))
    assert buffer.added == first + 25


def test_samples_stay_whole(make_observation) -> None:
    """Pictures, ego and labels of one agent stay together through the ring."""
    buffer = make_buffer(7)
    for first in (0, 5):
        buffer.add(*numbered(first, 5, make_observation))
    latest = make_observation(5, seed=5)
    batch = buffer.get(torch.arange(7))
    for row in range(5):
        index = int((batch.targets.action == 5 + row).nonzero())
        assert torch.equal(batch.observation.images[index], latest.images[row])
        assert torch.equal(batch.observation.ego[index], latest.ego[row])


def test_sampling_is_fair_and_repeatable(make_observation) -> None:
    """10 samples drawn 4000 times: each count lies within 5 sigma of 400 (chance of failure below 1e-5)."""
    buffer = make_buffer(10)
    buffer.add(*numbered(0, 10, make_observation))
    drawn = buffer.sample(4000, torch.Generator().manual_seed(3)).targets.action
    counts = torch.bincount(drawn, minlength=10)
    assert (counts - 400).abs().max() < 5 * (4000 * 0.1 * 0.9) ** 0.5
    again = buffer.sample(4000, torch.Generator().manual_seed(3)).targets.action
    assert torch.equal(drawn, again)


def test_a_checkpoint_restores_every_byte(make_observation) -> None:
    buffer = make_buffer(300)
    buffer.add(*numbered(0, 290, make_observation))
    buffer.add(*numbered(290, 20, make_observation))
    file = io.BytesIO()
    torch.save(buffer.state_dict(), file)
    file.seek(0)
    copy = make_buffer(300)
    copy.load_state_dict(torch.load(file, weights_only=True))
    everything = torch.arange(300)
    for name in ("images", "ego", "command"):
        first, second = (getattr(b.get(everything).observation, name) for b in (buffer, copy))
        assert torch.equal(first, second)
    for both in (buffer, copy):
        both.add(*numbered(400, 3, make_observation))
    assert held(buffer) == held(copy)


def test_refusals(make_observation) -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        make_buffer(0)
    with pytest.raises(ValueError, match="buffer is empty"):
        make_buffer(3).sample(1, torch.Generator())
    small = make_buffer(3)
    small.add(*numbered(0, 2, make_observation))
    with pytest.raises(ValueError, match="holds 3 samples, the config asks for 4"):
        make_buffer(4).load_state_dict(small.state_dict())


def test_beta_falls_in_a_straight_line_to_zero() -> None:
    beta = BetaSchedule(1000)
    assert [beta(steps) for steps in (0, 250, 1000, 5000)] == [1.0, 0.75, 0.0, 0.0]
    assert BetaSchedule(0)(0) == 0.0
    with pytest.raises(ValueError, match="beta_steps=-1"):
        BetaSchedule(-1)
