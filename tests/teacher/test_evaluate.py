"""Evaluation through its public door: the command and its JSON."""

import json
from pathlib import Path

import pytest

from simulator.infractions import Metrics
from teacher import evaluate

FIELDS = set(Metrics.__dataclass_fields__)


def test_command_writes_the_flat_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, picture = tmp_path / "new" / "t.json", tmp_path / "strip.png"
    arguments = [
        "--map",
        "Town02",
        "--worlds",
        "2",
        "--agents",
        "4",
        "--seconds",
        "5",
        "--picture",
        str(picture),
    ]
    assert evaluate.main([*arguments, "--output", str(output)]) == 0
    values = json.loads(output.read_text())
    assert set(values) == FIELDS
    assert 0.0 <= values["driving_score"] <= 1.0
    assert values["agents"] <= 8
    assert values["agent_steps"] <= 8 * 20
    assert "driving_score" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(output.parent.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--worlds", "0"], "--worlds 0 must be at least 1"),
        (["--agents", "4000", "--map", "Town02"], "num_agents=4000 is more than"),
        (["--map", "Atlantis"], "Atlantis"),
    ],
)
def test_impossible_requests_are_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        evaluate.main(arguments)


def test_a_missing_policy_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        evaluate.main(["--policy", "nowhere.h5"])
