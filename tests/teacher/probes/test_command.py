"""The command: its JSON, its pictures, its refusals."""

from __future__ import annotations

import json

import pytest

from teacher.__main__ import main


def test_the_shipped_policy_waits_for_green_and_does_not_pass_a_parked_car(tmp_path, capsys):
    """What its card says of 100 trials, in three: it waits for green, and safely stands behind the parked car."""
    output, pictures = tmp_path / "new" / "p.json", tmp_path / "pictures"
    chosen = "red_light,blocked_lane"
    arguments = ["--probe", chosen, "--trials", "3", "--output", str(output), "--pictures", str(pictures)]
    assert main(["probe", *arguments]) == 0
    result = json.loads(output.read_text())
    assert (result["trials"], result["seed"], result["greedy"]) == (3, 0, True)
    assert list(result["probes"]) == chosen.split(",")
    waited, blocked = (result["probes"][name] for name in chosen.split(","))
    low = 3 / (3 + 1.959964**2)  # Wilson's interval of 3 out of 3
    assert waited["pass"] == pytest.approx({"count": 3, "of": 3, "share": 1.0, "low": low, "high": 1.0})
    assert blocked["pass"] == pytest.approx(
        {"count": 0, "of": 3, "share": 0.0, "low": 0.0, "high": 1.0 - low}
    )
    assert {name: share["count"] for name, share in blocked["events"].items()} == {
        "collided": 0,
        "left_road": 0,
        "waits": 3,
    }
    assert all(share["count"] == 0 for share in waited["events"].values())
    for name, probe in result["probes"].items():
        assert sum(part["pass"]["count"] for part in probe["variants"].values()) == probe["pass"]["count"]
        assert (pictures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        failures = {event for event, share in probe["events"].items() if share["count"]}
        drawn = {path.stem.removeprefix(f"{name}_") for path in pictures.glob(f"{name}_*.png")}
        assert drawn == failures
    assert {"ran", "drove_around", "never_went"} <= set(result["probes"]["red_light"]["events"])
    printed = capsys.readouterr().out
    assert any("red_light" in line and "1.00" in line and "nothing" in line for line in printed.splitlines())
    assert any("blocked_lane" in line and "waits 1.000" in line for line in printed.splitlines())
    assert "goal_behind" in printed


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
