"""Long drives: sums that agree with the worlds they were taken from, worlds that are reset, and a clean Ctrl-C."""

import dataclasses
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.state import WorldState
from teacher.evaluation import command, long_drives
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import policy_fn_for, set_controller
from teacher.evaluation.long_drives import RESET_SHARE, drive_chunk
from teacher.evaluation.towns import start_worlds, town_simulator
from teacher.policy import load_policy
from teacher.reward import default_traits

DRIVER = "constant_velocity"
ARGUMENTS = ["--map", "Town02", "--worlds", "3", "--agents", "8", "--driver", DRIVER]


@pytest.fixture(scope="module")
def town() -> tuple[RoadAtlas, SimulatorConfig]:
    config = EvaluationConfig(maps=("Town02",), worlds=3, agents=8, driver=DRIVER)
    return load_atlas(config.maps), town_simulator(load_policy("pretrained"), config, "self")


def chunks(
    town: tuple[RoadAtlas, SimulatorConfig], reset_share: float, count: int
) -> tuple[WorldState, WorldState, dict[str, Any]]:
    """Three worlds before and after ``count`` times five seconds at constant velocity, and the last sums."""
    atlas, config = town[0], dataclasses.replace(town[1], inactive_reset_share=reset_share)
    worlds = set_controller(start_worlds(jax.random.key(1), atlas, config, 3), DRIVER)
    act = policy_fn_for(DRIVER, load_policy("pretrained"), atlas, config, True, False)
    drive = jax.jit(partial(drive_chunk, policy_fn=act, config=config, driver=DRIVER))
    after, sums = worlds, {}
    for number in range(count):
        after, sums = drive(jax.random.key(2 + number), after, atlas)
    return worlds, after, {name: np.asarray(value) for name, value in sums.items()}


def test_sums_are_what_happened(town: tuple[RoadAtlas, SimulatorConfig]) -> None:
    before, after, sums = chunks(town, 1.0, 1)
    assert int(after.step[0]) == round(5.0 / town[1].timestep_s), "no world was reset"
    assert sums["metres"].shape == (1,)
    assert sums["metres"][0] == pytest.approx(float(after.distance_m.sum()), rel=1e-4)
    for name in ("collisions", "offroads", "red_lights", "stop_signs"):
        assert sums[name][0] == int(getattr(after, name).sum())
    assert sums["offroads"][0] > 0, "agents that go straight on leave the road"
    assert sums["at_fault_collisions"][0] == int(after.driving_quality.at_fault.sum())
    assert 0 < sums["moments"][0] <= sums["collisions"][0] + sums["offroads"][0]
    drove = np.asarray(after.distance_m > 0).sum()
    assert drove <= sums["agent_steps"][0] <= int(before.spawned.sum()) * int(after.step[0])


def test_jammed_worlds_are_reset_with_the_same_driver(town: tuple[RoadAtlas, SimulatorConfig]) -> None:
    before, after, _ = chunks(town, RESET_SHARE, 3)
    anew = np.asarray(after.step) == 0
    assert anew.any(), "going straight on, two in five have left the road by then"
    assert after.scenario.baseline == DRIVER
    assert not np.asarray(after.distance_m)[anew].any()
    assert (
        (np.asarray(after.scenario.route) != np.asarray(before.scenario.route))
        .any(axis=(1, 2, 3))[anew]
        .all()
    )
    traits = np.asarray(after.scenario.traits)
    np.testing.assert_array_equal(traits, np.broadcast_to(default_traits(), traits.shape))


def test_command_drives_as_far_as_asked(tmp_path: Path) -> None:
    output = tmp_path / "long.json"
    assert command.main([*ARGUMENTS, "--km", "1", "--output", str(output)]) == 0
    values = json.loads(output.read_text())
    assert 1.0 <= values["km"] < 1.5
    assert values["interrupted"] is False
    assert values["incidents"] == values["collisions"] + values["offroads"]
    assert values["km_per_incident"] == pytest.approx(values["km"] / values["incidents"])
    assert values["km_per_incident_low"] < values["km_per_incident"] < values["km_per_incident_high"]
    assert values["by_town"]["Town02"]["km"] == values["km"]
    assert values["hours"] == pytest.approx(
        values["agent_steps"] * load_policy("pretrained").simulator.timestep_s / 3600
    )


def test_ctrl_c_writes_what_has_been_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def share(*_: object) -> float:
        asked.append(1)
        if len(asked) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    monkeypatch.setattr(long_drives, "driven_share", share)
    output = tmp_path / "long.json"
    arguments = [*ARGUMENTS, "--hours", "1000", "--traffic", "self,idm", "--output", str(output)]
    assert command.main(arguments) == command.INTERRUPTED
    values = json.loads(output.read_text())
    assert values["interrupted"] is True
    assert 0.0 < values["km"] < 2.0, "two chunks"
    assert "by_traffic" not in values, "the other traffic was not begun"
