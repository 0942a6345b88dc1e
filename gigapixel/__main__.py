"""The console script: find the room a command belongs to, hand over, and turn refusals into a sentence.

Nothing here knows what a command does. Rooms are imported only when asked for, so that `gigapixel --help`
is instant and `gigapixel adapt` never loads JAX.

Exit codes: 0 done, 2 refused (bad arguments, config, map, checkpoint or data: one sentence on stderr),
130 interrupted. Set GIGAPIXEL_TRACEBACK=1 to see where a refusal came from.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REFUSED = 2
INTERRUPTED = 130
ROOMS = ("simulator", "teacher", "renderer", "student", "adaptation", "gigapixel")
BENCHED = ("simulator", "renderer", "teacher", "student")


@dataclass(frozen=True)
class Command:
    """One sub-command."""

    module: str  # its `main(argv) -> int` runs the command
    purpose: str
    usage: str


COMMANDS = {
    "demo": Command("gigapixel.demo", "the whole pipeline, small, on the CPU, with a report", "--output DIR"),
    "scenes": Command(
        "simulator.__main__",
        "import road maps and traffic logs into scene packs, check packs",
        "towns|womd|check ...",
    ),
    "teacher": Command(
        "teacher.__main__", "train and evaluate the privileged driver", "fit|evaluate|probe|sweep ..."
    ),
    "render": Command(
        "gigapixel.pictures.render_command",
        "what every camera of one agent sees, or a real picture beside its rendering",
        "--map M|--frame F --output PNG",
    ),
    "film": Command(
        "gigapixel.pictures.filmstrip",
        "the same episode driven by a student and by the teacher",
        "--weights PT --output PNG",
    ),
    "student": Command(
        "student.__main__", "train the driver that sees pixels", "fit|validate|test|predict ..."
    ),
    "adapt": Command(
        "adaptation.__main__", "adapt the student to real cameras", "fit|validate|test|predict ..."
    ),
    "bench": Command(
        "gigapixel.bench.command", "measure one room's speed", f"{'|'.join(BENCHED)} --output JSON"
    ),
}


def help_text() -> str:
    """The list of commands, one a line."""
    width = max(len(name) for name in COMMANDS)
    lines = ["usage: gigapixel COMMAND ...", "", "commands:"]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<{width}}  {command.purpose}")
        lines.append(f"  {'':<{width}}    gigapixel {name} {command.usage}")
    lines += ["", "Each command takes --help. A refused input ends with one sentence and exit code 2."]
    return "\n".join(lines)


def set_quiet_defaults() -> None:
    """Process-wide settings that must stand before JAX and torch load; never against the user's own."""
    from simulator.cores import core_count  # here: asking for help loads no room

    os.environ.setdefault("OMP_NUM_THREADS", str(core_count()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX and torch share one GPU
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for room in ROOMS:
        logging.getLogger(room).setLevel(os.environ.get("GIGAPIXEL_LOG", "INFO").upper())


def load_command(name: str) -> Callable[[list[str]], int]:
    """The `main` of a command; a package that is not installed is refused by name."""
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


def refuse(error: BaseException) -> int:
    """Print the sentence of a refusal on stderr and return its exit code."""
    sentence = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        sentence = f"{error.filename}: {error.strerror}"
    print(f"gigapixel: {sentence}", file=sys.stderr)
    return REFUSED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if arguments else REFUSED
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"gigapixel: unknown command {name!r}; known commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return REFUSED
    set_quiet_defaults()
    try:
        return int(load_command(name)(rest) or 0)
    except KeyboardInterrupt:
        print("gigapixel: interrupted; a run with checkpoints goes on with --resume", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if os.environ.get("GIGAPIXEL_TRACEBACK"):
            raise
        return refuse(error)


if __name__ == "__main__":
    sys.exit(main())
