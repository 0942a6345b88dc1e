"""The soak drives what it reports, and a state or observation that should not occur ends it with an error message."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks import soak
from simulator.atlas.load import load_atlas
from simulator.config import SimulatorConfig
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import reset_worlds
from simulator.state import WorldState

TINY = soak.SoakSettings(maps="Town02", worlds=4, chunk=2, steps=6, block=3, agents=2)
TINY_OPTIONS = ["--maps=Town02", "--worlds=4", "--chunk=2", "--steps=6", "--block=3", "--agents=2"]
CHECKS = jax.jit(soak.failed_checks)


@pytest.fixture(scope="module")
def worlds() -> WorldState:
    """Two worlds of three agents as they start an episode, without gains on the limits of the dynamics."""
    config = SimulatorConfig(num_agents=3)
    reset = jax.jit(lambda key, atlas: reset_worlds(key, atlas, config, 2))
    state = reset(jax.random.key(0), load_atlas(["Town02"]))
    ones = jnp.ones_like(state.speed)
    return state.replace(scenario=state.scenario.replace(speed_gain=ones, acceleration_gain=ones))


@pytest.fixture(scope="module")
def bounds() -> jax.Array:
    return jnp.asarray([load_maps(["Town02"])[0].bounds()], jnp.float32)


def names_of_failed(worlds: WorldState, bounds: jax.Array, observation: object) -> list[str]:
    return [name for name, failed in CHECKS(worlds, observation, bounds).items() if bool(failed)]


def test_a_tiny_soak_reports_what_it_drove(tmp_path, capsys):
    output = tmp_path / "soak.json"
    assert soak.main([*TINY_OPTIONS, f"--output={output}"]) == 0
    report = json.loads(output.read_text())
    assert report["soak"] == "no fault"
    assert 0 < report["agent_steps"] <= 4 * 2 * 6
    assert report["memory_end_mb"] > 0
    assert report["settings"]["worlds"] == 4
    assert capsys.readouterr().out.count("agent-steps") == 2  # a line for each chunk


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("position", 1e6, "position inside the town"),
        ("speed", 31.0, "speed inside its limits"),
        ("acceleration", -5.1, "acceleration inside its limits"),
        ("steering", 0.6, "steering inside its limits"),
        ("yaw", 3.2, "yaw in [-pi, pi]"),
        ("stopped_s", jnp.inf, "state.stopped_s finite"),
    ],
)
def test_one_bad_number_fails_one_check(worlds, bounds, field, value, check):
    assert names_of_failed(worlds, bounds, {"ego": jnp.zeros(3)}) == []
    bad = worlds.replace(**{field: getattr(worlds, field).at[1, 2].set(value)})
    assert names_of_failed(bad, bounds, {"ego": jnp.zeros(3)}) == [check]


def test_observations_are_checked_too(worlds, bounds):
    for value, checks in (
        (jnp.nan, ["observation['ego'] finite"]),
        (2000.0, ["observation['ego'] below 1000"]),
    ):
        assert names_of_failed(worlds, bounds, {"ego": jnp.array([0.0, value])}) == checks


def test_every_step_is_checked_and_a_failure_names_its_worlds_and_steps():
    """A check that fails in the fifth step only is noticed in the second block of three steps of the first chunk."""

    def fails_in_step_5(state: WorldState, observation: Any, bounds: jax.Array) -> dict[str, jax.Array]:
        return {"step other than 5": (state.step == 5).any(), "step below 100": (state.step >= 100).any()}

    message = "^worlds 0 to 1, steps 3 to 6: not step other than 5$"
    with pytest.raises(soak.FailedCheckError, match=message):
        soak.soak(TINY, log=print, checks=fails_in_step_5)


def test_a_failed_check_ends_the_command_with_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(soak, "MARGIN_M", -1e6)  # no position is inside
    assert soak.main(TINY_OPTIONS) == 1
    assert capsys.readouterr().err == "soak: worlds 0 to 1, steps 0 to 3: not position inside the town\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("--chunk=3", "chunk=3 must divide worlds=4; try --chunk 4"),
        ("--agents=0", "agents=0 must be at least 1"),
        ("--observation=tiny", "observation='tiny' is unknown; expected compact"),
        ("--maps=Atlantis", "map 'Atlantis' is unknown"),
    ],
)
def test_impossible_settings_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        soak.main([*TINY_OPTIONS, change])
