"""Snapshots and benchmarks of logged scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gigapixel.bench.renderer_scenes import SteppedWorlds
from gigapixel.pictures.world_snapshot import make_snapshot
from simulator.conventions import PEDESTRIAN
from simulator.logs.scene_pack import ScenePackWriter
from simulator.state import LOG
from tests.recorded import STEP_S, STEPS, recorded_scene


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with ScenePackWriter(tmp_path_factory.mktemp("packs") / "two.h5") as writer:
        writer.add(recorded_scene("east"))
        writer.add(recorded_scene("north", yaw=np.pi / 2))
    return writer.path


def test_the_seed_picks_a_scene_and_the_recording_limits_the_drive(pack: Path) -> None:
    """An hour is cut to the 6 s of the log; agents that replay the log are at its last pose."""
    snapshot = make_snapshot(str(pack), seed=3, num_agents=8, seconds=3600.0)
    assert snapshot.road_map.name == "north"
    assert snapshot.time_s == (STEPS - 1) * STEP_S
    walker = np.flatnonzero(np.asarray(snapshot.state.scenario.kind[0]) == PEDESTRIAN)
    assert np.asarray(snapshot.state.scenario.control[0])[walker].tolist() == [LOG]
    np.testing.assert_allclose(snapshot.state.position[0, walker[0]], (-3.5, 26.0, 0.0), atol=1e-4)
    assert make_snapshot(f"{pack}:east", 3, 8, 0.0).road_map.name == "east"


def test_the_renderer_is_measured_in_all_scenes_of_a_pack(pack: Path) -> None:
    worlds = SteppedWorlds(str(pack), worlds=4, agents=6, seed=0, device="cpu")
    assert worlds.state.map_id.tolist() == [0, 1, 0, 1]
    scene = worlds.scene()
    scene.validate()
    assert scene.num_viewers == 4 * 4, "three cars and a pedestrian in each"
    assert (scene.light_state > 0).sum() == 4
    worlds.step()
    assert (worlds.scene().box_position[:, :4] != scene.box_position[:, :4]).any(-1).all()
