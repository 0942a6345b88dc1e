"""What the scripts of this folder have in common: how they are asked, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from student.run_folder import write_json


def curve_parser(name: str, doc: str | None, metavar: str, sizes: str) -> argparse.ArgumentParser:
    """Options of a script that measures one thing at several sizes; `doc` is the script's own."""
    summary = (doc or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=summary)
    parser.add_argument("--sizes", required=True, metavar=metavar, help=sizes)
    what = "result; the picture is put beside it"
    parser.add_argument("--output", required=True, metavar="FILE.json", help=what)
    return parser


def write_curve(result: dict[str, Any], draw: Callable[[dict[str, Any], Path], None], path: str) -> None:
    """A result as JSON, and what `draw` makes of it beside the file (PNG)."""
    output = Path(path)
    write_json(output, result)
    draw(result, output.with_suffix(".png"))


def run(main: Callable[[], int]) -> None:
    """Exit with the code of `main`; a refused input ends with its sentence and code 2."""
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
