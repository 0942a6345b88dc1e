"""How far between incidents: totals of a long drive, and how sure one can be of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

CONFIDENCE = 0.95
COUNTED = (
    "agent_steps",  # of agents that count and still drove
    "metres",
    "collisions",  # each agent of a collision by itself
    "at_fault_collisions",
    "offroads",
    "red_lights",
    "stop_signs",
    "moments",  # steps of a world in which anybody collided or left the road
    "arrivals",  # agents that reached every goal of their route
)
"""What is summed over agents and time, for each town."""


@dataclass(frozen=True)
class Totals:
    """Sums since a long drive began."""

    sums: dict[str, np.ndarray]  # name of COUNTED -> [towns] f64
    timestep_s: float

    @classmethod
    def nothing(cls, towns: int, timestep_s: float) -> Totals:
        """Before the first step."""
        return cls({name: np.zeros(towns) for name in COUNTED}, timestep_s)

    def plus(self, more: dict[str, np.ndarray]) -> Totals:
        """With the sums [towns] of some more steps."""
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
        """Collisions and departures."""
        return int(self.sums["collisions"].sum() + self.sums["offroads"].sum())

    def figures(self, town: int | None = None) -> dict[str, float | int | None]:
        """Plain numbers of one town, or of all together."""
        values = {
            name: float(total.sum() if town is None else total[town]) for name, total in self.sums.items()
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
    """The exact (Garwood 1936) 95 % interval of a Poisson process's mean when ``count`` events were seen."""
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = 0.5 * float(chi2.ppf(tail, 2 * count)) if count else 0.0
    return low, 0.5 * float(chi2.ppf(1.0 - tail, 2 * count + 2))


def km_interval(km: float, incidents: int, moments: int) -> tuple[float, float | None]:
    """95 % interval of the km between incidents; no upper end while there were none.

    Moments are taken as a Poisson process, and incidents to come with them at the rate seen: two agents that hit each
    other are two incidents, but they are one event, and an interval that took them for two would be too narrow (the
    choice is ours). Where every incident has a moment of its own it is the exact interval of the incidents.
    """
    fewest, most = poisson_interval(moments)
    per_moment = incidents / moments if moments else 1.0
    return km / (most * per_moment), km / (fewest * per_moment) if fewest else None
