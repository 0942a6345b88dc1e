"""Small policies, made-up observations and a made-up recording for the student's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from simulator.conventions import NUM_TRAITS
from simulator.logs.scene_pack import ScenePackWriter
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig
from student.observation import Observation, ego_features, one_hot_command
from tests.recorded import recorded_scene

HEIGHT, WIDTH, CAMERAS = 27, 48, 4


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks on several threads only wait for each other, badly so beside other processes.

    For whole modules, so that runs made by their fixtures sum in the same order as runs made by their tests.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def scene_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded scenes of 6 s, whose lanes run east and north."""
    with ScenePackWriter(tmp_path_factory.mktemp("packs") / "two.h5") as writer:
        for name, yaw in (("east", 0.0), ("north", np.pi / 2)):
            writer.add(recorded_scene(name, yaw))
    return writer.path


@pytest.fixture
def tiny_config() -> PolicyConfig:
    """A student of a few thousand weights."""
    encoder = EncoderConfig(features=16, channels=(8, 16))
    return PolicyConfig(encoder, PlannerConfig(hidden=32, layers=1), CAMERAS, HEIGHT, WIDTH)


@pytest.fixture
def make_observation():
    """`make_observation(batch, seed)` gives random but valid observations."""

    def make(batch: int = 5, seed: int = 0) -> Observation:
        random = torch.Generator().manual_seed(seed)
        images = torch.randint(
            0, 256, (batch, CAMERAS, HEIGHT, WIDTH, 3), generator=random, dtype=torch.uint8
        )
        motion = torch.randn(4, batch, generator=random)
        size = torch.tensor([4.5, 1.9, 1.6]).expand(batch, 3)
        command = torch.randint(0, 4, (batch,), generator=random)
        return Observation(
            images=images,
            camera_mask=torch.ones(batch, CAMERAS, dtype=torch.bool),
            ego=ego_features(5.0 + motion[0], motion[1], motion[2], 0.1 * motion[3], size),
            command=one_hot_command(command),
            conditioning=2 * torch.rand(batch, NUM_TRAITS, generator=random) - 1,
        )

    return make
