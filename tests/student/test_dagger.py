"""DAgger improves closed-loop driving and beats behaviour cloning at equal optimiser steps: permutation tests.

The roads are four winding lanes without traffic, seen through one front camera of 48 x 27 pixels. On them the teacher
stays in the middle of its lane, so behaviour cloning never sees how to return to it. Both arms are the training of
`OnPolicyData` and `StudentModule` with the same budget; for behaviour cloning beta stays 1: the teacher drives.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from jaxtyping import Float
from scipy.stats import permutation_test

from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from simulator.metrics.summary import driving_scores
from simulator.roads.building.raw_map import RawLane, RawMap
from student.dagger.closed_loop import ClosedLoopConfig
from student.dagger.data import OnPolicyData
from student.module import OptimiserConfig, StudentModule
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig
from student.world.config import PixelWorldConfig
from tests.recorded import logged_scene

SEEDS = (0, 1)
"""Of the training runs: initial weights, worlds and batches."""
EPOCHS, PLANS, BATCHES, WORLDS = 12, 6, 20, 16
STEPS_PER_PLAN = 2  # 0.5 s at the teacher's 0.25 s
EVALUATED_WORLDS = 24
FRONT_CAMERA = Path(__file__).resolve().parents[2] / "configs" / "cameras" / "front.yaml"
POLICY = PolicyConfig(
    EncoderConfig(features=32, channels=(8, 16)), PlannerConfig(hidden=64, layers=1), 1, 27, 48
)


def winding_road(name: str, phase: float) -> LoggedScene:
    """A lane of 400 m that turns left and right by 0.9 rad every 110 m, and a parked car on it."""
    along = np.arange(0.0, 400.0)
    heading = 0.9 * np.sin(2 * np.pi * along / 110.0 + phase)
    centre = np.stack([np.cos(heading).cumsum(), np.sin(heading).cumsum(), 0 * along], axis=1)
    left = np.stack([-np.sin(heading), np.cos(heading), 0 * along], axis=1)
    lane = RawLane("lane", centre, left=centre + 1.75 * left, right=centre - 1.75 * left)
    road = RawMap([lane], edges=[centre + 1.85 * left, centre - 1.85 * left])
    return logged_scene(road, np.zeros((1, 2, 3)), 0.0, limit_mps=9.0, name=name)


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of four winding roads."""
    with ScenePackWriter(tmp_path_factory.mktemp("roads") / "winding.h5") as writer:
        for number in range(4):
            writer.add(winding_road(f"winding {number}", 1.6 * number))
    return writer.path


def make(roads: Path, seed: int, beta_steps: int) -> tuple[OnPolicyData, StudentModule]:
    """Data and untrained student of one training run; the weights depend on the seed alone."""
    torch.manual_seed(seed)
    world = PixelWorldConfig(
        maps=(str(roads),), replay=None, num_worlds=WORLDS, num_agents=1, num_goals=1,
        goal_spacing_m=(100.0, 140.0), teacher_greedy=True, cameras=str(FRONT_CAMERA),
        height_px=POLICY.height_px, width_px=POLICY.width_px,
    )  # fmt: skip
    test = ClosedLoopConfig(world.maps, num_worlds=EVALUATED_WORLDS, seconds=20.0, label_every=0)
    data = OnPolicyData(
        world, test=test, beta_steps=beta_steps, decisions_per_epoch=PLANS, batches_per_epoch=BATCHES,
        batch_size=64, seed=seed,
    )  # fmt: skip
    return data, StudentModule(POLICY, optimiser=OptimiserConfig(learning_rate=2e-3, warmup_steps=20))


def train(data: OnPolicyData, module: StudentModule) -> None:
    """EPOCHS x BATCHES optimiser steps."""
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, gradient_clip_val=1.0, logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == EPOCHS * BATCHES


def scores(data: OnPolicyData, module: StudentModule) -> Float[np.ndarray, " worlds"]:
    """Driving score of the one agent of every test world that has one; the same worlds for every student."""
    episode = data.episode(data.test_config)
    episode.drive(module.policy)
    state = episode.world.state
    return np.asarray(driving_scores(state))[np.asarray(state.spawned)]


@dataclass(frozen=True)
class Scores:
    """Driving scores [runs, worlds] of students that begin with the same weights, in the same worlds."""

    untrained: Float[np.ndarray, "runs worlds"]
    cloned: Float[np.ndarray, "runs worlds"]
    dagger: Float[np.ndarray, "runs worlds"]


@pytest.fixture(scope="module")
def students(roads: Path, unchecked_types: Callable[[], AbstractContextManager[None]]) -> Scores:
    """All students of the module, trained."""
    with unchecked_types():
        return train_all(roads)


def train_all(roads: Path) -> Scores:
    """The scores of all arms and seeds."""
    experience = EPOCHS * PLANS * STEPS_PER_PLAN * WORLDS
    rows: dict[str, list[np.ndarray]] = {"untrained": [], "cloned": [], "dagger": []}
    for seed in SEEDS:
        data, module = make(roads, seed, beta_steps=experience // 2)
        rows["untrained"].append(scores(data, module))
        train(data, module)
        rows["dagger"].append(scores(data, module))
        data, module = make(roads, seed, beta_steps=10**12)
        train(data, module)
        assert data.statistics()["beta"] > 0.999999
        rows["cloned"].append(scores(data, module))
    return Scores(**{name: np.stack(values) for name, values in rows.items()})


def p_value(better: Float[np.ndarray, "runs worlds"], worse: Float[np.ndarray, "runs worlds"]) -> float:
    """Probability of a mean gain this large if both students of a pair (same run, same world) were exchangeable."""

    def gain(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(first - second, axis=axis)

    pair = (better.ravel(), worse.ravel())
    found = permutation_test(
        pair, gain, permutation_type="samples", alternative="greater", n_resamples=9999, rng=0
    )
    return float(found.pvalue)


def test_dagger_improves_closed_loop_driving(students: Scores) -> None:
    assert p_value(students.dagger, students.untrained) < 1e-3


def test_dagger_beats_behaviour_cloning(students: Scores) -> None:
    assert p_value(students.dagger, students.cloned) < 0.01
