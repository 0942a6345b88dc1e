"""PPO in recorded scenes: which scenes, in which order, and that a resumed run meets the same ones."""

from __future__ import annotations

import dataclasses

import h5py
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
from teacher.ppo.scene_source import LogScenes
from teacher.ppo.update import make_update
from teacher.run.checkpoint import list_checkpoints, read_progress
from teacher.run.fit import fit

SCENES = 16


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_scene):
    """Four worlds in two scenes at a time, each batch for two updates."""
    folder = tmp_path_factory.mktemp("logs")
    path = folder / "rule.h5"
    with ScenePackWriter(path) as writer:
        for number in range(SCENES):
            writer.add(make_scene(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGAPIXEL_CACHE", str(folder / "cache"))
        yield TeacherConfig(
            name="whole",
            output=str(folder / "runs"),
            num_worlds=4,
            total_agent_steps=10**9,
            checkpoint_every=100,
            reset_chunk=4,
            logs=LogConfig(packs=(str(path),), num_scenes=2, updates_per_batch=2),
            simulator=SimulatorConfig(timestep_s=0.25, num_agents=5, route_stations=128, num_goals=1),
            observation=ObservationConfig(others=2, lanes=2, edges=2, stops=1),
            network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)),
            ppo=PPOConfig(rollout_steps=8, minibatch_size=40, epochs=1),
        )


def scenes_of(data, make_scene):
    """Names of the scenes that worlds were made of, told by how fast the recorded cars start."""
    speeds = {f"scene {number}": np.sort(make_scene(number).log.speed[:, 0]) for number in range(SCENES)}
    worlds = [np.sort(speed[there]) for speed, there in zip(data.first.speed, np.asarray(data.first.present))]
    return [name for world in worlds for name, one in speeds.items() if np.allclose(world, one, atol=1e-3)]


def test_batches_hold_training_scenes_in_an_order_that_can_be_resumed(config, make_scene):
    source = LogScenes(config, 0)
    first, second = source.next(), source.next()
    position = source.position
    source.close()
    again = LogScenes(config, position)
    same = again.next()
    again.close()
    held_out = [f"scene {number}" for number in range(SCENES) if is_held_out(f"scene {number}")]
    assert held_out, "the packs hold some of both"
    names = {*scenes_of(first, make_scene), *scenes_of(second, make_scene)}
    assert len(names) == 4
    assert names.isdisjoint(held_out)
    np.testing.assert_array_equal(same.first.speed, second.first.speed)
    assert not np.array_equal(first.first.speed, second.first.speed)
    assert [source.is_due(update) for update in range(5)] == [False, False, True, False, True]


def arrays(folder):
    newest = list_checkpoints(folder / "checkpoints")[-1]
    with h5py.File(newest) as file:
        found = {}
        file["state"].visititems(
            lambda name, item: found.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None
        )
    return found


def test_a_run_in_recorded_scenes_resumes_exactly(config, monkeypatch):
    """Five updates at once, and three and two: a resumed run stands in the middle of its second batch."""
    compiled = []

    def once(*settings):
        if not compiled:
            compiled.append(make_update(*settings))
        return compiled[0]

    monkeypatch.setattr("teacher.run.fit.make_update", once)
    rows = []
    whole = fit(config, stop_at_update=5, report=rows.append)
    parts = dataclasses.replace(config, name="parts")
    fit(parts, stop_at_update=3)
    position = read_progress(list_checkpoints(parts.folder / "checkpoints")[-1])["position"]
    assert position == 2, "the second batch begins after the first one's two scenes"
    assert fit(parts, resume=True, stop_at_update=5).agent_steps == whole.agent_steps > 0
    assert arrays(config.folder) == arrays(parts.folder)
    ended = [row["teacher/episode/finished"] for row in rows]
    assert ended[2] == ended[4] == 4, "a new batch ends the episodes of the one before"
