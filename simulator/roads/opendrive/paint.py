"""Painted lines: the road marks of lanes, as polylines on the borders of the lanes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from simulator.roads.opendrive.document import Document, Road, RoadMark
from simulator.roads.opendrive.lane_strips import LaneStrip
from simulator.roads.opendrive.road_frame import RoadFrame
from simulator.roads.opendrive.xml_elements import shown
from simulator.roads.road_map import MarkingType

SHORTEST_LINE_M = 0.1
POINT_SPACING_M = 1.0
PATTERNS = {
    "solid": "SOLID", "broken": "DASHED", "solid solid": "DOUBLE", "broken broken": "DASHED",
    "solid broken": "DOUBLE", "broken solid": "DOUBLE",
}  # fmt: skip
"""Marks that are painted. Two lines of which one is solid are drawn as a double line (`MarkingType`)."""
UNPAINTED = ("none", "curb", "edge", "")
YELLOW = ("yellow", "orange", "amber")
WHITE = ("white", "standard", "")

Line = tuple[np.ndarray, MarkingType]
Border = Callable[[np.ndarray, float], np.ndarray]
"""Points [n, 3] m of a border at s [n], moved by a t offset (m) to the left of the reference line's direction."""


def painted_lines(
    document: Document, frames: dict[str, RoadFrame], strips: Sequence[LaneStrip]
) -> list[Line]:
    """Polylines [n, 3] m and their types, of the marks on both sides of the reference line and on it.

    Not painted, as the file says: none, kerbs and the edges of what may be driven on. Marks of unknown kinds are
    counted and left out. The marks of roads inside junctions are left out as well (ours): exporters repeat there the
    lines of the roads before, on every way through the junction.
    """
    result: list[Line] = []
    for strip in strips:
        if not _crosses_others(document, strip.road):
            for mark, begin, extent in _extents(strip.lane.marks, strip.section.s, (strip.s0, strip.s1)):
                result += _lines(document, mark, begin, extent, functools.partial(_beside_lane, strip))
    for frame in frames.values():
        if not _crosses_others(document, frame.road):
            result += _centre_lines(document, frame)
    return result


def _beside_lane(strip: LaneStrip, s: np.ndarray, t_offset: float) -> np.ndarray:
    """Points [n, 3] m of the outer border of a lane."""
    if t_offset == 0.0:
        return strip.borders(s)[1]
    return strip.frame.xyz(s, strip.border_t(s)[1] + t_offset)


def _beside_centre(frame: RoadFrame, s: np.ndarray, t_offset: float) -> np.ndarray:
    """Points [n, 3] m of the reference line, moved by the lane offset."""
    return frame.xyz(s, frame.road.lane_offset.at(s) + t_offset)


def _crosses_others(document: Document, road: Road) -> bool:
    """Whether a road lies in a junction whose roads lie across each other; the exits of direct junctions do not."""
    found = document.junctions.get(road.junction or "")
    return road.junction is not None and (found is None or found.kind == "default")


def _centre_lines(document: Document, frame: RoadFrame) -> Iterator[Line]:
    sections = frame.road.sections
    ends = [section.s for section in sections[1:]] + [frame.road.length]
    for section, end in zip(sections, ends, strict=True):
        for mark, begin, extent in _extents(section.centre_marks, section.s, (section.s, end)):
            yield from _lines(document, mark, begin, extent, functools.partial(_beside_centre, frame))


def _extents(
    marks: Sequence[RoadMark], section_s: float, within: tuple[float, float]
) -> Iterator[tuple[RoadMark, float, tuple[float, float]]]:
    """Every mark that holds somewhere `within`: the mark, where it begins, and the part of s that it covers."""
    for number, mark in enumerate(marks):
        begin = section_s + mark.s_offset
        end = section_s + marks[number + 1].s_offset if number + 1 < len(marks) else within[1]
        if min(end, within[1]) - max(begin, within[0]) >= SHORTEST_LINE_M:
            yield mark, begin, (max(begin, within[0]), min(end, within[1]))


def _lines(
    document: Document, mark: RoadMark, begin: float, extent: tuple[float, float], border: Border
) -> Iterator[Line]:
    """The lines of one mark: those that it lists, else the pattern of its kind."""
    if mark.strokes:
        for offset, length, t_offset in mark.strokes:
            s0, s1 = max(begin + offset, extent[0]), min(begin + offset + length, extent[1])
            if s1 - s0 >= SHORTEST_LINE_M:
                yield _polyline(border, (s0, s1), t_offset), _type(document, "SOLID", mark.color)
    elif mark.lines and mark.kind not in UNPAINTED:
        for length, gap, t_offset in mark.lines:
            pattern = "DASHED" if gap > 0 and length > 0 else "SOLID"
            yield _polyline(border, extent, t_offset), _type(document, pattern, mark.color)
    elif mark.kind in PATTERNS:
        yield _polyline(border, extent, 0.0), _type(document, PATTERNS[mark.kind], mark.color)
    elif mark.kind not in UNPAINTED:
        document.report.leave_out(f"road marks of type {shown(mark.kind)}")


def _polyline(border: Border, extent: tuple[float, float], t_offset: float) -> np.ndarray:
    count = max(2, int(np.ceil((extent[1] - extent[0]) / POINT_SPACING_M)) + 1)
    return border(np.linspace(*extent, count), t_offset)


def _type(document: Document, pattern: str, color: str) -> MarkingType:
    if color not in WHITE and color not in YELLOW:
        document.report.warn(f"{color} road marks drawn white")
    return MarkingType[f"{pattern}_{'YELLOW' if color in YELLOW else 'WHITE'}"]
