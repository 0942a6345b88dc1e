"""The console script: runs the command of a room, and turns errors in its input into one line on stderr.

A room is imported only when one of its commands is run, so that `gigapixel --help` is fast and `gigapixel adapt` never
loads JAX.

Exit codes: 0 success, 2 bad arguments, config, map, checkpoint or data (one line on stderr), 130 interrupted
(Ctrl-C), 143 terminated (SIGTERM). With GIGAPIXEL_TRACEBACK=1 errors in input show their traceback.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gigapixel.run_folder.config.named_weights import refuse_missing_weights
from gigapixel.run_folder.exit_codes import REJECTED, run_command
from gigapixel.run_folder.interrupts import run_process

ROOMS = ("simulator", "teacher", "renderer", "student", "adaptation", "gigapixel")


@dataclass(frozen=True)
class SubCommand:
    """One sub-command."""

    module: str  # its `main(argv) -> int` runs the command
    purpose: str
    usage: str


COMMANDS = {
    "demo": SubCommand(
        "gigapixel.demo", "run the whole pipeline at a small scale on the CPU, with a report", "--output DIR"
    ),
    "scenes": SubCommand(
        "simulator.__main__",
        "import road maps and traffic logs into scene packs, check packs",
        "towns|womd|check ...",
    ),
    "teacher": SubCommand(
        "teacher.__main__", "train and evaluate the privileged policy", "fit|evaluate|probe|sweep ..."
    ),
    "render": SubCommand(
        "gigapixel.pictures.render_command",
        "draw all cameras of one agent, or real images beside their renderings",
        "--map M|--frame F --output PNG",
    ),
    "film": SubCommand(
        "gigapixel.pictures.filmstrip",
        "draw one episode driven by a student and by the teacher",
        "--weights PT --output PNG",
    ),
    "student": SubCommand(
        "student.__main__",
        "train the policy that drives from pixels",
        "fit|validate|test|predict|compare ...",
    ),
    "adapt": SubCommand(
        "adaptation.__main__", "adapt the student to real cameras", "fit|validate|test|predict ..."
    ),
    "bench": SubCommand(
        "gigapixel.bench.command",
        "measure the speed of one room",
        "simulator|renderer|teacher|student --output JSON",
    ),
}


def help_text() -> str:
    """The list of commands, one per line."""
    width = max(len(name) for name in COMMANDS)
    lines = ["usage: gigapixel COMMAND ...", "", "commands:"]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<{width}}  {command.purpose}")
        lines.append(f"  {'':<{width}}    gigapixel {name} {command.usage}")
    lines += ["", "Each command takes --help. Bad input ends with one line on stderr and exit code 2."]
    return "\n".join(lines)


def set_quiet_defaults() -> None:
    """Set process-wide defaults that JAX and torch read when they load; variables that the user has set are kept."""
    from gigapixel.library_caches import set_usable_caches
    from simulator.cores import core_count  # lazy: `--help` loads no room

    os.environ.setdefault("OMP_NUM_THREADS", str(core_count()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX and torch share one GPU
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    set_usable_caches()
    for room in ROOMS:
        logging.getLogger(room).setLevel(os.environ.get("GIGAPIXEL_LOG", "INFO").upper())


def load_command(name: str) -> Callable[[list[str]], int]:
    """The `main` of a command. Raises ValueError that names a package that is not installed."""
    module = COMMANDS[name].module
    try:
        return importlib.import_module(module).main
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ROOMS or not missing:
            raise
        raise ValueError(
            f"`gigapixel {name}` needs the package {missing!r}, which is not installed; "
            "install this project with `pip install -e .`"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if arguments else REJECTED
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"gigapixel: unknown command {name!r}; known commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return REJECTED
    set_quiet_defaults()

    def run() -> int:
        refuse_missing_weights(name, rest)
        return load_command(name)(rest)

    return run_command(run, "gigapixel")


def console_script() -> int:
    """`main` as a process: see `gigapixel.run_folder.interrupts`."""
    return run_process(main, "gigapixel")


if __name__ == "__main__":
    sys.exit(console_script())
