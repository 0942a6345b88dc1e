"""Pass rates with their intervals, as plain numbers and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents, passes
from teacher.probes.probe import Probe

CONFIDENCE_Z = 1.959964
"""95 % of a normal distribution lies within this many standard deviations of its mean."""

Share = dict[str, Any]
"""count, of, share, low, high."""


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share, from the numbers of cases and of trials (Wilson 1927, J. Am. Stat.
    Assoc. 22).

    Unlike share +- 1.96 standard errors it stays inside [0, 1], and its width is not 0 at shares of 0 and 1. Raises
    ValueError unless 0 <= count <= of and of > 0.
    """
    if not (0 <= count <= of and of > 0):
        raise ValueError(
            f"count={count} of={of} is not a share; expected 0 <= count <= of and at least one trial"
        )
    share, z2 = count / of, CONFIDENCE_Z**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = CONFIDENCE_Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def share_of(cases: Bool[np.ndarray, " trials"]) -> Share:
    """Share of the trials in which ``cases`` is True, with its confidence interval."""
    count, of = int(cases.sum()), len(cases)
    low, high = wilson(count, of)
    return {"count": count, "of": of, "share": count / of, "low": low, "high": high}


def result_of(probe: Probe, run: ProbeRun, events: ProbeEvents) -> dict[str, Any]:
    """The entry of one probe in the JSON output: pass rate and event rates, in all and per variant."""
    names = np.array([trial.variant for trial in run.trials])
    result = {"seconds": probe.seconds, **_shares(events, np.ones(len(names), bool))}
    variants = list(dict.fromkeys(names.tolist()))
    return result | {"variants": {name: _shares(events, names == name) for name in variants}}


def _shares(events: ProbeEvents, chosen: Bool[np.ndarray, " trials"]) -> dict[str, Any]:
    return {
        "pass": share_of(passes(events)[chosen]),
        "events": {name: share_of(np.isfinite(times)[chosen]) for name, times in events.items()},
    }


def pass_rate_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per probe, and one per variant if there are several: pass rate with its interval, then the events that
    happened with their shares."""
    rows = [("probe", "pass", "95 %", "trials", "what went wrong (share of trials)")]
    for name, result in results.items():
        rows.append(_line(name, result))
        if len(result["variants"]) > 1:
            rows += [_line(f"  {variant}", part) for variant, part in result["variants"].items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)]).rstrip()
        for row in rows
    )


def _line(name: str, shares: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    passed = shares["pass"]
    wrong = [f"{event} {part['share']:.3f}" for event, part in shares["events"].items() if part["count"]]
    interval = f"{passed['low']:.2f} to {passed['high']:.2f}"
    return name, f"{passed['share']:.2f}", interval, str(passed["of"]), ", ".join(wrong) or "nothing"
