"""Errors of single samples, and the reported metrics: means per seed and scene, and standard deviations over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SampleErrors:
    """Errors of one sample: trajectories planned on the real images against the frozen student's on the rendering."""

    name: str  # dataset/seq/frame
    scene: str  # dataset/seq
    unadapted_m: float  # m, mean distance over the 8 poses (ADE), student before adaptation
    adapted_m: float  # m, the same after adaptation
    constant_m: (
        float | None
    )  # m, the same for the frozen planner on mean tokens of the training renderings, if known
    unadapted_l1_m: float  # m, mean over poses of |x| + |y| + weighted |yaw| difference
    adapted_l1_m: float  # m


ERROR_COLUMNS = ("unadapted_m", "adapted_m", "unadapted_l1_m", "adapted_l1_m")


def mean_errors(samples: Sequence[SampleErrors]) -> dict[str, float]:
    """Unweighted means over samples of ERROR_COLUMNS. Raises ValueError for none."""
    if not samples:
        raise ValueError("there are no held-out samples to report on; name scenes in data.held_out")
    return {name: statistics.fmean(getattr(sample, name) for sample in samples) for name in ERROR_COLUMNS}


def mean_constant(seeds: Iterable[Sequence[SampleErrors]]) -> float | None:
    """Mean over seeds of the mean over samples of `constant_m`; None where a sample has none."""
    means = []
    for samples in seeds:
        known = [sample.constant_m for sample in samples if sample.constant_m is not None]
        if len(known) < len(samples):
            return None
        means.append(statistics.fmean(known))
    return statistics.fmean(means)


def summarise_errors(seeds: Mapping[int, Sequence[SampleErrors]]) -> dict[str, float | int | str | None]:
    """Metrics by name, in one flat dictionary: means and sample standard deviations over seeds, each seed, each scene.

    `unadapted_error_m`, `adapted_error_m`: mean displacement error (ADE) between the trajectory planned on the real
    images and the one that the frozen student plans on the paired rendering. `ratio`: adapted over unadapted.
    `constant_error_m`: the error of the frozen planner on the mean tokens of the training scenes' renderings, a
    baseline that does not depend on the images. An adapted student well below it uses the images; one close to it
    only ignores them; None where there are no training scenes. `moments` is the number of samples.
    """
    per_seed = {seed: mean_errors(samples) for seed, samples in seeds.items()}
    ratios = [_ratio(row["adapted_m"], row["unadapted_m"]) for row in per_seed.values()]
    adapted = [row["adapted_m"] for row in per_seed.values()]
    first = next(iter(seeds.values()))
    report: dict[str, float | int | str | None] = {
        "unadapted_error_m": statistics.fmean(row["unadapted_m"] for row in per_seed.values()),
        "adapted_error_m": statistics.fmean(adapted),
        "adapted_error_m_std": _standard_deviation(adapted),
        "ratio": statistics.fmean(ratios),
        "ratio_std": _standard_deviation(ratios),
        "reduction": 1.0 - statistics.fmean(ratios),
        "constant_error_m": mean_constant(seeds.values()),
        "unadapted_l1_m": statistics.fmean(row["unadapted_l1_m"] for row in per_seed.values()),
        "adapted_l1_m": statistics.fmean(row["adapted_l1_m"] for row in per_seed.values()),
        "seeds": len(per_seed),
        "moments": len(first),
        "scenes": len({sample.scene for sample in first}),
    }
    for (seed, row), ratio in zip(per_seed.items(), ratios, strict=True):
        report |= {
            f"seed_{seed}/unadapted_error_m": row["unadapted_m"],
            f"seed_{seed}/adapted_error_m": row["adapted_m"],
            f"seed_{seed}/ratio": ratio,
        }
    for scene in dict.fromkeys(sample.scene for sample in first):
        own = [[sample for sample in samples if sample.scene == scene] for samples in seeds.values()]
        rows = [mean_errors(samples) for samples in own]
        report |= {
            f"scene_{scene}/unadapted_error_m": statistics.fmean(row["unadapted_m"] for row in rows),
            f"scene_{scene}/adapted_error_m": statistics.fmean(row["adapted_m"] for row in rows),
            f"scene_{scene}/adapted_error_m_std": _standard_deviation([row["adapted_m"] for row in rows]),
            f"scene_{scene}/constant_error_m": mean_constant(own),
            f"scene_{scene}/moments": sum(sample.scene == scene for sample in first),
        }
    return report


def _ratio(adapted: float, unadapted: float) -> float:
    if unadapted <= 0:
        raise ValueError(
            "the unadapted student has no error on the held-out samples, so the ratio is not defined"
        )
    return adapted / unadapted


def _standard_deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def summary_line(report: Mapping[str, float | int | str | None]) -> str:
    """The result in one line of text."""
    lower_percent = 100 * float(report["reduction"] or 0.0)
    return (
        f"trajectory error on {report['moments']} held-out moments of {report['scenes']} scenes: "
        f"{report['unadapted_error_m']:.3f} m unadapted, {report['adapted_error_m']:.3f} +- "
        f"{report['adapted_error_m_std']:.3f} m adapted over {report['seeds']} seeds "
        f"({lower_percent:.0f} % lower, ratio {report['ratio']:.3f} +- {report['ratio_std']:.3f})"
    )
