"""Times a workload in the same way for every room, and describes the result as one flat JSON object.

The first call is timed alone (`compile_s`: compilation, or the first use of numba and cuDNN). One more call warms up.
Then follow three windows of at least `window_s`, each of whole calls, and the median window is reported: a median
tolerates one disturbance by another process, and the spread of the windows is in the file.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gigapixel.run_folder.metadata import STUDENT_PACKAGES, run_metadata
from simulator.cores import core_count

WINDOWS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workload:
    """What is measured.

    Attributes:
        description: The work in words.
        unit: What is counted: "agent_steps" or "views".
        device: Name of the device.
        settings: The settings of the room, as in the JSON file.
        call: Does the work, waits until it is done, and returns the number of units.
        variants: Variants of the work, such as fewer stages, each measured by itself as `<name>_per_s`.
        variant_units: What a variant counts, where it is something else than `unit`.
        extra_metrics: Called after the measurement; returns further entries of the JSON file.
        final_metrics: Called with the measurements of the variants; returns further entries of the JSON file.
    """

    description: str
    unit: str
    device: str
    settings: dict[str, Any]
    call: Callable[[], int]
    variants: dict[str, Callable[[], int]] = field(default_factory=dict)
    variant_units: dict[str, str] = field(default_factory=dict)
    extra_metrics: Callable[[Measurement], dict[str, Any]] = lambda _: {}
    final_metrics: Callable[[dict[str, Measurement]], dict[str, Any]] = lambda _: {}


@dataclass(frozen=True)
class Measurement:
    """Seconds and speeds of one workload."""

    compile_s: float  # the first call
    windows_per_s: list[float]  # units per second of each window
    calls: int  # in all windows together
    units: int  # in all windows together

    @property
    def per_s(self) -> float:
        """Units per second of the median window."""
        return statistics.median(self.windows_per_s)


def measure(
    workload: Workload, window_s: float, clock: Callable[[], float] = time.perf_counter
) -> Measurement:
    """Time a workload: first call, one warm-up call, then WINDOWS windows of at least `window_s` each."""
    began = clock()
    workload.call()
    compile_s = clock() - began
    workload.call()
    speeds, calls, units = [], 0, 0
    for _ in range(WINDOWS):
        began, done = clock(), 0
        while True:
            done += workload.call()
            calls += 1
            spent = clock() - began
            if spent >= window_s:
                break
        speeds.append(done / spent)
        units += done
    return Measurement(compile_s, speeds, calls, units)


def run_benchmark(room: str, workload: Workload, window_s: float) -> dict[str, Any]:
    """Time a workload and its variants; returns the JSON object of `bench_result` and logs it as it grows."""
    _log.info("%s on %s: %s", room, workload.device, workload.description)
    measurement = measure(workload, window_s)
    extra_metrics = dict(workload.extra_metrics(measurement))
    for name, value in extra_metrics.items():
        _log.info("%s: %s", name, value)
    variants = {}
    for name, call in workload.variants.items():
        variants[name] = measure(replace(workload, call=call), window_s)
        unit = workload.variant_units.get(name, workload.unit).replace("_", "-")
        _log.info("%s: %s %s/s", name, f"{variants[name].per_s:,.0f}", unit)
    extra_metrics |= workload.final_metrics(variants)
    return bench_result(room, workload, measurement, variants, extra_metrics, window_s)


def bench_result(
    room: str,
    workload: Workload,
    measurement: Measurement,
    variants: dict[str, Measurement],
    extra_metrics: dict[str, Any],
    window_s: float,
) -> dict[str, Any]:
    """The flat JSON object of a benchmark file; its keys are described in `benchmarks/README.md`."""
    metadata = run_metadata("cpu", None, STUDENT_PACKAGES)
    return {
        "benchmark": room,
        f"{workload.unit}_per_s": round(measurement.per_s, 1),
        "windows_per_s": [round(speed, 1) for speed in measurement.windows_per_s],
        **{f"{name}_per_s": round(variant.per_s, 1) for name, variant in variants.items()},
        **extra_metrics,
        "compile_s": round(measurement.compile_s, 3),
        "calls": measurement.calls,
        "units": measurement.units,
        "window_s": window_s,
        "device": workload.device,
        "cores": core_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "workload": workload.description,
        "settings": workload.settings,
        **{name: metadata[name] for name in ("commit", "python", "versions")},
    }
