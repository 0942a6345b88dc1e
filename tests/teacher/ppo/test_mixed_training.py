"""PPO in towns and recorded scenes at once: what resets draw, what counts, and that a run resumes exactly."""

from __future__ import annotations

import dataclasses

import h5py
import jax
import numpy as np
import pytest

from simulator.config import SimulatorConfig
from simulator.logs.scene_pack import ScenePackWriter
from simulator.logs.split import is_held_out
from teacher.config import TeacherConfig
from teacher.network.actor_critic import NetworkConfig
from teacher.observation.observe import ObservationConfig
from teacher.ppo.log_config import LogConfig
from teacher.ppo.losses import PPOConfig
from teacher.ppo.mixed_environment import load_mixed_data
from teacher.ppo.scene_source import open_source
from teacher.ppo.update import make_update
from teacher.run.checkpoint import list_checkpoints
from teacher.run.fit import fit

HELD_OUT = next(number for number in range(100) if is_held_out(f"scene {number}"))
TRAINING = [number for number in range(20) if not is_held_out(f"scene {number}")][:3]


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_scene):
    """Four worlds, of which half are in Town02."""
    folder = tmp_path_factory.mktemp("mixed")
    path = folder / "rule.h5"
    with ScenePackWriter(path) as writer:
        for number in (*TRAINING, HELD_OUT):
            writer.add(make_scene(number))
    return TeacherConfig(
        name="whole",
        output=str(folder / "runs"),
        maps=("Town02",),
        num_worlds=4,
        total_agent_steps=10**9,
        checkpoint_every=100,
        logs=LogConfig(packs=(str(path),), town_share=0.5),
        simulator=SimulatorConfig(
            timestep_s=0.25, num_agents=5, route_stations=128, num_goals=1, map_variants=4, blind_share=0.1
        ),
        observation=ObservationConfig(others=2, lanes=2, edges=2, stops=1),
        network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)),
        ppo=PPOConfig(rollout_steps=8, minibatch_size=40, epochs=1),
    )


def test_resets_draw_towns_and_training_scenes(config):
    environment, source = open_source(config, 0)
    data = source.next()
    assert data.atlas.names[0] == "Town02"
    assert len(data.scenes) == len(TRAINING)
    worlds = jax.jit(environment.reset)(data, jax.random.split(jax.random.key(0), 64))
    in_town = np.asarray(worlds.map_id) == 0
    assert 16 < in_town.sum() < 48
    assert len(np.unique(np.asarray(worlds.map_id)[~in_town])) == len(TRAINING)
    assert not np.asarray(worlds.scenario.log.valid)[in_town].any(), "nothing is replayed in a town"
    assert np.asarray(worlds.scenario.log.valid)[~in_town].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(np.asarray(worlds.scenario.map_matrix)[~in_town][0], np.eye(2))
    assert np.asarray(worlds.active).any(axis=1).all()


def test_nothing_counts_after_the_end_of_a_log(config):
    environment, source = open_source(config, 0)
    data = source.next()
    worlds = jax.jit(environment.reset)(data, jax.random.split(jax.random.key(0), 4))
    over = worlds.replace(step=worlds.scenario.log.last_step)
    action = np.full(worlds.yaw.shape, 4, np.int32)
    step = jax.jit(environment.step)
    in_town = np.asarray(worlds.map_id) == 0
    assert not np.asarray(step(data, over, action).valid)[~in_town].any()
    assert np.asarray(step(data, worlds, action).valid).any(axis=1).all()


def test_a_resumed_run_is_the_uninterrupted_one(config, monkeypatch):
    compiled = []

    def once(*settings):
        if not compiled:
            compiled.append(make_update(*settings))
        return compiled[0]

    monkeypatch.setattr("teacher.run.fit.make_update", once)
    whole, parts = config, dataclasses.replace(config, name="parts")
    rows = []
    fit(whole, stop_at_update=2, report=rows.append)
    fit(parts, stop_at_update=1)
    fit(parts, resume=True, stop_at_update=2)
    assert rows[-1]["agent_steps"] > 0
    one, other = (list_checkpoints(run.folder / "checkpoints")[-1] for run in (whole, parts))
    with h5py.File(one) as first, h5py.File(other) as second:
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
