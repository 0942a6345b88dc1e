"""Crosswalks, lane widths and paint of CARLA's towns agree with the file, evaluated here apart from the reader."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from simulator.roads.road_map import SCHEMA_VERSION, MarkingType, RoadMap
from simulator.roads.sources.map_cache import cache_folder, load_maps
from simulator.roads.sources.opendrive import IMPORTER_VERSION, known_towns

PAINTED = {
    "solid", "broken", "solid solid", "solid broken", "broken solid", "broken broken",
}  # fmt: skip


LARGE = {"Town11", "Town12", "Town13"}
"""Towns that take minutes to import: tested where they are in the cache already."""


@pytest.fixture(scope="module", params=sorted(known_towns()))
def town(request: pytest.FixtureRequest) -> tuple[RoadMap, ElementTree.Element]:
    """The imported map and the XML of its file."""
    imported = f"{request.param}-*-s{SCHEMA_VERSION}i{IMPORTER_VERSION}.h5"
    if request.param in LARGE and not list(cache_folder().glob(imported)):
        pytest.skip(
            f"{request.param} takes minutes to import; tested where load_maps(['{request.param}']) has run"
        )
    root = ElementTree.fromstring(gzip.decompress(known_towns()[request.param].read_bytes()))
    return load_maps([request.param])[0], root


def _place(road: ElementTree.Element, s: float, t: float) -> tuple[float, float, float]:
    """x, y and heading of a position beside a reference line of lines, arcs and spirals."""
    geometry = [g for g in road.iter("geometry") if float(g.attrib["s"]) <= s + 1e-9][-1]
    d = s - float(geometry.attrib["s"])
    x, y, heading = (float(geometry.attrib[name]) for name in ("x", "y", "hdg"))
    spiral = geometry.find("spiral")
    if spiral is not None:
        first, last = float(spiral.attrib["curvStart"]), float(spiral.attrib["curvEnd"])
        along = (np.arange(2000) + 0.5) * d / 2000
        rate = (last - first) / float(geometry.attrib["length"])
        turned = heading + first * along + 0.5 * rate * along**2
        x, y = x + np.cos(turned).sum() * d / 2000, y + np.sin(turned).sum() * d / 2000
        heading += first * d + 0.5 * rate * d**2
        return x - t * math.sin(heading), y + t * math.cos(heading), heading
    arc = geometry.find("arc")
    curvature = 0.0 if arc is None else float(arc.attrib["curvature"])
    turn = curvature * d
    chord = d if abs(turn) < 1e-9 else 2 * math.sin(turn / 2) / curvature
    x, y = x + chord * math.cos(heading + turn / 2), y + chord * math.sin(heading + turn / 2)
    heading += turn
    return x - t * math.sin(heading), y + t * math.cos(heading), heading


def test_crosswalks_lie_where_s_and_t_of_the_file_put_them(
    town: tuple[RoadMap, ElementTree.Element],
) -> None:
    road_map, root = town
    rings = road_map.pieces("crosswalk")
    middles = np.array([ring[:, :2].mean(axis=0) for ring in rings]).reshape(-1, 2) + road_map.origin[:2]
    expected = []
    for road in root.iter("road"):
        for item in road.iter("object"):
            # Newer towns name crosswalks, and stop lines before them, and give them no type.
            name = item.get("name", "")
            named = "Crosswalk" in name and not name.startswith("StopLine")
            if item.get("type") != "crosswalk" and not named:
                continue
            x, y, heading = _place(road, float(item.attrib["s"]), float(item.attrib["t"]))
            heading += float(item.attrib["hdg"])
            corners = [(float(c.attrib["u"]), float(c.attrib["v"])) for c in item.iter("cornerLocal")]
            if corners[0] == corners[-1]:
                corners = corners[:-1]
            u, v = np.mean(corners, axis=0)
            expected.append((x + u * math.cos(heading) - v * math.sin(heading),
                             y + u * math.sin(heading) + v * math.cos(heading)))  # fmt: skip
    assert len(expected) == len(middles)
    assert len(expected) > 0 or road_map.name in ("Town01", "Town02", "Town11")
    for place in expected:
        assert np.linalg.norm(middles - place, axis=1).min() < 0.1


def test_lanes_are_as_wide_as_the_file_says(town: tuple[RoadMap, ElementTree.Element]) -> None:
    """At the start of every lane outside junctions, along s."""
    road_map, root = town
    index = {str(name): lane for lane, name in enumerate(road_map.lane_ids)}
    compared = 0
    for road in root.iter("road"):
        if road.get("junction") != "-1":
            continue
        for number, section in enumerate(road.iter("laneSection")):
            for side, row in (("left", -1), ("right", 0)):
                for lane in section.iterfind(f"{side}/lane"):
                    found = index.get(f"{road.get('id')}_{number}_{side}_{lane.get('id')}")
                    first = lane.find("width")
                    if found is None or first is None:
                        continue
                    start, count = road_map.lane_start[found], road_map.lane_count[found]
                    point = start + (count - 1 if row else 0)
                    across = road_map.point_left_xyz[point] - road_map.point_right_xyz[point]
                    assert np.linalg.norm(across) == pytest.approx(float(first.attrib["a"]), abs=0.01)
                    compared += 1
    assert compared >= 40


def test_nothing_is_painted_beyond_the_marks_of_the_file(town: tuple[RoadMap, ElementTree.Element]) -> None:
    """Outside junctions, the length of each colour is at most that of the file's painted marks, within 2 percent
    (borders are longer or shorter than the reference line in bends)."""
    road_map, root = town
    length: Counter[str] = Counter()
    for road in root.iter("road"):
        if road.get("junction") != "-1":
            continue
        sections = list(road.iter("laneSection"))
        ends = [float(section.attrib["s"]) for section in sections[1:]] + [float(road.attrib["length"])]
        for section, end in zip(sections, ends, strict=True):
            for lane in section.iter("lane"):
                marks = lane.findall("roadMark")
                starts = [float(section.attrib["s"]) + float(mark.attrib["sOffset"]) for mark in marks]
                for mark, s0, s1 in zip(marks, starts, [*starts[1:], end], strict=False):
                    if mark.get("type") in PAINTED:
                        length["yellow" if mark.get("color") == "yellow" else "white"] += max(
                            min(s1, end) - s0, 0.0
                        )
    yellow = (MarkingType.SOLID_YELLOW, MarkingType.DASHED_YELLOW, MarkingType.DOUBLE_YELLOW)
    drawn: Counter[str] = Counter()
    for line, kind in zip(road_map.pieces("marking"), road_map.marking_type, strict=True):
        drawn["yellow" if kind in yellow else "white"] += np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    for color, total in length.items():
        assert drawn[color] == pytest.approx(total, rel=0.02), color
    assert set(drawn) <= set(length)
