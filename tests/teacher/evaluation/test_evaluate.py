"""Evaluation in towns through its public door: the command and its JSON; and traffic that leaves scenes alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.metrics.summary import Metrics
from simulator.state import BLIND, IDM, PARKED, POLICY, SUDDEN_BRAKING
from teacher.evaluation import command
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.towns import drive_towns
from teacher.policy import load_policy

FIELDS = set(Metrics.__dataclass_fields__)


def test_command_writes_the_flat_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, picture, videos = tmp_path / "new" / "t.json", tmp_path / "strip.png", tmp_path / "videos"
    arguments = ["--map", "Town02", "--worlds", "2", "--agents", "4", "--seconds", "5"]
    arguments += ["--picture", str(picture), "--videos", str(videos), "--num_videos", "1"]
    assert command.main([*arguments, "--output", str(output)]) == 0
    values = json.loads(output.read_text())
    assert set(values) == FIELDS | {"traffic", "driver", "by_town"}
    assert (values["traffic"], values["driver"]) == ("self", "policy")
    assert 0.0 <= values["driving_score"] <= 1.0
    assert values["agents"] <= 8
    assert values["agent_steps"] <= 8 * 20
    assert set(values["by_town"]) == {"Town02"}
    assert values["by_town"]["Town02"]["goal_rate"] == values["goal_rate"]
    assert "driving_score" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(list(videos.glob("policy_self_worst_1_*.gif"))) == 1
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]  # temporary files


def test_traffic_changes_who_drives_and_nothing_else() -> None:
    """Constant velocity, once everywhere and once in mixed traffic, whose blind and braking the policy drives."""
    policy = load_policy("pretrained")
    config = EvaluationConfig(
        maps=("Town02",),
        worlds=4,
        agents=12,
        seconds=1.0,
        driver="constant_velocity",
        traffic=("self", "mixed"),
    )
    alone, mixed = (drive_towns(policy, config, traffic).final for traffic in config.traffic)
    in_self_play, counted = np.asarray(alone.spawned), np.asarray(mixed.spawned)
    assert (in_self_play | ~counted).all(), "agents that count in mixed traffic count in self-play, too"
    assert 0.2 < counted.sum() / in_self_play.sum() < 0.8
    for name in ("route", "size", "light_phase"):
        np.testing.assert_array_equal(getattr(alone.scenario, name), getattr(mixed.scenario, name))
    np.testing.assert_array_equal(alone.scenario.goal_m[counted], mixed.scenario.goal_m[counted])
    still = counted & np.asarray(alone.active) & np.asarray(mixed.active)
    np.testing.assert_array_equal(alone.position[still], mixed.position[still])
    roles = np.asarray(mixed.scenario.control)[mixed.present]
    assert {IDM, PARKED, POLICY} >= set(roles.tolist()) > {POLICY}
    noisy = np.isin(mixed.scenario.fault, (BLIND, SUDDEN_BRAKING)) & mixed.active
    assert noisy.any()
    assert (np.asarray(mixed.acceleration)[noisy] != 0.0).any(), "a policy's actions"
    assert not (np.asarray(mixed.acceleration)[counted & mixed.active] != 0.0).any(), "constant velocity"


def test_command_drives_in_several_kinds_of_traffic(tmp_path: Path) -> None:
    output = tmp_path / "t.json"
    arguments = [
        "--map",
        "Town02",
        "--worlds",
        "4",
        "--agents",
        "12",
        "--seconds",
        "1",
        "--output",
        str(output),
    ]
    assert command.main([*arguments, "--driver", "constant_velocity", "--traffic", "mixed,self"]) == 0
    values = json.loads(output.read_text())
    assert (values["traffic"], values["driver"]) == ("mixed", "constant_velocity")
    assert list(values["by_traffic"]) == ["mixed", "self"]
    first = values["by_traffic"]["mixed"]
    assert {name: values[name] for name in first} == first
    assert values["by_traffic"]["self"]["agents"] > first["agents"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--worlds", "0"], "--worlds 0 must be at least 1"),
        (["--agents", "4000", "--map", "Town02"], "num_agents=4000 is more than"),
        (["--agents", "4000", "--map", "Town02", "--hours", "1"], "num_agents=4000 is more than"),
        (["--map", "Atlantis"], "Atlantis"),
    ],
)
def test_impossible_requests_are_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        command.main(arguments)


def test_a_missing_policy_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        command.main(["--policy", "nowhere.h5"])
