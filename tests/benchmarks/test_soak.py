"""The soak drives what it says, and finds a number that went bad."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import soak
from simulator.roads.sources.map_cache import load_atlas, load_maps
from simulator.state import WorldState

TINY = ["--maps=Town02", "--worlds=4", "--chunk=2", "--steps=6", "--block=3", "--agents=2"]
FAULTS = jax.jit(soak.faults)


@pytest.fixture(scope="module")
def worlds(bounds: jax.Array) -> WorldState:
    """Two worlds of three agents that stand in the middle of the town; nothing is wrong with them."""
    environment = soak._environment(soak.SoakSettings(maps="Town02", worlds=2, chunk=2, agents=3))
    blank = soak._blank_worlds(environment, load_atlas(["Town02"]))
    ones = jnp.ones_like(blank.speed)
    scenario = blank.scenario.replace(speed_gain=ones, acceleration_gain=ones)
    return blank.replace(position=blank.position.at[..., :2].set(bounds[0].mean(axis=0)), scenario=scenario)


@pytest.fixture(scope="module")
def bounds() -> jax.Array:
    return jnp.asarray([load_maps(["Town02"])[0].bounds()], jnp.float32)


def _broken(worlds: WorldState, bounds: jax.Array, observation: object) -> list[str]:
    return [claim for claim, is_broken in FAULTS(worlds, observation, bounds).items() if bool(is_broken)]


def test_a_tiny_soak_reports_what_it_drove(tmp_path, capsys):
    output = tmp_path / "soak.json"
    assert soak.main([*TINY, f"--output={output}"]) == 0
    report = json.loads(output.read_text())
    assert report["soak"] == "no fault"
    assert 0 < report["agent_steps"] <= 4 * 2 * 6
    assert report["memory_end_mb"] > 0
    assert report["settings"]["worlds"] == 4
    assert capsys.readouterr().out.count("agent-steps") == 2  # a line for each chunk


@pytest.mark.parametrize(
    ("field", "value", "claim"),
    [
        ("position", 1e6, "position inside the town"),
        ("speed", 31.0, "speed inside its limits"),
        ("acceleration", -5.1, "acceleration inside its limits"),
        ("steering", 0.6, "steering inside its limits"),
        ("yaw", 3.2, "yaw in [-pi, pi]"),
        ("stopped_s", jnp.inf, "state.stopped_s finite"),
    ],
)
def test_one_bad_number_is_found_and_named(worlds, bounds, field, value, claim):
    assert _broken(worlds, bounds, {"ego": jnp.zeros(3)}) == []
    leaf = getattr(worlds, field)
    bad = worlds.replace(**{field: leaf.at[1, 2].set(value)})
    assert _broken(bad, bounds, {"ego": jnp.zeros(3)}) == [claim]


def test_observations_are_checked_too(worlds, bounds):
    for value, claims in (
        (jnp.nan, ["observation['ego'] finite"]),
        (2000.0, ["observation['ego'] below 1000"]),
    ):
        assert _broken(worlds, bounds, {"ego": jnp.array([0.0, value])}) == claims


def test_a_fault_ends_the_run_with_a_sentence(monkeypatch, capsys):
    def drive(environment, block, atlas, worlds, blank, bounds, key):
        return (
            worlds,
            jnp.zeros(2, jnp.int32),
            {"yaw in [-pi, pi]": ~blank, "speed inside its limits": blank & ~blank},
        )

    monkeypatch.setattr(soak, "_drive", drive)
    assert soak.main(TINY) == 1
    assert "worlds 0 to 1, steps 3 to 6: not yaw in [-pi, pi]" in capsys.readouterr().err


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
        soak.main([*TINY, change])
