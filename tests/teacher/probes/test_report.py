"""Shares, their intervals and the table."""

from __future__ import annotations

import numpy as np
import pytest

from teacher.probes.report import pass_rate_table, share_of, wilson


def test_wilson_by_hand():
    """z = 1.96: 5 of 10 gives (0.5 + 0.192) / 1.384 = 0.5 +- 1.96 / 1.384 * sqrt(0.025 + 0.0096) = 0.2634, and 0 of 10
    gives 0 to 3.8415 / 13.8415."""
    assert wilson(5, 10) == pytest.approx((0.5 - 0.2634, 0.5 + 0.2634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((1.0 - 3.8415 / 13.8415, 1.0), abs=1e-4)


def test_wilson_covers_the_truth_in_19_of_20_cases(rng):
    counts = rng.binomial(100, 0.9, 2000)
    intervals = np.array([wilson(int(count), 100) for count in counts])
    covered = ((intervals[:, 0] <= 0.9) & (intervals[:, 1] >= 0.9)).mean()
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("count", "of"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_share_is_refused(count, of):
    with pytest.raises(ValueError, match=f"count={count} of={of} is not a share"):
        wilson(count, of)


def test_table_names_what_went_wrong_and_only_that():
    passed, failed, never = (share_of(np.arange(10) < count) for count in (7, 3, 0))
    part = {"pass": passed, "events": {"collided": failed, "late": never}}
    lines = pass_rate_table({"merge": {"seconds": 1.0, **part, "variants": {"only": part}}}).splitlines()
    assert len(lines) == 2  # a single variant needs no line of its own
    assert lines[1].split()[:2] == ["merge", "0.70"]
    assert "collided 0.30" in lines[1]
    assert "late" not in lines[1]
