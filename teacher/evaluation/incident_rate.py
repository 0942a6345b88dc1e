"""Kilometres per incident: totals of a long drive, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

CONFIDENCE = 0.95
COUNTED = (
    "agent_steps",  # of active agents that count in the metrics
    "metres",
    "collisions",  # one for each agent of a collision
    "at_fault_collisions",
    "offroads",
    "red_lights",
    "stop_signs",
    "moments",  # steps of a world in which any agent collided or left the road
    "arrivals",  # agents that reached every goal of their route
)
"""What is summed over agents and time, for each map."""


@dataclass(frozen=True)
class Totals:
    """Sums over a long drive so far."""

    sums: dict[str, np.ndarray]  # name of COUNTED -> [maps] f64
    timestep_s: float

    @classmethod
    def zero(cls, maps: int, timestep_s: float) -> Totals:
        """The totals before the first step."""
        return cls({name: np.zeros(maps) for name in COUNTED}, timestep_s)

    def plus(self, more: dict[str, np.ndarray]) -> Totals:
        """These totals plus the sums [maps] of further steps."""
        return Totals(
            {name: self.sums[name] + np.asarray(more[name], float) for name in COUNTED}, self.timestep_s
        )

    @property
    def hours(self) -> float:
        """Agent-hours driven."""
        return float(self.sums["agent_steps"].sum()) * self.timestep_s / 3600.0

    @property
    def km(self) -> float:
        """Kilometres driven by all agents together."""
        return float(self.sums["metres"].sum()) / 1000.0

    @property
    def incidents(self) -> int:
        """Collisions and off-road events."""
        return int(self.sums["collisions"].sum() + self.sums["offroads"].sum())

    def metrics(self, map_id: int | None = None) -> dict[str, float | int | None]:
        """Metrics of one map, or of all together, as the JSON output has them."""
        values = {
            name: float(total.sum() if map_id is None else total[map_id]) for name, total in self.sums.items()
        }
        km = values.pop("metres") / 1000.0
        hours = values["agent_steps"] * self.timestep_s / 3600.0
        incidents = values["collisions"] + values["offroads"]
        low, high = km_interval(km, int(incidents), int(values["moments"]))
        counts = {name: int(value) for name, value in values.items()}
        return {
            "hours": hours,
            "km": km,
            **{name: counts[name] for name in counts if name != "moments"},
            "incidents": int(incidents),
            "incident_moments": counts["moments"],
            "km_per_incident": km / incidents if incidents else None,
            "km_per_incident_low": low,
            "km_per_incident_high": high,
        }


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % confidence interval of a Poisson mean, given one count (Garwood 1936)."""
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = 0.5 * float(chi2.ppf(tail, 2 * count)) if count else 0.0
    return low, 0.5 * float(chi2.ppf(1.0 - tail, 2 * count + 2))


def km_interval(km: float, incidents: int, moments: int) -> tuple[float, float | None]:
    """95 % confidence interval of the km per incident; without incidents the upper end is None.

    ``moments`` (see COUNTED) are modelled as a Poisson process, with the observed number of incidents per moment: two
    agents that hit each other are two incidents of one event, so an interval over incidents would be too narrow (our
    choice). Where each incident has its own moment, this is the exact interval of the incidents.
    """
    fewest, most = poisson_interval(moments)
    per_moment = incidents / moments if moments else 1.0
    return km / (most * per_moment), km / (fewest * per_moment) if fewest else None
