"""Commands of the simulator: import maps and recorded traffic into scene packs, and look into a pack.

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

import numpy as np

from gigapixel.run_folder.exit_codes import run_command
from gigapixel.run_folder.figure import write_image
from simulator.cores import core_count
from simulator.drawing.top_down import draw_map
from simulator.logs.import_logs import Reader, find_sources, import_logs, input_roots
from simulator.logs.scene_pack import ScenePack, holds_logged_scenes
from simulator.roads.road_map import RoadMap, StopKind
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town, known_towns

LOG_SOURCES = {
    "womd": "Waymo Open Motion scenes as JSON of Nocturne or GPUDrive (.json, .json.gz)",
    "nuscenes": "nuScenes and Waymo scenes as pickles of ScenarioNet (.pkl, .pkl.gz)",
    "av2": "Argoverse 2 sensor logs and forecasting scenarios",
    "py123d": "logs that py123d has converted: nuPlan, KITTI-360, PandaSet and others",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Bad input raises ValueError or OSError with one sentence."""
    options = _parser().parse_args(argv)
    if options.command == "check":
        return check(options.pack, options.scene, options.report, options.picture)
    if options.command in LOG_SOURCES:
        return import_traffic(options)
    return import_pack(options.input, Path(options.output))


def import_pack(source: str, output: Path) -> int:
    """Import one town (by name) or OpenDRIVE file (by path) and write it as a scene pack."""
    _check_output(output)
    road_map = import_town(source)
    road_map.save(output)
    print(f"wrote {output}: {summary(road_map)}")
    return 0


def import_traffic(options: argparse.Namespace) -> int:
    """Import recorded scenes into one pack; one line per refused scene, and one that sums up."""
    output = Path(options.output)
    _check_output(output)
    begin = time.perf_counter()
    sources, read = log_sources(options.command, options.input)
    report = import_logs(sources, read, output, options.workers, options.strict)
    for sentence in report.refused:
        print(f"refused: {sentence}", file=sys.stderr)
    seconds = time.perf_counter() - begin
    print(f"wrote {output}: {len(report.imported)} scenes, {len(report.refused)} refused, {seconds:.0f} s")
    return 0


def log_sources(command: str, given: str | None) -> tuple[list[Path], Reader]:
    """What one import command reads, and with what. Readers are loaded only when asked for."""
    what = LOG_SOURCES[command]
    if command == "womd":
        from simulator.logs.readers import womd

        return find_sources(given, (womd.FOLDER,), womd.PATTERNS, what), womd.read_womd
    if command == "nuscenes":
        from simulator.logs.readers import scenarionet

        return find_sources(
            given, (scenarionet.FOLDER,), scenarionet.PATTERNS, what
        ), scenarionet.read_scenarionet
    if command == "av2":
        from simulator.logs.readers import argoverse2

        folders = [
            folder
            for root in input_roots(given, argoverse2.FOLDERS, what)
            for folder in argoverse2.av2_folders(root)
        ]
        return _some(folders, given, what), argoverse2.read_av2
    from simulator.logs.readers import py123d

    folders = [
        folder
        for root in input_roots(given, ("logs/py123d",), what)
        for folder in py123d.py123d_folders(root)
    ]
    return _some(folders, given, what), py123d.read_py123d


def _some(folders: list[Path], given: str | None, what: str) -> list[Path]:
    if not folders:
        raise ValueError(f"--input {given} holds no {what}")
    return folders


def _check_output(output: Path) -> None:
    if output.suffix not in (".h5", ".hdf5"):
        raise ValueError(f"--output {output} must end in .h5 or .hdf5")


def check(pack: str, scene: str | None = None, report: bool = False, picture: str | None = None) -> int:
    """Print what a scene pack holds and draw it as a PNG, beside the pack unless `picture` says where.

    `pack` may also be the name of a town or an OpenDRIVE file; their picture goes into the current folder.
    """
    path = Path(pack)
    if picture is not None and Path(picture).suffix.lower() != ".png":
        raise ValueError(f"--picture {picture} must end in .png")
    if holds_logged_scenes(path):
        if picture is None:
            picture = str(path.with_name(f"{path.stem}-{scene}.png" if scene else f"{path.stem}.png"))
        return _check_logs(path, scene, report, Path(picture))
    if scene is not None or report:
        raise ValueError(f"{pack}: holds the map of one town; --scene and --report expect recorded scenes")
    if _is_source(path):
        road_map = load_maps([pack])[0]
        return _check_town(road_map, Path(picture or f"{road_map.name}.png"))
    return _check_town(RoadMap.load(path), Path(picture or path.with_suffix(".png")))


def _is_source(path: Path) -> bool:
    """Whether a map has yet to be imported: a town by name or an OpenDRIVE file, no scene pack."""
    return path.name.endswith((".xodr", ".xodr.gz")) or (
        len(path.parts) == 1 and not path.suffix and not path.exists()
    )


def _check_logs(path: Path, scene: str | None, report: bool, picture: Path) -> int:
    from simulator.dynamics.action_replay import action_lines
    from simulator.logs.inspection.contents import summary_lines
    from simulator.logs.inspection.pictures import contact_sheet, draw_scene
    from simulator.logs.inspection.plausibility import log_report, report_lines

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
    low, high = road_map.bounds()
    lights = int((road_map.stop_line_kind == StopKind.TRAFFIC_LIGHT).sum())
    limits = road_map.lane_speed_limit_mps
    rows = {
        "name": road_map.name,
        "source": f"{road_map.source_file} (sha256 {road_map.source_sha256[:16]}...)",
        "importer": road_map.importer,
        "lanes": summary(road_map),
        "speed limits": f"{limits.min():.1f} to {limits.max():.1f} m/s",
        "extent": f"{high[0] - low[0]:.0f} x {high[1] - low[1]:.0f} m",
        "height": f"{road_map.point_xyz[:, 2].min():.1f} to {road_map.point_xyz[:, 2].max():.1f} m",
        "stop lines": f"{lights} with lights, {len(road_map.stop_line_kind) - lights} with signs",
        "phase groups": f"{np.bincount(road_map.junction_groups).tolist()} junctions with 0, 1, 2, ... groups",
        "pieces": ", ".join(f"{len(road_map.pieces(kind))} {kind}" for kind in _KINDS),
    }
    for name, value in rows.items():
        print(f"{name:>12}  {value}")
    write_image(picture, draw_map(road_map, size_px=1200))
    print(f"{'picture':>12}  {picture}")
    return 0


def summary(road_map: RoadMap) -> str:
    """One line: lanes, kilometres, junctions."""
    kilometres = float(road_map.lane_length_m.sum()) / 1000.0
    junctions = int(road_map.lane_junction.max(initial=-1)) + 1
    lit = len(road_map.junction_groups)
    return (
        f"{road_map.num_lanes} lanes, {kilometres:.1f} km, {junctions} junctions of which {lit} with lights"
    )


_KINDS = ("edge", "marking", "crosswalk", "drivable", "walkway")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gigapixel scenes",
        description="Import maps and recorded traffic into scene packs, and check packs.",
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
    for name, what in LOG_SOURCES.items():
        _add_log_options(commands.add_parser(name, help=f"import {what}"))
    look = commands.add_parser("check", help="print what a scene pack or a town holds and draw it as PNG")
    look.add_argument("pack", help="scene pack (.h5), name of a town, or path of a .xodr[.gz] file")
    look.add_argument("--picture", metavar="PNG", help="where to draw it (default: beside the pack)")
    look.add_argument("--scene", help="draw this one recorded scene, large")
    look.add_argument(
        "--report",
        action="store_true",
        help="how often recorded vehicles are off the road or overlap, and how well actions follow them",
    )
    return parser


def _add_log_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--input", help="file or folder; by default the usual folder below $GIGAPIXEL_DATA/logs"
    )
    command.add_argument("--output", required=True, help="scene pack to write (.h5)")
    command.add_argument(
        "--strict", action="store_true", help="refuse the whole import when one scene is refused"
    )
    command.add_argument(
        "--workers", type=int, default=core_count(), help="processes (default: one per core)"
    )


if __name__ == "__main__":
    sys.exit(run_command(main, "gigapixel scenes"))
