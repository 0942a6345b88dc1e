"""`python -m benchmarks.compare_maps OLD.h5 NEW.h5 [--view X,Y,METRES ...] [--picture PNG]`: one map, imported twice.

Compares lanes and stop lines one by one, painted lines by type, and crosswalks by the nearest pairs, and draws views of
both side by side. Packs come from `gigapixel scenes towns`, at the commits that are to be compared. With several pairs
of packs (OLD NEW OLD NEW ...) the k-th view is of the k-th pair.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.optimize
import shapely
from PIL import Image, ImageDraw, ImageFont

from gigapixel.run_folder.exit_codes import run_command
from gigapixel.run_folder.figure import write_image
from simulator.drawing.top_down import draw_map
from simulator.roads.polylines import arc_length
from simulator.roads.road_map import MarkingType, RoadMap, StopKind

MOVED_M = 0.1
"""Lanes, borders and crosswalks that differ by more are counted as moved."""
SAME_LINE_M = 0.3
"""Stop lines of one kind nearer to each other than this are one line."""
VIEW_PX, CAPTION_PX, GAP_PX = 560, 26, 8


def compare_maps(old: RoadMap, new: RoadMap) -> dict[str, str]:
    """What differs between two imports of one map, in words, by aspect."""
    if np.any(old.origin != new.origin):
        old = _moved_map(old, np.subtract(old.origin, new.origin))
    shared = [
        (str(name), _lane(old, name), _lane(new, name)) for name in new.lane_ids if name in old.lane_ids
    ]
    centres = [_apart(old.lane(first), new.lane(second)) for _, first, second in shared]
    borders = [
        max(_apart(*pair) for pair in zip(_borders(old, first), _borders(new, second), strict=True))
        for _, first, second in shared
    ]
    heights = [np.abs(old.lane(a)[[0, -1], 2] - new.lane(b)[[0, -1], 2]).max() for _, a, b in shared]
    moved = _pairs(_middles(old, "crosswalk"), _middles(new, "crosswalk"))
    stops = [0] * len(StopKind)
    for kind in StopKind:
        lines = [one.stop_line_xyz[one.stop_line_kind == kind].mean(axis=1) for one in (old, new)]
        stops[kind] = int((_pairs(*lines) < SAME_LINE_M).sum())
    limits = [old.lane_speed_limit_mps[a] - new.lane_speed_limit_mps[b] for _, a, b in shared]
    return {
        "lanes": f"{old.num_lanes} -> {new.num_lanes}, of the same name {len(shared)}",
        "links": f"{len(_links(old))} -> {len(_links(new))}, the same {len(_links(old) & _links(new))}",
        "centrelines moved": _moved(centres), "borders moved": _moved(borders),
        "ends at other heights": _moved(heights), "limits changed": str(int((np.abs(limits) > 0.01).sum())),
        "crosswalks": f"{len(old.crosswalk_start)} -> {len(new.crosswalk_start)}, moved {_moved(moved)}",
        **{
            f"stop lines, {kind.name.lower()}":
            f"{(old.stop_line_kind == kind).sum()} -> {(new.stop_line_kind == kind).sum()}, the same {stops[kind]}"
            for kind in StopKind
        },
        **{f"paint, {kind.name.lower()}": f"{_paint(old, kind)} -> {_paint(new, kind)}" for kind in MarkingType},
    }  # fmt: skip


def _moved_map(road_map: RoadMap, by: np.ndarray) -> RoadMap:
    fields = ("point_xyz", "point_left_xyz", "point_right_xyz", "crosswalk_points", "stop_line_xyz")
    return replace(road_map, **{name: getattr(road_map, name) + by for name in fields})


def _lane(road_map: RoadMap, name: str) -> int:
    return int(np.flatnonzero(road_map.lane_ids == name)[0])


def _links(road_map: RoadMap) -> set[tuple[str, str]]:
    """(lane, the lane after it), by name."""
    lane, column = np.nonzero(road_map.lane_successors >= 0)
    after = road_map.lane_successors[lane, column]
    return {(str(road_map.lane_ids[a]), str(road_map.lane_ids[b])) for a, b in zip(lane, after, strict=True)}


def _borders(road_map: RoadMap, lane: int) -> tuple[np.ndarray, np.ndarray]:
    rows = slice(road_map.lane_start[lane], road_map.lane_start[lane] + road_map.lane_count[lane])
    return road_map.point_left_xyz[rows], road_map.point_right_xyz[rows]


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance (m, in the plane) of two lines at equal shares of their lengths."""
    shares = np.linspace(0.0, 1.0, 41)
    lines = [shapely.LineString(line[:, :2]) for line in (first, second)]
    places = [
        shapely.get_coordinates(shapely.line_interpolate_point(line, shares, normalized=True))
        for line in lines
    ]
    return float(np.linalg.norm(places[0] - places[1], axis=1).max())


def _middles(road_map: RoadMap, kind: str) -> np.ndarray:
    return np.array([ring[:, :2].mean(axis=0) for ring in road_map.pieces(kind)]).reshape(-1, 2)


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distances (m) of the points of two sets in the pairing with the least sum."""
    apart = np.linalg.norm(first[:, None] - second[None], axis=-1)
    return apart[scipy.optimize.linear_sum_assignment(apart)]


def _moved(distances: Sequence[float] | np.ndarray) -> str:
    far = np.asarray(distances)[np.asarray(distances) > MOVED_M]
    return f"{len(far)}, by up to {far.max():.2f} m" if len(far) else "0"


def _paint(road_map: RoadMap, kind: MarkingType) -> str:
    """Number and length of the lines of one type."""
    lines = [
        line
        for line, own in zip(road_map.pieces("marking"), road_map.marking_type, strict=True)
        if own == kind
    ]
    return f"{len(lines)} lines, {sum(arc_length(line)[-1] for line in lines):.0f} m"


def views_picture(
    pairs: Sequence[tuple[RoadMap, RoadMap]], views: Sequence[tuple[float, float, float]]
) -> Image.Image:
    """A row for every view (x, y, metres across; m): the old map on the left, the new one on the right."""
    width, height = 2 * VIEW_PX + GAP_PX, VIEW_PX // 2 + CAPTION_PX + GAP_PX
    picture = Image.new("RGB", (width, height * len(views) - GAP_PX), "white")
    brush, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for row, ((x, y, metres), maps) in enumerate(zip(views, pairs, strict=True)):
        for column, (road_map, when) in enumerate(zip(maps, ("before", "now"), strict=True)):
            left, top = column * (VIEW_PX + GAP_PX), row * height
            brush.text((left + 2, top + 3), f"{road_map.name} at {x:g}, {y:g}: {when}", "black", font)
            picture.paste(
                draw_map(road_map, (x, y), metres, (VIEW_PX, VIEW_PX // 2)), (left, top + CAPTION_PX)
            )
    return picture


def _view(text: str) -> tuple[float, float, float]:
    x, y, metres = (float(number) for number in text.split(","))
    return x, y, metres


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison of every pair, draw the views, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_maps", description=__doc__)
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="old, new, old, new, ...")
    parser.add_argument("--view", action="append", type=_view, default=[], metavar="X,Y,METRES")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args(argv)
    if len(options.packs) % 2:
        raise ValueError(f"{len(options.packs)} packs; expected pairs of an old and a new one")
    maps = [RoadMap.load(path) for path in options.packs]
    pairs = list(zip(maps[::2], maps[1::2], strict=True))
    for old, new in pairs:
        print(new.name)
        for aspect, words in compare_maps(old, new).items():
            print(f"  {aspect:>26}  {words}")
    if options.picture is not None:
        if len(options.view) != len(pairs):
            raise ValueError(
                f"{len(options.view)} views for {len(pairs)} pairs of packs; expected one for each"
            )
        write_image(options.picture, views_picture(pairs, options.view))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "compare_maps"))
