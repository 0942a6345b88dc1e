"""`gigapixel bench ROOM --output FILE.json [--NAME VALUE ...]`: how fast one room works, measured the same everywhere.

The first call is timed alone (`compile_s`: compilation, or numba's and cuDNN's first use). One more call warms up.
Then come three windows of at least `window_s`, each of whole calls, and the median window is reported: a median
forgives one disturbance by another process, and the spread of the windows is in the file for all to see.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.cores import core_count

WINDOWS = 3
ROOMS = ("simulator", "renderer", "teacher", "student")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workload:
    """Something to measure: `call()` works, waits until the work is done, and returns how many units it was."""

    description: str
    unit: str  # "agent_steps" or "views"
    device: str
    settings: dict[str, Any]
    call: Callable[[], int]
    rows: dict[str, Callable[[], int]] = field(default_factory=dict)  # parts of the work, measured apart
    facts: Callable[[Measurement], dict[str, Any]] = lambda _: {}  # about the work at its end, for the file


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


def measured(room: str, workload: Workload, window_s: float) -> dict[str, Any]:
    """Time a workload and its rows; gives the flat JSON object of `report` and logs it as it grows."""
    _log.info("%s on %s: %s", room, workload.device, workload.description)
    measurement = measure(workload, window_s)
    facts = workload.facts(measurement)
    for name, value in facts.items():
        _log.info("%s: %s", name, value)
    rows = {}
    for name, call in workload.rows.items():
        rows[name] = measure(replace(workload, call=call), window_s)
        _log.info("%s: %s %s/s", name, f"{rows[name].per_s:,.0f}", workload.unit.replace("_", "-"))
    return report(room, workload, measurement, rows, facts, window_s)


def report(
    room: str,
    workload: Workload,
    measurement: Measurement,
    rows: dict[str, Measurement],
    facts: dict[str, Any],
    window_s: float,
) -> dict[str, Any]:
    """The flat JSON object of a bench file."""
    from student.run_folder import run_metadata

    made_by = run_metadata("cpu", None)
    return {
        "benchmark": room,
        f"{workload.unit}_per_s": round(measurement.per_s, 1),
        "windows_per_s": [round(speed, 1) for speed in measurement.windows_per_s],
        **{f"{name}_per_s": round(row.per_s, 1) for name, row in rows.items()},
        **facts,
        "compile_s": round(measurement.compile_s, 3),
        "calls": measurement.calls,
        "units": measurement.units,
        "window_s": window_s,
        "device": workload.device,
        "cores": core_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "workload": workload.description,
        "settings": workload.settings,
        **{name: made_by[name] for name in ("commit", "python", "versions")},
    }


def read_settings(path: str | None, room: str) -> dict[str, Any]:
    """The room's block of a YAML of settings ({} without a file); the teacher also takes a training configuration."""
    if path is None:
        return {}
    import yaml

    with Path(path).open() as file:
        try:
            content = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get(room, {}), dict):
        raise ValueError(f"{path}: expected a mapping from a room ({', '.join(ROOMS)}) to its settings")
    unknown = set(content) - set(ROOMS)
    if unknown and room == "teacher":
        return {"config": path}
    if unknown:
        raise ValueError(f"{path}: unknown room {sorted(unknown)[0]!r}; expected {', '.join(ROOMS)}")
    return content.get(room, {})


def make_settings(kind: type, values: dict[str, Any], origin: str) -> Any:
    """A settings dataclass from plain values; unknown names and wrong types are refused. Numbers must be positive, or
    at least 0 where 0 is the default."""
    defaults = asdict(kind())
    known = {name: type(value) for name, value in defaults.items()}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{origin}: unknown setting {name!r}; expected {', '.join(known)}")
        wanted = (int, float) if known[name] is float else known[name]
        if not isinstance(value, wanted) or isinstance(value, bool) is not (known[name] is bool):
            raise ValueError(f"{origin}: {name}={value!r} must be {known[name].__name__}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            may_be_0 = defaults[name] == 0
            if value < 0 or (value == 0 and not may_be_0):
                raise ValueError(f"{origin}: {name}={value!r} must be positive{' or 0' if may_be_0 else ''}")
    return kind(**values)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gigapixel bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--output", required=True, metavar="FILE.json", help="where the result is written")
    what = "settings per room, see benchmarks/; for the teacher also a training configuration"
    parser.add_argument("--config", metavar="YAML", help=what)
    parser.epilog = "Every other setting of the room is an option too, for example --worlds 64."
    arguments, rest = parser.parse_known_args(argv)
    arguments.settings = override(rest)
    return arguments


def override(rest: Sequence[str]) -> dict[str, Any]:
    """Settings given as `--NAME VALUE` or `--NAME=VALUE`, values read as YAML scalars."""
    import yaml

    values, left = {}, list(rest)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("--") or not (equals or left):
            raise ValueError(f"{name}: expected --NAME VALUE, for example --worlds 64")
        values[name[2:]] = yaml.safe_load(value if equals else left.pop(0))
    return values


def main(argv: Sequence[str]) -> int:
    """Measure one room and write the result."""
    arguments = parse(argv)
    values = read_settings(arguments.config, arguments.room) | arguments.settings

    from gigapixel.bench import registry
    from student.run_folder import write_json

    kind, build = registry.BUILDERS[arguments.room]
    settings = make_settings(kind, values, arguments.config or "options")
    workload = build(settings)
    result = measured(arguments.room, workload, settings.window_s)
    write_json(arguments.output, result)
    speed = f"{result[f'{workload.unit}_per_s']:,.0f} {workload.unit.replace('_', '-')}/s"
    print(f"{speed} on {workload.device} -> {arguments.output}")
    return 0


__all__ = ["Measurement", "Workload", "main", "measure", "measured", "report"]
