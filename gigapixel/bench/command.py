"""`gigapixel bench ROOM --output FILE.json [--NAME VALUE ...]`: measure the speed of one room; see `harness`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gigapixel.bench.harness import run_benchmark
from gigapixel.bench.registry import WORKLOADS
from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.config.yaml_file import parse_yaml, read_mapping
from gigapixel.run_folder.outputs import JSON_SUFFIXES, check_output_file

ROOM_NAMES = tuple(WORKLOADS)
TRAINED_ROOMS = ("teacher", "student")


def read_settings(path: str | None, room: str) -> dict[str, Any]:
    """The room's block of a YAML file of settings, {} without a file.

    For TRAINED_ROOMS `path` may also be a training configuration, which is then measured.
    """
    if path is None:
        return {}
    content = read_mapping(path)
    if not isinstance(content.get(room, {}), dict):
        raise ValueError(f"{path}: expected a mapping from a room ({', '.join(ROOM_NAMES)}) to its settings")
    unknown = set(content) - set(ROOM_NAMES)
    if unknown and room in TRAINED_ROOMS:
        return {"config": path}
    if unknown:
        raise ValueError(f"{path}: unknown room {sorted(unknown)[0]!r}; expected {', '.join(ROOM_NAMES)}")
    return content.get(room, {})


def make_settings(settings_class: type, values: dict[str, Any], origin: str) -> Any:
    """A settings dataclass from plain values.

    Raises ValueError for unknown names, wrong types and numbers that are not positive; 0 is accepted where it is the
    default. `origin` names the source of the values in the message.
    """
    defaults = asdict(settings_class())
    known = {name: type(value) for name, value in defaults.items()}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{origin}: unknown setting {name!r}; expected {', '.join(known)}")
        wanted = (int, float) if known[name] is float else known[name]
        if not isinstance(value, wanted) or isinstance(value, bool) is not (known[name] is bool):
            raise ValueError(f"{origin}: {name}={value!r} must be {known[name].__name__}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            may_be_0 = defaults[name] == 0
            if not value < math.inf or value < 0 or (value == 0 and not may_be_0):
                raise ValueError(f"{origin}: {name}={value!r} must be positive{' or 0' if may_be_0 else ''}")
    return settings_class(**values)


def parse_bench_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="gigapixel bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("room", choices=ROOM_NAMES)
    parser.add_argument("--output", required=True, metavar="FILE.json", help="where the result is written")
    what = "settings per room, see benchmarks/; for teacher and student also a training configuration"
    parser.add_argument("--config", metavar="YAML", help=what)
    parser.epilog = "Every other setting of the room is an option too, for example --worlds 64."
    arguments, rest = parser.parse_known_args(argv)
    arguments.settings = settings_from_options(rest)
    return arguments


def settings_from_options(options: Sequence[str]) -> dict[str, Any]:
    """Settings given as `--NAME VALUE` or `--NAME=VALUE`, values read as YAML scalars."""
    values, left = {}, list(options)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("--") or not (equals or left):
            raise ValueError(f"{name}: expected --NAME VALUE, for example --worlds 64")
        values[name[2:]] = parse_yaml(value if equals else left.pop(0), name)
    return values


def main(argv: Sequence[str]) -> int:
    """Measure one room and write the result."""
    arguments = parse_bench_arguments(argv)
    check_output_file("--output", arguments.output, JSON_SUFFIXES)
    values = read_settings(arguments.config, arguments.room) | arguments.settings

    settings_class, make_workload = WORKLOADS[arguments.room]
    settings = make_settings(settings_class, values, arguments.config or "options")
    workload = make_workload(settings)
    result = run_benchmark(arguments.room, workload, settings.window_s)
    write_json(arguments.output, result)
    speed = f"{result[f'{workload.unit}_per_s']:,.0f} {workload.unit.replace('_', '-')}/s"
    print(f"{speed} on {workload.device} -> {arguments.output}")
    return 0
