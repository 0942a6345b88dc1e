"""Errors of single moments to the numbers that are reported: per seed, with the spread, and per scene."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MomentErrors:
    """How far one moment's trajectories on the real pictures are from the frozen student's on the rendering."""

    name: str
    scene: str
    unadapted_m: float  # m, mean distance over the 8 poses (ADE), student before adaptation
    adapted_m: float  # m, the same after adaptation
    constant_m: (
        float  # m, the same for the frozen planner fed the mean tokens of the training scenes' renderings
    )
    unadapted_l1_m: float  # m, mean over poses of |x| + |y| + weighted |yaw| difference
    adapted_l1_m: float  # m


COLUMNS = ("unadapted_m", "adapted_m", "constant_m", "unadapted_l1_m", "adapted_l1_m")


def mean_errors(moments: Sequence[MomentErrors]) -> dict[str, float]:
    """Means over moments, each moment counting once."""
    if not moments:
        raise ValueError("there are no held-out moments to report on; name some in data.held_out")
    return {name: statistics.fmean(getattr(moment, name) for moment in moments) for name in COLUMNS}


def summarise(seeds: Mapping[int, Sequence[MomentErrors]]) -> dict[str, float | int | str]:
    """One flat object: means over seeds, sample standard deviations over seeds, every seed, every scene.

    `unadapted_error_m`, `adapted_error_m`: mean distance (ADE) between the trajectory planned on the real pictures and
    the one that the frozen student plans on the paired rendering. `ratio`: adapted over unadapted. `constant_error_m`:
    the error of the frozen planner fed the mean tokens of the training scenes' renderings, which sees nothing: an
    adapted student well below it has learnt to see, one beside it has only learnt not to be misled.
    """
    per_seed = {seed: mean_errors(moments) for seed, moments in seeds.items()}
    ratios = [_ratio(row["adapted_m"], row["unadapted_m"]) for row in per_seed.values()]
    adapted = [row["adapted_m"] for row in per_seed.values()]
    first = next(iter(seeds.values()))
    report: dict[str, float | int | str] = {
        "unadapted_error_m": statistics.fmean(row["unadapted_m"] for row in per_seed.values()),
        "adapted_error_m": statistics.fmean(adapted),
        "adapted_error_m_std": _spread(adapted),
        "ratio": statistics.fmean(ratios),
        "ratio_std": _spread(ratios),
        "reduction": 1.0 - statistics.fmean(ratios),
        "constant_error_m": statistics.fmean(row["constant_m"] for row in per_seed.values()),
        "unadapted_l1_m": statistics.fmean(row["unadapted_l1_m"] for row in per_seed.values()),
        "adapted_l1_m": statistics.fmean(row["adapted_l1_m"] for row in per_seed.values()),
        "seeds": len(per_seed),
        "moments": len(first),
        "scenes": len({moment.scene for moment in first}),
    }
    for (seed, row), ratio in zip(per_seed.items(), ratios, strict=True):
        report |= {
            f"seed_{seed}/unadapted_error_m": row["unadapted_m"],
            f"seed_{seed}/adapted_error_m": row["adapted_m"],
            f"seed_{seed}/ratio": ratio,
        }
    for scene in dict.fromkeys(moment.scene for moment in first):
        rows = [mean_errors([m for m in moments if m.scene == scene]) for moments in seeds.values()]
        report |= {
            f"scene_{scene}/unadapted_error_m": statistics.fmean(row["unadapted_m"] for row in rows),
            f"scene_{scene}/adapted_error_m": statistics.fmean(row["adapted_m"] for row in rows),
            f"scene_{scene}/adapted_error_m_std": _spread([row["adapted_m"] for row in rows]),
            f"scene_{scene}/constant_error_m": statistics.fmean(row["constant_m"] for row in rows),
            f"scene_{scene}/moments": sum(moment.scene == scene for moment in first),
        }
    return report


def _ratio(adapted: float, unadapted: float) -> float:
    if unadapted <= 0:
        raise ValueError(
            "the unadapted student makes no error on the held-out moments, so there is nothing to adapt"
        )
    return adapted / unadapted


def _spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def sentence(report: Mapping[str, float | int | str]) -> str:
    """The result in words."""
    return (
        f"trajectory error on {report['moments']} held-out moments of {report['scenes']} scenes: "
        f"{report['unadapted_error_m']:.3f} m unadapted, {report['adapted_error_m']:.3f} +- "
        f"{report['adapted_error_m_std']:.3f} m adapted over {report['seeds']} seeds "
        f"({100 * float(report['reduction']):.0f} % lower, ratio {report['ratio']:.3f} +- {report['ratio_std']:.3f})"
    )
