"""Commands of the simulator: import maps and traffic logs into scene packs, and check a pack.

gigapixel scenes towns     --input Town01      --output PACK.h5
gigapixel scenes opendrive --input road.xodr   --output PACK.h5
gigapixel scenes womd|nuscenes|av2|py123d [--input PATH] --output PACK.h5
gigapixel scenes check PACK.h5|Town01 [--scene NAME] [--report] [--picture PNG]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.interrupts import run_process
from gigapixel.run_folder.outputs import PACK_SUFFIXES, check_output_file
from simulator.cores import core_count
from simulator.drawing.top_down import draw_map
from simulator.logs.import_logs import LOG_FORMATS, find_sources, import_logs
from simulator.logs.scene_pack import ScenePack, holds_logged_scenes
from simulator.roads.map_contents import lane_counts, map_contents
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town, known_towns


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises ValueError or OSError for bad input."""
    options = _parser().parse_args(argv)
    if options.command == "check":
        return check(options.pack, options.scene, options.report, options.picture)
    if options.command in LOG_FORMATS:
        return import_traffic(options)
    return import_pack(options.input, Path(options.output), options.strict)


def import_pack(source: str, output: Path, strict: bool = False) -> int:
    """Import one town (by name) or OpenDRIVE file (by path) and write it as a scene pack."""
    check_output_file("--output", output, PACK_SUFFIXES)
    road_map = import_town(source, strict)
    road_map.save(output)
    print(f"wrote {output}: {lane_counts(road_map)}")
    return 0


def import_traffic(options: argparse.Namespace) -> int:
    """Import traffic logs into one pack; prints one line per refused scene and per kind of feature left out, and a
    summary."""
    output = Path(options.output)
    check_output_file("--output", output, PACK_SUFFIXES)
    start = time.perf_counter()
    sources, read = find_sources(options.command, options.input)
    report = import_logs(sources, read, output, options.workers, options.strict, _print_refusal)
    for line in report.lines():
        print(line)
    seconds = time.perf_counter() - start
    print(f"wrote {output}: {len(report.imported)} scenes, {len(report.refused)} refused, {seconds:.0f} s")
    return 0


def _print_refusal(message: str) -> None:
    tqdm.write(f"refused: {message}", file=sys.stderr)  # above a progress bar


def check(pack: str, scene: str | None = None, report: bool = False, picture: str | None = None) -> int:
    """Print a summary of a scene pack and draw it as a PNG file, `picture` or else beside the pack.

    `pack` may also be the name of a town or an OpenDRIVE file; its picture is written to the current folder.
    """
    path = Path(pack)
    check_output_file("--picture", picture, (".png",))
    if holds_logged_scenes(path):
        if picture is None:
            picture = str(path.with_name(f"{path.stem}-{scene}.png" if scene else f"{path.stem}.png"))
        return _check_logs(path, scene, report, Path(picture))
    if scene is not None or report:
        raise ValueError(f"{pack}: holds one map; --scene and --report expect a pack of logged scenes")
    if _is_source(path):
        road_map = load_maps([pack])[0]
        return _check_town(road_map, Path(picture or f"{road_map.name}.png"))
    return _check_town(RoadMap.load(path), Path(picture or path.with_suffix(".png")))


def _is_source(path: Path) -> bool:
    """Whether `path` is the name of a town or an OpenDRIVE file, rather than a scene pack."""
    return path.name.endswith((".xodr", ".xodr.gz")) or (
        len(path.parts) == 1 and not path.suffix and not path.exists()
    )


def _check_logs(path: Path, scene: str | None, report: bool, picture: Path) -> int:
    from simulator.dynamics.action_replay import action_lines
    from simulator.logs.inspection.contents import summary_lines
    from simulator.logs.inspection.pictures import contact_sheet, draw_scene
    from simulator.logs.inspection.plausibility import log_report, report_lines

    check_output_file("--picture", picture)
    with ScenePack(path) as pack:
        if scene is not None:
            image = draw_scene(pack[scene], 1400)
        else:
            for line in summary_lines(pack):
                print(line)
            image = contact_sheet(pack)
        write_image(picture, image)
        print(f"picture: {picture}")
        if report:
            chosen = list(pack) if scene is None else [pack[scene]]
            for line in [*report_lines(log_report(chosen)), *action_lines(chosen)]:
                print(line)
    return 0


def _check_town(road_map: RoadMap, picture: Path) -> int:
    check_output_file("--picture", picture)
    rows = {
        "name": road_map.name,
        "source": f"{road_map.source_file} (sha256 {road_map.source_sha256[:16]}...)",
        "importer": road_map.importer,
        **map_contents(road_map),
        "left out": road_map.left_out or "nothing",
    }
    for name, value in rows.items():
        print(f"{name:>12}  {value}")
    write_image(picture, draw_map(road_map, size_px=1200))
    print(f"{'picture':>12}  {picture}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="gigapixel scenes",
        description="Import maps and traffic logs into scene packs, and check packs.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    towns = commands.add_parser(
        "towns", help=f"import a CARLA town: {', '.join(known_towns()) or 'needs py123d'}"
    )
    opendrive = commands.add_parser("opendrive", help="import an OpenDRIVE file (.xodr or .xodr.gz)")
    for command, what in (
        (towns, "name of a town, or path of a .xodr[.gz] file"),
        (opendrive, "path of the file"),
    ):
        command.add_argument("--input", required=True, help=what)
        command.add_argument("--output", required=True, help="scene pack to write (.h5)")
        command.add_argument(
            "--strict", action="store_true", help="refuse a map of which anything is left out"
        )
    for name, log_format in LOG_FORMATS.items():
        _add_log_options(commands.add_parser(name, help=f"import {log_format.description}"))
    checker = commands.add_parser("check", help="print a summary of a scene pack or a map and draw it as PNG")
    checker.add_argument("pack", help="scene pack (.h5), name of a town, or path of a .xodr[.gz] file")
    checker.add_argument("--picture", metavar="PNG", help="where to draw it (default: beside the pack)")
    checker.add_argument("--scene", help="draw this one scene, large")
    checker.add_argument(
        "--report",
        action="store_true",
        help="how often logged vehicles are off the road or overlap, and how well action models follow them",
    )
    return parser


def _add_log_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--input", help="file or folder; by default the folder of this format below $GIGAPIXEL_DATA/logs"
    )
    command.add_argument("--output", required=True, help="scene pack to write (.h5)")
    command.add_argument(
        "--strict",
        action="store_true",
        help="write no pack, and end with exit code 2, where a scene is refused",
    )
    command.add_argument(
        "--workers", type=int, default=core_count(), help="processes (default: one per core)"
    )


if __name__ == "__main__":
    sys.exit(run_process(main, "gigapixel scenes"))
