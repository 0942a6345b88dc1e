"""The command: its JSON, its pictures, its refusals."""

from __future__ import annotations

import json

import pytest

from teacher.__main__ import main


def test_command_writes_shares_and_pictures(tmp_path, capsys):
    output, pictures = tmp_path / "new" / "p.json", tmp_path / "pictures"
    chosen = "red_light,blocked_lane"
    arguments = ["--probe", chosen, "--trials", "3", "--output", str(output), "--pictures", str(pictures)]
    assert main(["probe", *arguments]) == 0
    result = json.loads(output.read_text())
    assert (result["trials"], result["seed"], result["greedy"]) == (3, 0, True)
    assert list(result["probes"]) == chosen.split(",")
    for name, probe in result["probes"].items():
        assert probe["pass"]["of"] == 3
        assert sum(part["pass"]["count"] for part in probe["variants"].values()) == probe["pass"]["count"]
        assert (pictures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        failures = {event for event, share in probe["events"].items() if share["count"]}
        drawn = {path.stem.removeprefix(f"{name}_") for path in pictures.glob(f"{name}_*.png")}
        assert drawn == failures
    assert {"ran", "drove_around", "never_went"} <= set(result["probes"]["red_light"]["events"])
    printed = capsys.readouterr().out
    assert "goal_behind" in printed
    assert "95 %" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--probe", "roundabout"], "--probe 'roundabout' is unknown; known probes: bottleneck"),
        (["--probe", ","], "--probe names no probe"),
        (["--trials", "0"], "--trials 0 must be at least 1"),
        (["--seed", "-1"], "--seed -1 must be 0 or above"),
        (["--policy", "nowhere.h5"], r"nowhere\.h5"),
    ],
)
def test_impossible_requests_are_refused(arguments, sentence, tmp_path):
    output = tmp_path / "p.json"
    with pytest.raises((ValueError, OSError), match=sentence):
        main(["probe", *arguments, "--output", str(output)])
    assert not output.exists()
