"""Commands of the simulator: import maps into scene packs, and look into a pack.

gigapixel scenes towns     --input Town01      --output PACK.h5
gigapixel scenes opendrive --input road.xodr   --output PACK.h5
gigapixel scenes check PACK.h5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.draw import draw_map
from simulator.opendrive import import_town, known_towns
from simulator.road_map import RoadMap, StopKind


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Bad input raises ValueError or OSError with one sentence."""
    options = _parser().parse_args(argv)
    if options.command == "check":
        return check(Path(options.pack))
    return import_pack(options.input, Path(options.output))


def import_pack(source: str, output: Path) -> int:
    """Import one town (by name) or OpenDRIVE file (by path) and write it as a scene pack."""
    if output.suffix not in (".h5", ".hdf5"):
        raise ValueError(f"--output {output} must end in .h5 or .hdf5")
    road_map = import_town(source)
    road_map.save(output)
    print(f"wrote {output}: {summary(road_map)}")
    return 0


def check(pack: Path) -> int:
    """Print what a scene pack holds and draw it beside itself as a PNG."""
    road_map = RoadMap.load(pack)
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
    picture = pack.with_suffix(".png")
    draw_map(road_map, size_px=1200).save(picture)
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
    parser = argparse.ArgumentParser(prog="gigapixel scenes", description="Import maps into scene packs.")
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
    look = commands.add_parser("check", help="print what a scene pack holds and draw it as PNG beside it")
    look.add_argument("pack", help="scene pack (.h5)")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
