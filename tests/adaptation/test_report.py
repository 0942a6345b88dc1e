"""The reported numbers, by hand arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adaptation.report import SampleErrors, summarise_errors, summary_line


def sample_errors(scene: str, unadapted: float, adapted: float) -> SampleErrors:
    return SampleErrors(f"{scene}/0", scene, unadapted, adapted, 5.0, 2 * unadapted, 2 * adapted)


def test_means_spread_and_ratio_over_seeds() -> None:
    report = summarise_errors(
        {
            0: [sample_errors("a", 2.0, 1.0), sample_errors("b", 4.0, 2.0)],
            1: [sample_errors("a", 2.0, 2.0), sample_errors("b", 4.0, 2.5)],
        }
    )
    assert report["unadapted_error_m"] == pytest.approx(3.0)
    assert report["adapted_error_m"] == pytest.approx((1.5 + 2.25) / 2)
    assert report["adapted_error_m_std"] == pytest.approx(0.75 / 2**0.5)
    assert report["ratio"] == pytest.approx((0.5 + 0.75) / 2)
    assert report["reduction"] == pytest.approx(0.375)
    assert report["seed_1/ratio"] == pytest.approx(0.75)
    assert report["scene_b/adapted_error_m"] == pytest.approx(2.25)
    assert report["constant_error_m"] == 5.0
    assert (report["seeds"], report["moments"], report["scenes"]) == (2, 2, 2)
    assert "38 % lower" in summary_line(report)


def test_one_seed_has_no_spread() -> None:
    assert summarise_errors({7: [sample_errors("a", 2.0, 1.0)]})["adapted_error_m_std"] == 0.0


def test_the_constant_baseline_is_null_where_it_is_not_known() -> None:
    known = sample_errors("a", 2.0, 1.0)
    report = summarise_errors({0: [replace(known, constant_m=None)]})
    assert report["constant_error_m"] is report["scene_a/constant_error_m"] is None
    assert report["adapted_error_m"] == 1.0
    assert "50 % lower" in summary_line(report)


def test_nothing_held_out_is_rejected() -> None:
    with pytest.raises(ValueError, match="no held-out samples"):
        summarise_errors({0: []})
