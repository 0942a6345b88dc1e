"""Crosswalks: objects of that type, or called so, as rings on the road's surface."""

from __future__ import annotations

import numpy as np

from simulator.roads.opendrive.document import Document
from simulator.roads.opendrive.road_frame import RoadFrame
from simulator.roads.opendrive.xml_elements import Element

CIRCLE_CORNERS = 16


def crosswalk_rings(document: Document, frames: dict[str, RoadFrame]) -> list[np.ndarray]:
    """Open rings [n, 3] m. Positions count from the reference line: the lane offset moves lanes, not objects (section
    13 of the standard). Crosswalks without an extent are counted."""
    rings = []
    for frame in frames.values():
        for item in frame.road.objects:
            if not _is_crosswalk(item):
                continue
            found = _outlines(item, frame) or _box(item, frame)
            if not found:
                document.report.leave_out("crosswalks without an extent", item.place)
            rings += found
            if item.child("repeat") is not None:
                document.report.leave_out("repetitions of crosswalks", item.place)
    return rings


def _is_crosswalk(item: Element) -> bool:
    """By type, or where the type says nothing, by name; stop lines before crosswalks are called after them."""
    kind, name = item.text("type", "").lower(), item.text("name", "").lower()
    if kind == "crosswalk":
        return True
    said = kind in ("", "-1", "none", "roadmark", "patch")
    return said and "crosswalk" in name and not name.startswith("stopline")


def _outlines(item: Element, frame: RoadFrame) -> list[np.ndarray]:
    """The outer outlines with at least three corners."""
    outlines = [*item.children("outline"), *item.children("outlines", "outline")]
    rings = []
    for outline in outlines:
        if outline.text("outer", "true") == "false":
            continue
        local = [corner.numbers("u", "v") for corner in outline.children("cornerLocal")]
        along = [corner.numbers("s", "t") for corner in outline.children("cornerRoad")]
        if len(local) >= 3:
            rings.append(_local_ring(item, frame, np.array(local)))
        elif len(along) >= 3:
            s, t = np.array(along).T
            rings.append(frame.xyz(np.clip(s, 0.0, frame.road.length), t))
    return [_open(ring) for ring in rings]


def _box(item: Element, frame: RoadFrame) -> list[np.ndarray]:
    """From length along u and width along v, or from a radius."""
    length, width, radius = item.numbers("length", "width", "radius")
    if length > 0 and width > 0:
        corners = 0.5 * np.array([[length, width], [-length, width], [-length, -width], [length, -width]])
    elif radius > 0:
        angle = 2 * np.pi * np.arange(CIRCLE_CORNERS) / CIRCLE_CORNERS
        corners = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        return []
    return [_local_ring(item, frame, corners)]


def _local_ring(item: Element, frame: RoadFrame, corners: np.ndarray) -> np.ndarray:
    """Corners (u, v) of the object's own frame in the world, at the height of the road below."""
    s, t = np.array([item.number("s")]), np.array([item.number("t", 0.0)])
    place = frame.xyz(s, t)[0]
    heading = frame.heading(s)[0] + item.number("hdg", 0.0)
    cos, sin = np.cos(heading), np.sin(heading)
    ring = np.empty((len(corners), 3))
    ring[:, 0] = place[0] + corners[:, 0] * cos - corners[:, 1] * sin
    ring[:, 1] = place[1] + corners[:, 0] * sin + corners[:, 1] * cos
    turn = item.number("hdg", 0.0)
    along = s + corners[:, 0] * np.cos(turn) - corners[:, 1] * np.sin(turn)
    across = t + corners[:, 0] * np.sin(turn) + corners[:, 1] * np.cos(turn)
    ring[:, 2] = frame.xyz(np.clip(along, 0.0, frame.road.length), across)[:, 2]
    return ring


def _open(ring: np.ndarray) -> np.ndarray:
    return ring[:-1] if len(ring) > 3 and np.allclose(ring[0, :2], ring[-1, :2]) else ring
