"""The options of the learning signal together: what is collected, and that stopping and resuming changes nothing."""

from __future__ import annotations

import io

import pytest
import torch

from student.dagger.data import OnPolicyData
from student.dagger.goal_augmentation import GoalAugmentation
from student.losses import LossConfig, imitation_loss
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.world.config import PixelWorldConfig

WORLD = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, height_px=27, width_px=48,
    teacher_greedy=True, drive_with="mixed", incomplete_labels="mask", target_points=1,
)  # fmt: skip


@pytest.fixture
def policy(torch_seed: None) -> StudentPolicy:
    encoder = EncoderConfig(features=16, channels=(8, 16))
    return StudentPolicy(
        PolicyConfig(encoder, PlannerConfig(hidden=32, layers=1), 4, 27, 48, target_points=1)
    )


def new_data() -> OnPolicyData:
    data = OnPolicyData(
        WORLD, beta_steps=200, decisions_per_epoch=2, batch_size=16, buffer_capacity=200, balanced_share=0.5,
        goals=GoalAugmentation(labels=1), seed=3,
    )  # fmt: skip
    data.setup("fit")
    return data


def test_an_epoch_that_is_resumed_equals_one_that_was_not(policy: StudentPolicy) -> None:
    data = new_data()
    data.collect(policy)
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    data.collect(policy)
    batch = data.draw()
    again = new_data()
    again.load_state_dict(torch.load(file, weights_only=True))
    again.collect(policy)
    resumed = again.draw()
    names = {"pose_valid", "situation", "target_points", "images", "action"}
    assert names <= batch.tensors().keys()
    for name, values in batch.tensors().items():
        assert torch.equal(values, resumed.tensors()[name]), name
    assert data.agent_steps == again.agent_steps
    assert data.buffer is not None
    statistics = data.statistics()
    assert statistics["labels_elsewhere"] >= 0
    assert {"light_share", "turn_share", "near_others_share", "other_share"} <= statistics.keys()
    loss, _ = imitation_loss(policy(batch.observation), batch.label, batch.weight, LossConfig())
    loss.backward()
    assert torch.isfinite(loss)
