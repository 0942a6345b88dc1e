"""Kilometres between incidents: totals by hand, and intervals from tables of the Poisson distribution."""

import numpy as np
import pytest

from teacher.evaluation.incident_rate import COUNTED, Totals, km_interval, poisson_interval


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_intervals_are_those_of_the_tables(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=6e-4)


def test_intervals_hold_the_truth_19_times_in_20(rng: np.random.Generator) -> None:
    for mean in (0.5, 3.0, 20.0):
        counts, often = np.unique(rng.poisson(mean, 4000), return_counts=True)
        inside = [low <= mean <= high for low, high in map(poisson_interval, counts.tolist())]
        assert (often * inside).sum() / 4000 > 0.94


def test_km_intervals_by_hand() -> None:
    assert km_interval(100.0, 0, 0) == (pytest.approx(100 / 3.689, rel=1e-3), None)
    low, high = km_interval(100.0, 10, 10)
    assert (low, high) == (pytest.approx(100 / 18.390, rel=1e-3), pytest.approx(100 / 4.795, rel=1e-3))
    paired = km_interval(100.0, 20, 10)
    assert paired == (pytest.approx(low / 2), pytest.approx(high / 2)), (
        "two agents of one crash tell no more than one"
    )
    assert paired[1] / paired[0] > np.divide(*reversed(km_interval(100.0, 20, 20)))


def test_totals_by_hand() -> None:
    """Two towns, two chunks, steps of 0.25 s."""
    totals = Totals.zero(2, 0.25)
    assert totals.metrics()["km_per_incident"] is None
    chunk = {name: np.zeros(2, np.float32) for name in COUNTED}
    chunk |= {"agent_steps": np.array([14400.0, 7200.0]), "metres": np.array([9000.0, 3000.0])}
    chunk |= {"collisions": np.array([2.0, 0.0]), "moments": np.array([1.0, 1.0])}
    totals = totals.plus(chunk).plus(chunk | {"offroads": np.array([0.0, 1.0])})
    assert (totals.hours, totals.km, totals.incidents) == (3.0, 24.0, 5)
    together, second = totals.metrics(), totals.metrics(1)
    assert together["km_per_incident"] == pytest.approx(24.0 / 5)
    assert (together["collisions"], together["offroads"], together["incident_moments"]) == (4, 1, 4)
    assert (second["km"], second["hours"], second["incidents"]) == (6.0, 1.0, 1)
    assert together["km_per_incident_low"] < together["km_per_incident"] < together["km_per_incident_high"]
