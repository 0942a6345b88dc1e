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


def test_command_writes_rows_and_trends(tmp_path, capsys):
    output, plot = tmp_path / "new" / "s.json", tmp_path / "s.png"
    size = ["--map", "Town02", "--worlds", "2", "--agents", "4", "--seconds", "5"]
    arguments = ["--coefficient", "collision", "--values", "0,0.5,1", *size, "--plot", str(plot)]
    assert main(["sweep", *arguments, "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert [row["value"] for row in result["rows"]] == [0.0, 0.5, 1.0]
    assert all(set(row) == {"value", *BEHAVIOURS} for row in result["rows"])
    assert set(result["trends"]) == set(BEHAVIOURS)
    assert result["meant"]["behaviour"] == "gap_p10_m"
    speeds = [row["speed_mps"] for row in result["rows"]]
    assert len(set(speeds)) == 3  # the policy is told something else each time
    assert max(speeds) - min(speeds) < 2.0  # in the same worlds
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "collision is meant to move gap_p10_m" in capsys.readouterr().out


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
