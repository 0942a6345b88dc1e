"""The arithmetic of comparisons: means, standard errors, equal experience, equal labels, differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gigapixel.run_folder.config.study_file import Arm
from gigapixel.run_folder.seed_curves import mean_curve
from student.compare.plot import draw_comparison
from student.compare.report import content, markdown
from student.compare.run import Outcome
from student.compare.statistics import compare, difference, mean_of
from student.compare.study import ComparedArm, Study

STUDY = Study(
    "which?",
    tuple(ComparedArm(Arm(name, {}), "dagger") for name in ("few", "many", "none")),
    100,
    (0.0, 0.5, 1.0),
    (0, 1),
)


def point(agent_steps: int, labels: int, score: float, **more: Any) -> dict[str, Any]:
    """One evaluation."""
    counts = {"agent_steps": agent_steps, "labels": labels, "optimiser_steps": agent_steps // 10}
    return counts | {"driving_score": score, "commit": "abc"} | more


@pytest.fixture
def outcomes() -> list[Outcome]:
    """`few` has a tenth of the labels of `many`, `none` has none; the runs end at different agent-steps."""
    return [
        Outcome("few", 0, [point(0, 0, 0.1), point(50, 5, 0.2), point(100, 10, 0.4)]),
        Outcome("few", 1, [point(0, 0, 0.1), point(50, 5, 0.2), point(104, 10, 0.6)]),
        Outcome("many", 0, [point(0, 0, 0.1), point(50, 50, 0.5), point(100, 100, 0.8)]),
        Outcome("many", 1, [point(0, 0, 0.1), point(50, 50, 0.5), point(100, 100, 0.9)]),
        Outcome("none", 0, [point(0, 0, 0.0), point(100, 0, 0.3)]),
    ]


def test_a_mean_and_its_standard_error() -> None:
    found = mean_of([1.0, 2.0, 3.0, 6.0])
    assert found.mean == 3.0
    assert found.standard_error == pytest.approx((14.0 / 3.0) ** 0.5 / 2.0)  # squares 4 + 1 + 0 + 9
    assert mean_of([0.5]).standard_error is None


def test_arms_are_compared_where_all_runs_have_been(outcomes: list[Outcome]) -> None:
    found = compare(outcomes, "agent_steps")
    assert found is not None
    assert found.at == 100
    few, many, none = (found.means[name] for name in ("few", "many", "none"))
    at_100 = 0.2 + 0.4 * 50 / 54  # the run that ends at 104
    assert few["driving_score"].seeds == pytest.approx([0.4, at_100])
    assert many["driving_score"].mean == pytest.approx(0.85)
    assert many["driving_score"].standard_error == pytest.approx(0.05)
    assert many["labels"].mean == 100
    assert none["driving_score"].standard_error is None
    pairs = [(one.first, one.second) for one in found.differences]
    assert pairs == [("many", "few"), ("none", "few"), ("none", "many")]
    assert found.differences[1].is_clear is None


def test_at_equal_labels_the_score_is_interpolated(outcomes: list[Outcome]) -> None:
    """At 10 labels `many` has driven 10 of the 50 agent-steps to its first 50 labels."""
    found = compare(outcomes, "labels")
    assert found is not None
    assert found.at == 10
    assert list(found.means) == ["few", "many"]
    assert found.means["many"]["driving_score"].seeds == pytest.approx([0.18, 0.18])
    assert found.means["many"]["agent_steps"].mean == pytest.approx(10)
    assert found.means["few"]["driving_score"].mean == pytest.approx(0.5)


def test_a_difference_is_clear_above_two_standard_errors() -> None:
    better, worse = mean_of([0.5, 0.7]), mean_of([0.4, 0.4])
    found = difference("b", better, "a", worse)
    assert found.difference == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.1)
    assert found.is_clear is False, "exactly two"
    assert difference("b", mean_of([0.51, 0.71]), "a", worse).is_clear
    assert difference("a", worse, "b", mean_of([0.51, 0.71])).is_clear, "the sign does not matter"


def test_one_arm_is_no_comparison(outcomes: list[Outcome]) -> None:
    assert compare(outcomes[:2], "agent_steps") is None
    assert compare([], "agent_steps") is None
    assert "nothing to compare yet" in markdown(STUDY, outcomes[:1], [])


def test_the_reports_say_what_was_found(outcomes: list[Outcome]) -> None:
    both = [one for axis in ("agent_steps", "labels") if (one := compare(outcomes, axis))]
    text = markdown(STUDY, outcomes, both)
    assert "few 2, many 2, none 1" in text
    assert "## At 100 agent-steps" in text
    assert "## At 10 labels" in text
    assert "| many | 100 | 100 | 10 | 0.850 ± 0.050 |" in text
    assert "many against few: +0.365 ± 0.099, which exceeds 2 standard errors." in text
    assert "none against many: -0.550; one of them has a single seed" in text
    stored = content(STUDY, outcomes, both, {"commit": "abc"})
    assert stored["runs"]["many"][1]["points"][-1]["commit"] == "abc"
    assert stored["comparisons"][0]["differences"][0]["is_clear"] is True


def test_a_mean_curve_covers_what_all_curves_cover() -> None:
    curves = [np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([[1.0, 3.0], [4.0, 6.0]])]
    x, mean, error = mean_curve(curves, points=3)
    np.testing.assert_allclose(x, [1.0, 1.5, 2.0])
    np.testing.assert_allclose(mean, [2.0, 2.5, 3.0])
    assert error is not None
    np.testing.assert_allclose(error, [1.0, 1.0, 1.0])
    x, _, error = mean_curve([np.array([[1.0, 0.0], [100.0, 1.0]])], points=3, logarithmic=True)
    np.testing.assert_allclose(x, [1.0, 10.0, 100.0])
    assert error is None


def test_the_plot_has_a_curve_for_each_arm_and_axis(outcomes: list[Outcome]) -> None:
    left, right = draw_comparison(STUDY, outcomes).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["few", "many", "none"]
    drawn = {line.get_label(): line for line in right.lines if not line.get_label().startswith("_")}
    assert set(drawn) == {"few", "many"}
    assert drawn["few"].get_xdata()[-1] == pytest.approx(10)
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.3], "the arm without labels"
    assert len(left.collections) == len(right.collections) == 2, "bands where there are two seeds"
