"""The unit of time stamps, by what it makes of steps, dates and speeds."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.logs.time_unit import UNITS_S, TimeUnit, decide_time_unit

NOW_S = 1_533_151_603.512404


def positions(count: int, spacing_m: float) -> np.ndarray:
    return np.stack([spacing_m * np.arange(count), np.zeros(count)], axis=1)


@pytest.mark.parametrize("unit", UNITS_S)
@pytest.mark.parametrize("start_s", [0.0, 315_969_904.36, NOW_S], ids=["relative", "of 1980", "of 2018"])
@pytest.mark.parametrize("step_s", [1 / 60, 0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("documented", ["s", "us"])
def test_usual_steps_give_the_unit_whatever_is_documented(
    unit: str, start_s: float, step_s: float, documented: str
) -> None:
    stamps = (start_s + step_s * np.arange(10)) / UNITS_S[unit]
    found = decide_time_unit(stamps, positions(10, 10.0 * step_s), documented)
    assert found.name == unit
    assert found.step_s == pytest.approx(step_s, rel=1e-3)
    assert found.speed_mps == pytest.approx(10.0, rel=1e-3)


def test_one_missed_sample_and_the_order_do_not_matter() -> None:
    stamps = np.array([5, 0, 1, 2, 4]) * 100_000_000
    found = decide_time_unit(stamps, positions(10, 1.0)[[5, 0, 1, 2, 4]])
    assert found.describe() == "ns (steps of 0.1 s, 10 m/s)"


def test_speed_decides_where_the_step_is_unusual() -> None:
    """A picture every 60 s from a car at 10 m/s; standing, the usual step of 0.06 s would be more plausible."""
    stamps = 60.0 * np.arange(4)
    assert decide_time_unit(stamps, positions(4, 600.0)).name == "s"
    assert decide_time_unit(stamps, positions(4, 0.0)).name == "ms"


def test_dates_and_then_the_documentation_decide_on_a_single_stamp() -> None:
    assert decide_time_unit(np.array([NOW_S * 1e3]), documented="us") == TimeUnit("ms", None, None)
    assert decide_time_unit(np.array([12.0]), documented="us").describe() == "us"


def test_what_fits_no_unit_or_several_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fits no unit: s \(steps of 0\.5 s, 5e\+03 m/s\), .* at most 70 m/s"
    ):
        decide_time_unit(np.array([0.0, 0.5]), positions(2, 2500.0), "s")
    with pytest.raises(ValueError, match="may be in s or in ms or in us or in ns"):
        decide_time_unit(np.array([12.0]))
    # Seconds of 2018 a minute apart, or milliseconds since the computer was started?
    with pytest.raises(ValueError, match=r"may be in s \(steps of 60 s\) or in ms \(steps of 0\.06 s\)"):
        decide_time_unit(np.round(NOW_S) + 60.0 * np.arange(3))
