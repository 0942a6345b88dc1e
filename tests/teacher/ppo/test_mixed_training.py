"""PPO in towns and recorded scenes at once, with the settings of configs/teacher/passing.yaml at a small size: what
resets draw, what counts, and that a run resumes exactly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.logs.scene_pack import ScenePackWriter
from simulator.logs.split import is_held_out
from simulator.state import WorldState
from teacher.config import load_config
from teacher.ppo.environment import Environment
from teacher.ppo.log_config import LogConfig
from teacher.ppo.mixed_environment import MixedData, load_mixed_data
from teacher.ppo.scene_source import open_source
from teacher.ppo.update import make_update
from teacher.run.checkpoint import list_checkpoints
from teacher.run.fit import fit

PASSING = Path(__file__).parents[3] / "configs" / "teacher" / "passing.yaml"
HELD_OUT = next(number for number in range(100) if is_held_out(f"scene {number}"))
TRAINING = [number for number in range(20) if not is_held_out(f"scene {number}")][:3]


class Trained(NamedTuple):
    """What three sessions of one configuration left: a whole run, and one that was stopped and resumed."""

    data: MixedData
    environment: Environment
    worlds: list[WorldState]  # after every update, as host arrays
    rows: list[dict[str, float]]  # of the whole run
    whole: Path  # last checkpoint
    parts: Path


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_scene):
    """Sixteen worlds, of which half are in Town02."""
    folder = tmp_path_factory.mktemp("mixed")
    path = folder / "rule.h5"
    with ScenePackWriter(path) as writer:
        for number in (*TRAINING, HELD_OUT):
            writer.add(make_scene(number))
    passing = load_config(PASSING)
    return dataclasses.replace(
        passing,
        name="whole",
        output=str(folder / "runs"),
        maps=("Town02",),
        num_worlds=16,
        reset_chunk=16,
        checkpoint_every=100,
        logs=LogConfig(packs=(str(path),), town_share=0.5),
        simulator=dataclasses.replace(passing.simulator, num_agents=6, map_variants=4),
        ppo=dataclasses.replace(passing.ppo, rollout_steps=4, minibatch_size=48, epochs=1),
    )


@pytest.fixture(scope="module")
def trained(config):
    """The sessions share one compiled update, and what they trace."""
    environment, source = open_source(config, 0)
    environment = dataclasses.replace(
        environment, **{name: jax.jit(getattr(environment, name)) for name in ("reset", "step", "observe")}
    )
    compiled, worlds, rows = [], [], []

    def once(*settings):
        if not compiled:
            compiled.append(make_update(*settings))

        def update(state, data):
            state, metrics = compiled[0](state, data)
            worlds.append(jax.tree.map(np.array, state.worlds))
            return state, metrics

        return update

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("teacher.run.fit.make_update", once)
        patch.setattr("teacher.run.fit.open_source", lambda *settings: (environment, source))
        parts = dataclasses.replace(config, name="parts")
        fit(config, stop_at_update=2, report=rows.append)
        fit(parts, stop_at_update=1)
        fit(parts, resume=True, stop_at_update=2)
    last = [list_checkpoints(run.folder / "checkpoints")[-1] for run in (config, parts)]
    return Trained(source.next(), environment, worlds, rows, *last)


def test_resets_draw_towns_and_training_scenes(trained):
    assert trained.data.atlas.names[0] == "Town02"
    assert len(trained.data.scenes) == len(TRAINING)
    worlds = trained.worlds[0]
    in_town = worlds.map_id == 0
    assert 3 <= in_town.sum() <= 13
    assert len(np.unique(worlds.map_id[~in_town])) > 1
    assert not worlds.scenario.log.valid[in_town].any(), "nothing is replayed in a town"
    assert worlds.scenario.log.valid[~in_town].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(worlds.scenario.map_matrix[~in_town][0], np.eye(2))
    assert worlds.active.any(axis=1).all()


def test_nothing_counts_after_the_end_of_a_log(trained):
    worlds = trained.worlds[0]
    over = worlds.replace(step=worlds.scenario.log.last_step)
    action = jnp.full(worlds.yaw.shape, 4, jnp.int32)
    counts = jax.jit(lambda state: trained.environment.step(trained.data, state, action).valid)
    in_town = worlds.map_id == 0
    assert not np.asarray(counts(over))[~in_town].any()
    assert np.asarray(counts(worlds)).any(axis=1).all()


def test_a_resumed_run_is_the_uninterrupted_one(trained):
    assert trained.rows[-1]["agent_steps"] > 0
    with h5py.File(trained.whole) as first, h5py.File(trained.parts) as second:
        names = []
        first.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert names
        for name in names:
            np.testing.assert_array_equal(first[name][()], second[name][()], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"town_share": 0.5}, "has no effect without logs.packs"),
        ({"packs": ("a.h5",), "town_share": 1.0}, r"town_share=1.0 must lie in \[0, 1\)"),
    ],
)
def test_shares_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        LogConfig(**changes)


def test_a_pack_without_training_scenes_is_refused(config, tmp_path, make_scene):
    path = tmp_path / "held.h5"
    with ScenePackWriter(path) as writer:
        writer.add(make_scene(HELD_OUT))
    logs = dataclasses.replace(config.logs, packs=(str(path),))
    with pytest.raises(ValueError, match=r"held\.h5: no scene belongs to the split 'train'"):
        load_mixed_data(dataclasses.replace(config, logs=logs))
