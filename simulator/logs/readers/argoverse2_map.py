"""Maps of Argoverse 2, read by py123d after everything that it cannot read has been left out of them."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gigapixel.run_folder.exit_codes import reason_of
from simulator.logs.cleaning.clean_tracks import FARTHEST_M
from simulator.logs.readers.malformed import malformed, number_of
from simulator.logs.readers.py123d_map import source_map_of
from simulator.roads.building.raw_map import RawMap
from simulator.roads.building.repairs import Repairs

_LEAST_POINTS = {
    "lane_segments": {"left_lane_boundary": 2, "right_lane_boundary": 2},
    "drivable_areas": {"area_boundary": 3},
    "pedestrian_crossings": {"edge1": 2, "edge2": 2},
}
"""Lines of each kind of feature, and the points that they need."""


def argoverse2_map(folder: Path, repairs: Repairs) -> RawMap:
    """The map from the `log_map_archive_*.json` of a folder.

    Features without enough finite points are left out and counted in `repairs`. Raises OSError for a missing file and
    ValueError for one that cannot be read.
    """
    from py123d.parser.av2.av2_map_parser import Av2MapParser

    archive = next(iter(sorted(folder.glob("log_map_archive_*.json"))), None)
    if archive is None:
        raise FileNotFoundError(f"{folder}: holds no log_map_archive_*.json; expected the map of the log")
    mended = _mended(archive, _load(archive), repairs)
    with tempfile.TemporaryDirectory() as parent:  # the parser expects a folder named map
        home = Path(parent) / "map"
        if mended is None:
            home.symlink_to(folder.resolve(), target_is_directory=True)
        else:
            home.mkdir()
            (home / archive.name).write_text(json.dumps(mended), encoding="utf-8")
        quiet = logging.getLogger("py123d")
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # it warns about heights that it fills
        try:
            objects: list[Any] = list(Av2MapParser(Path(parent), "av2-sensor_val").iter_map_objects())
        except Exception as error:  # a third-party parser fails in as many ways as there are broken files
            raise ValueError(
                f"{archive}: not a readable map ({reason_of(error)}); expected an intact map archive"
            ) from error
        finally:
            quiet.setLevel(level)
    return source_map_of(objects, repairs)


def _load(archive: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The archive: features by kind and identifier. Raises ValueError for anything else."""
    try:
        contents = json.loads(archive.read_bytes())
    except (ValueError, RecursionError) as error:
        raise malformed(archive, error, "an intact map archive") from error
    for kind in _LEAST_POINTS:
        features = contents.get(kind) if isinstance(contents, dict) else None
        if not isinstance(features, dict):
            raise ValueError(f"{archive}: {kind} is missing; expected an object of features by identifier")
        for name, feature in features.items():
            if not isinstance(feature, dict):
                raise ValueError(
                    f"{archive}: {kind}[{name!r}] is a {type(feature).__name__}; expected an object"
                )
    return contents


def _mended(
    archive: Path, contents: dict[str, dict[str, dict[str, Any]]], repairs: Repairs
) -> dict[str, dict[str, dict[str, Any]]] | None:
    """The archive as the parser needs it, None where it already is so. Counts what is left out or completed."""
    before = dict(repairs.counts)
    result = dict(contents)
    for kind, lines in _LEAST_POINTS.items():
        features = {}
        for name, feature in contents[kind].items():
            found = {
                line: _finite_points(archive, f"{kind}[{name!r}].{line}", feature.get(line)) for line in lines
            }
            if all(len(found[line]) >= least for line, least in lines.items()):
                features[name] = _completed(kind, feature, found, repairs)
            else:
                repairs.add(f"{kind.replace('_', ' ')} without enough finite points left out")
        result[kind] = features
    return None if repairs.counts == before else result


def _finite_points(archive: Path, where: str, line: Any) -> list[dict[str, Any]]:
    """The points of a line that have x and y; none where the line is null. A line that extends over more than
    FARTHEST_M has no usable points. Raises ValueError for what is no list of points."""
    if line is None:
        return []
    if not isinstance(line, list) or not all(point is None or isinstance(point, dict) for point in line):
        raise ValueError(f"{archive}: {where} is no list of points; expected points with x, y and z")
    points = [point for point in line if point is not None]
    xy = np.array([[number_of(point.get(axis)) for axis in "xy"] for point in points]).reshape(-1, 2)
    good = np.isfinite(xy).all(axis=1)
    heights = np.nan_to_num([number_of(point.get("z")) for point in points])
    if good.any() and max(*np.ptp(xy[good], axis=0), np.ptp(heights)) > FARTHEST_M:
        return []
    return points if good.all() else [point for point, is_good in zip(points, good, strict=True) if is_good]


def _completed(
    kind: str, feature: dict[str, Any], lines: dict[str, list[dict[str, Any]]], repairs: Repairs
) -> dict[str, Any]:
    """A feature with its usable points, and with the fields that the parser needs."""
    result = dict(feature)
    for line, points in lines.items():
        if len(points) != len(feature[line]):
            repairs.add("map points with NaN left out", len(feature[line]) - len(points))
            result[line] = points
        if any(not isinstance(point.get("z"), int | float | None) or "z" not in point for point in points):
            repairs.add("map points without height")  # which the parser takes from the other points
            result[line] = [point | {"z": number_of(point.get("z"))} for point in points]
        if kind == "pedestrian_crossings" and len(points) > 2:
            repairs.add("edges of crosswalks taken as straight")
            result[line] = [points[0], points[-1]]
    if kind == "lane_segments":
        _complete_lane(result, repairs)
    return result


def _complete_lane(lane: dict[str, Any], repairs: Repairs) -> None:
    """Add the fields that a lane lacks, in place."""
    from py123d.parser.av2.utils.av2_constants import AV2_ROAD_LINE_TYPE_MAPPING

    for name, default in (
        ("successors", []), ("predecessors", []), ("left_neighbor_id", None), ("right_neighbor_id", None),
        ("is_intersection", False),
    ):  # fmt: skip
        if lane.get(name) is None and (name not in lane or default is not None):
            repairs.add("missing fields of lanes completed")
            lane[name] = default
    for side in ("left", "right"):
        mark = lane.get(f"{side}_lane_mark_type")
        if not isinstance(mark, str) or mark not in AV2_ROAD_LINE_TYPE_MAPPING:
            repairs.add("marks of lanes without a known type left out")
            lane[f"{side}_lane_mark_type"] = "NONE"
