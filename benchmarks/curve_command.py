"""Options and output files of the scripts that measure one workload at several sizes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.figure import write_figure


def curve_parser(name: str, doc: str | None, metavar: str, sizes: str) -> argparse.ArgumentParser:
    """The options that all of them have.

    Args:
        name: Name of the script's module.
        doc: The script's docstring; its first line becomes the description.
        metavar: How sizes are written.
        sizes: What the sizes are.
    """
    summary = (doc or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=summary)
    parser.add_argument("--sizes", required=True, metavar=metavar, help=sizes)
    what = "result; the picture is put beside it"
    parser.add_argument("--output", required=True, metavar="FILE.json", help=what)
    return parser


def write_curve(result: dict[str, Any], plot: Callable[[dict[str, Any]], Figure], path: str) -> None:
    """Write a result as JSON, and its plot as a PNG of the same name beside it."""
    output = Path(path)
    write_json(output, result)
    write_figure(output.with_suffix(".png"), plot(result), dpi=110)
