"""The lanes of a road between two cuts, with their borders in the world.

A road is cut along s where a lane section begins, where its speed limit changes, and where a virtual junction or a
light in mid-block needs the end of a lane. A `LaneStrip` is one lane between two cuts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from simulator.roads.opendrive.document import Lane, LaneSection, Road
from simulator.roads.opendrive.road_frame import RoadFrame

SHORTEST_STRIP_M = 2.0
"""No cut lies closer to the end of a section than this (ours), except where sections themselves do."""
STEEPEST = 0.5
"""A lane that moves aside by more than this per metre leaps."""
EVENED_M = 10.0
"""Length of the ramp that takes the place of a leap."""
DENSE_M = 0.5
"""Spacing at which borders are measured and drawn."""


@dataclass(frozen=True)
class LaneStrip:
    """One lane from s0 to s1. Borders are ordered along s; `forward` says whether traffic follows s."""

    frame: RoadFrame
    section: LaneSection
    section_number: int
    lane: Lane
    inside: tuple[Lane, ...]  # the lanes between the reference line and this one, from the inside
    s0: float
    s1: float
    part: int  # which piece of its section

    @property
    def road(self) -> Road:
        """The road that the lane belongs to."""
        return self.frame.road

    @property
    def sign(self) -> int:
        """+1 on the left of the reference line, -1 on the right."""
        return 1 if self.lane.number > 0 else -1

    @property
    def name(self) -> str:
        """Unique in its map: road, section, side, lane, and the part where the section was cut."""
        side = "left" if self.sign > 0 else "right"
        part = f".{self.part}" if self.part else ""
        return f"{self.road.name}_{self.section_number}{part}_{side}_{self.lane.number}"

    @property
    def forward(self) -> bool:
        """Whether traffic follows s."""
        return self.road.forward(self.lane)

    @property
    def group(self) -> tuple[str, int, int]:
        """Road, section and part: lanes of one group lie side by side."""
        return self.road.name, self.section_number, self.part

    @cached_property
    def dense_s(self) -> Float[np.ndarray, " n"]:
        """Values of s at most DENSE_M apart, both ends included."""
        return np.linspace(self.s0, self.s1, max(2, int(np.ceil((self.s1 - self.s0) / DENSE_M)) + 1))

    def border_t(self, s: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """t of the inner and of the outer border [n], m; where the lane leaps aside, of the evened borders."""
        if self._evened is None:
            return self._border_t(s)
        inner, outer = self._evened
        return np.interp(s, self.dense_s, inner), np.interp(s, self.dense_s, outer)

    @cached_property
    def _evened(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Borders at `dense_s` of a lane that leaps aside, as a ramp that a vehicle can follow; None for all others.

        Exporters let the width of an inner lane leap within centimetres where a lane begins. Such leaps near an end are
        left to the joint; others become ramps of EVENED_M (ours).
        """
        inner, outer = self._border_t(self.dense_s)
        leaps = np.flatnonzero(np.abs(np.diff(0.5 * (inner + outer))) > STEEPEST * np.diff(self.dense_s))
        if not len(leaps):
            return None
        return _ramp(inner, leaps), _ramp(outer, leaps)

    def _border_t(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """t of both borders by the file's polynomials."""
        t = self.road.lane_offset.at(s)
        inner = t
        for lane in (*self.inside, self.lane):
            inner = t
            t = _outer_border(lane, t, s, self.section.s, self.sign)
        return inner, t

    def width(self, s: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Distance of the borders along t, m."""
        inner, outer = self.border_t(s)
        return np.abs(outer - inner)

    def borders(self, s: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Inner and outer border [n, 3] m in the world."""
        inner_t, outer_t = self.border_t(s)
        inner = self.frame.xyz(s, inner_t, self.lane.level)
        outer = self.frame.xyz(s, outer_t, self.lane.level)
        if self.lane.level:  # horizontal across, at the height of the lane inside
            inner[:, 2] = outer[:, 2] = self.frame.xyz(s, inner_t)[:, 2]
        if self.lane.heights:
            at, over_inner, over_outer = np.array(self.lane.heights).T
            inner[:, 2] += np.interp(s - self.section.s, at, over_inner)
            outer[:, 2] += np.interp(s - self.section.s, at, over_outer)
        return inner, outer

    def sides(self, s: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centreline, left and right side [n, 3] m in the direction of travel. `s` increases."""
        inner, outer = self.borders(s)
        left, right = (outer, inner) if (self.sign > 0) == self.forward else (inner, outer)
        centre = 0.5 * (left + right)
        lines = (centre, left, right)
        return lines if self.forward else tuple(line[::-1] for line in lines)  # type: ignore[return-value]

    def end(self, at_s1: bool) -> np.ndarray:
        """Middle of the lane [3] m at one end."""
        inner, outer = self.borders(np.array([self.s1 if at_s1 else self.s0]))
        return 0.5 * (inner + outer)[0]


def _ramp(t: np.ndarray, leaps: np.ndarray) -> np.ndarray:
    """A border's t at dense samples, with ramps in place of the leaps between a sample and the next."""
    t, last = t.copy(), len(t) - 1
    margin = min(round(SHORTEST_STRIP_M / DENSE_M), last // 3)
    for leap in leaps:
        if leap < margin:
            t[: leap + 1] = t[leap + 1]
    for leap in leaps[::-1]:
        if leap >= last - margin:
            t[leap + 1 :] = t[leap]
    reach = round(0.5 * EVENED_M / DENSE_M)
    around = [min(reach, index, last - index) for index in range(last + 1)]
    return np.array([t[index - near : index + near + 1].mean() for index, near in enumerate(around)])


def _outer_border(lane: Lane, inner: np.ndarray, s: np.ndarray, section_s: float, sign: int) -> np.ndarray:
    """t of a lane's outer border [n]. Widths take precedence over borders; a lane without either has no width."""
    if lane.widths or not lane.borders:
        return inner + sign * np.maximum(lane.widths.at(s - section_s), 0.0)
    t = lane.borders.at(s - section_s)
    if np.mean((t - inner) * sign) < 0:  # some exporters give the distance, without the sign of t
        t = -t
    return np.where((t - inner) * sign > 0, t, inner)


def lane_strips(frame: RoadFrame, cuts: Iterable[float]) -> list[LaneStrip]:
    """All lanes of a road, cut at its sections and at `cuts` (m along s), ordered by s, then from left to right."""
    result = []
    road = frame.road
    wanted = sorted(set(cuts))
    for sign in (1, -1):
        # A section for one side leaves the other side's section in force.
        mine = [
            (number, section)
            for number, section in enumerate(road.sections)
            if not section.single_side or section.side(sign)
        ]
        ends = [section.s for _, section in mine[1:]] + [road.length]
        for (number, section), end in zip(mine, ends, strict=True):
            start = section.s if section is not mine[0][1] else 0.0
            if end - start < 1e-6:
                continue
            inner_cuts = [s for s in wanted if start + SHORTEST_STRIP_M < s < end - SHORTEST_STRIP_M]
            bounds = [start, *inner_cuts, end]
            lanes = section.side(sign)
            for part, (s0, s1) in enumerate(itertools.pairwise(bounds)):
                result += [
                    LaneStrip(frame, section, number, lane, lanes[:position], s0, s1, part)
                    for position, lane in enumerate(lanes)
                ]
    return sorted(result, key=lambda strip: (strip.s0, -strip.lane.number))


def speed_limit(strip: LaneStrip) -> float | None:
    """Limit (m/s) at the middle of a lane; the lane's own comes before the road's. None where the file gives none."""
    middle = 0.5 * (strip.s0 + strip.s1)
    own = [speed for offset, speed in strip.lane.speeds if strip.section.s + offset <= middle]
    if own and own[-1] is not None:
        return own[-1]
    by_road = [speed for s, speed in strip.road.speeds if s <= middle]
    return by_road[-1] if by_road else None


def speed_cuts(road: Road) -> set[float]:
    """Where along s a limit changes."""
    cuts = {
        s for (s, speed), (_, before) in zip(road.speeds[1:], road.speeds, strict=False) if speed != before
    }
    for section in road.sections:
        for lane in (*section.left, *section.right):
            for (offset, speed), (_, before) in zip(lane.speeds[1:], lane.speeds, strict=False):
                if speed != before:
                    cuts.add(section.s + offset)
    return cuts
