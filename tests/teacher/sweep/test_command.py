"""The command: its JSON, its plot, its refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulator.conventions import TRAIT_NAMES
from teacher.__main__ import main
from teacher.reward import default_traits
from teacher.sweep.command import swept_traits
from teacher.sweep.figures import BEHAVIOURS


def test_only_the_coefficient_is_varied():
    place = TRAIT_NAMES.index("lane_align")
    others = np.arange(len(TRAIT_NAMES)) != place
    careful = np.asarray(swept_traits("lane_align", 0.2, "careful"))
    np.testing.assert_array_equal(careful[others], np.asarray(default_traits())[others])
    middle = np.asarray(swept_traits("lane_align", 0.2, "middle"))
    np.testing.assert_array_equal(middle[others], 0.5)
    assert careful[place] == middle[place] == pytest.approx(0.2)


def test_the_shipped_policy_keeps_to_the_side_that_it_is_told(tmp_path, capsys):
    """The preferred line moves from 0.5 m right to 0.5 m left of the lane's middle, and the policy with it."""
    output, plot = tmp_path / "new" / "s.json", tmp_path / "s.png"
    size = ["--map", "Town02", "--worlds", "4", "--agents", "8", "--seconds", "10"]
    arguments = ["--coefficient", "center_bias", "--values", "0,0.5,1", *size, "--plot", str(plot)]
    assert main(["sweep", *arguments, "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert [row["value"] for row in result["rows"]] == [0.0, 0.5, 1.0]
    assert all(set(row) == {"value", *BEHAVIOURS} for row in result["rows"])
    right, middle, left = (row["side_m"] for row in result["rows"])
    assert right < middle < left
    trend = result["trends"]["side_m"]
    assert trend["rank_correlation"] == pytest.approx(1.0)
    assert trend["change"] == pytest.approx(left - right)
    assert trend["change"] > 2 * trend["standard_error"]
    assert trend["follows"]
    assert result["meant"] == {
        "behaviour": "side_m",
        "is": BEHAVIOURS["side_m"],
        "direction": "rises",
        "rank_correlation": trend["rank_correlation"],
        "moves_as_meant": True,
    }
    speeds = [row["speed_mps"] for row in result["rows"]]
    assert max(speeds) - min(speeds) < 0.5  # the same worlds, driven as fast
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "center_bias is meant to move side_m" in printed
    assert any(f"{right:.4f}" in line and f"{left:.4f}" in line for line in printed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--coefficient", "patience"], "--coefficient 'patience' is unknown; known coefficients: collision"),
        (["--coefficient", "collision", "--values", "0,2"], "--values '0,2' must be two or more increasing"),
        (["--coefficient", "collision", "--values", "1,0"], "must be two or more increasing numbers"),
        (["--coefficient", "collision", "--values", "half"], "must be two or more increasing numbers"),
        (["--coefficient", "collision", "--worlds", "0"], "--worlds 0 must be at least 1"),
        (["--coefficient", "collision", "--map", "Atlantis"], "Atlantis"),
    ],
)
def test_impossible_requests_are_refused(arguments, sentence, tmp_path):
    output = tmp_path / "s.json"
    with pytest.raises((ValueError, OSError), match=sentence):
        main(["sweep", *arguments, "--output", str(output)])
    assert not output.exists()
