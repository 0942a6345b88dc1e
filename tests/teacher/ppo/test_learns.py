"""Self-play in one small town teaches to drive, told from chance by a permutation test."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from scipy.stats import permutation_test

from simulator.config import SimulatorConfig
from simulator.metrics.summary import summarise
from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.towns import drive_towns
from teacher.evaluation.traffic import SELF
from teacher.network.actor_critic import NetworkConfig
from teacher.policy import load_policy
from teacher.ppo.losses import PPOConfig
from teacher.reward import RewardConfig
from teacher.run.fit import fit

WORLDS = 16


def progress(policy: Path) -> np.ndarray:
    """Mean share of their routes that drivers get through in each of the same worlds, [worlds]."""
    config = EvaluationConfig(maps=("Town02",), worlds=WORLDS, agents=6, seconds=20.0, greedy=False)
    final = drive_towns(load_policy(str(policy)), config, SELF).final

    def of_world(index: int) -> float:
        world: WorldState = jax.tree.map(lambda leaf: np.asarray(leaf)[index : index + 1], final)
        return summarise(world, 0, 0.0).progress

    return np.array([of_world(index) for index in range(WORLDS)])


def test_self_play_teaches_to_drive(tmp_path: Path) -> None:
    """Were there nothing to learn, the trained policy would get no further than the untrained one in the same worlds:
    such a gain or a larger one would come about once in a thousand exchanges of the two."""
    config = TeacherConfig(
        name="learns",
        output=str(tmp_path),
        maps=("Town02",),
        num_worlds=6,
        total_agent_steps=50_000,
        checkpoint_every=1000,
        simulator=SimulatorConfig(timestep_s=0.25, num_agents=16, episode_s=40.0),
        # Where a crash costs much, drivers learn to stand still first: hundreds of thousands of steps.
        reward=RewardConfig(progress=(0.1, 0.1), collision=(0.3, 0.3), offroad=(0.3, 0.3)),
        network=NetworkConfig(flat_widths=(32,), set_widths=(16,), trunk_widths=(64,)),
        ppo=PPOConfig(rollout_steps=32, minibatch_size=384, epochs=4, learning_rate=2e-3, discount=0.95),
    )
    fit(config, stop_at_update=0)
    untrained = progress(config.folder / "policy.h5")
    fit(config, resume=True)
    trained = progress(config.folder / "policy.h5")

    def gain(late: np.ndarray, early: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(late - early, axis=axis)

    found = permutation_test(
        (trained, untrained), gain, permutation_type="samples", alternative="greater", n_resamples=9999, rng=0
    )
    assert found.pvalue < 1e-3
