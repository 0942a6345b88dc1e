"""The replay buffer: order, wrap-around, fairness, and an exact copy through a checkpoint."""

from __future__ import annotations

import io

import pytest
import torch

from student.batch import Batch, Label
from student.dagger.beta_schedule import BetaSchedule
from student.dagger.replay_buffer import ReplayBuffer
from student.trajectory import Trajectory


def numbered(first: int, count: int, make_observation) -> Batch:
    """Samples whose action counts up from `first`, with other fields drawn by `first`."""
    random = torch.Generator().manual_seed(first)
    trajectory = Trajectory(torch.randn(count, 8, 3, generator=random))
    action = torch.arange(first, first + count)
    label = Label(trajectory, torch.rand(count, generator=random) < 0.5, action)
    return Batch(make_observation(count, seed=first), label, torch.rand(count, generator=random))


def held(buffer: ReplayBuffer) -> list[int]:
    return sorted(buffer.get(torch.arange(len(buffer))).label.action.tolist())


def test_the_newest_samples_stay(make_observation) -> None:
    buffer = ReplayBuffer(10)
    first = 0
    for count in (4, 3, 5, 1, 9):
        buffer.add(numbered(first, count, make_observation))
        first += count
        assert held(buffer) == list(range(max(0, first - 10), first))
    buffer.add(numbered(first, 25, make_observation))  # more than it can hold
    assert held(buffer) == list(range(first + 15, first + 25))
    assert buffer.added == first + 25


def test_samples_stay_whole(make_observation) -> None:
    """Every field of a sample stays with its other fields through the ring."""
    buffer = ReplayBuffer(7)
    for first in (0, 5):
        buffer.add(numbered(first, 5, make_observation))
    latest = numbered(5, 5, make_observation).tensors()
    rows = buffer.get(torch.arange(7)).tensors()
    assert rows.keys() == latest.keys()
    for sample in range(5):
        row = int((rows["action"] == 5 + sample).nonzero())
        for name, values in latest.items():
            assert torch.equal(rows[name][row], values[sample]), name
            assert rows[name].dtype == values.dtype, name


def test_chosen_rows_are_added_as_if_they_were_a_batch_of_their_own(make_observation) -> None:
    """Also where they wrap around the end of the ring, and where none is chosen."""
    one, other = ReplayBuffer(7), ReplayBuffer(7)
    for first in (0, 9, 18):
        batch = numbered(first, 9, make_observation)
        chosen = batch.label.valid & (first != 9)
        one.add(batch, chosen)
        other.add(batch[chosen])
        assert (one.size, one.added) == (other.size, other.added)
    rows, expected = (buffer.get(torch.arange(len(buffer))).tensors() for buffer in (one, other))
    assert all(torch.equal(rows[name], values) for name, values in expected.items())


def test_sampling_is_fair_and_repeatable(make_observation) -> None:
    """10 samples drawn 4000 times: each count lies within 5 sigma of 400 (chance of failure below 1e-5)."""
    buffer = ReplayBuffer(10)
    buffer.add(numbered(0, 10, make_observation))
    drawn = buffer.sample(4000, torch.Generator().manual_seed(3)).label.action
    counts = torch.bincount(drawn, minlength=10)
    assert (counts - 400).abs().max() < 5 * (4000 * 0.1 * 0.9) ** 0.5
    again = buffer.sample(4000, torch.Generator().manual_seed(3)).label.action
    assert torch.equal(drawn, again)


def test_a_checkpoint_restores_every_byte(make_observation) -> None:
    buffer = ReplayBuffer(300)
    buffer.add(numbered(0, 290, make_observation))
    buffer.add(numbered(290, 20, make_observation))
    file = io.BytesIO()
    torch.save(buffer.state_dict(), file)
    file.seek(0)
    copy = ReplayBuffer(300)
    copy.load_state_dict(torch.load(file, weights_only=True))
    everything = torch.arange(300)
    second = copy.get(everything).tensors()
    for name, values in buffer.get(everything).tensors().items():
        assert torch.equal(values, second[name]), name
    for both in (buffer, copy):
        both.add(numbered(400, 3, make_observation))
    assert held(buffer) == held(copy)


def test_an_empty_buffer_survives_a_checkpoint(make_observation) -> None:
    copy = ReplayBuffer(3)
    copy.add(numbered(7, 2, make_observation))
    copy.load_state_dict(ReplayBuffer(3).state_dict())
    assert len(copy) == copy.added == 0


def test_refusals(make_observation) -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        ReplayBuffer(0)
    with pytest.raises(ValueError, match="buffer is empty"):
        ReplayBuffer(3).sample(1, torch.Generator())
    small = ReplayBuffer(3)
    small.add(numbered(0, 2, make_observation))
    with pytest.raises(ValueError, match="holds 3 samples, the config asks for 4"):
        ReplayBuffer(4).load_state_dict(small.state_dict())
    state = small.state_dict()
    rows = {name: values for name, values in state["rows"].items() if name != "valid"}
    with pytest.raises(ValueError, match="replay buffer has no field 'valid'"):
        ReplayBuffer(3).load_state_dict({**state, "rows": rows})
    with pytest.raises(ValueError, match="older version, without the field image_shape"):
        ReplayBuffer(3).load_state_dict(
            {name: value for name, value in state.items() if name != "image_shape"}
        )


def test_beta_falls_in_a_straight_line_to_zero() -> None:
    beta = BetaSchedule(1000)
    assert [beta(steps) for steps in (0, 250, 1000, 5000)] == [1.0, 0.75, 0.0, 0.0]
    assert BetaSchedule(0)(0) == 0.0
    with pytest.raises(ValueError, match="beta_steps=-1"):
        BetaSchedule(-1)
