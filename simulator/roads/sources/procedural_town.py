"""Procedurally generated towns with the shapes that CARLA's training towns lack: `Made-0`, `Made-1`, ...

CARLA's towns 1 to 6 have no S-bends and only straight intersections; a policy trained on them alone leaves the road in
Town07. A generated town is a small irregular grid: roads bend both ways, opposite arms of an intersection are not
aligned, and dead ends are turning circles. Two lanes, right-hand traffic, flat; all our choice.

| what             | range                                                                      |
|------------------|----------------------------------------------------------------------------|
| intersections    | 4 x 4, 70 m apart, each displaced by up to 8 m                             |
| roads            | those of a spanning tree, and of the others every second one               |
| lane width       | 2.9 to 3.7 m, per road                                                     |
| speed limit      | 30 to 65 km/h, per road                                                    |
| smallest radius  | 8 m along a road, 4.5 m within an intersection or a turning circle         |
| right of way     | traffic lights, stop signs, yield signs or nothing, per intersection       |
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from simulator.roads.building.build_map import build_log_map
from simulator.roads.building.raw_map import Provenance, RawLane, RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.polylines import arc_length, offset_line
from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from simulator.roads.sources.procedural_names import PREFIX, PROCEDURAL_VERSION, procedural_sha256

GRID, SPACING_M, DISPLACEMENT_M = 4, 70.0, 8.0
EXTRA_ROADS = 0.5
"""Probability of a road between neighbouring intersections that are connected already."""
ARM_M = (8.0, 13.0)
"""Distance from the centre of an intersection to the start of its roads."""
ARM_TURN_RAD, ARM_SHIFT_M = 0.16, 1.5
"""Largest angle and lateral offset at which a road leaves an intersection, relative to the line to its other end."""
WINDING_M = 9.0
"""Largest lateral offset of the points through which a road runs."""
WIDTH_M = (2.9, 3.7)
LIMIT_KMH = (30.0, 65.0)
LEAST_RADIUS_M, LEAST_TURN_RADIUS_M = 8.0, 4.5
CIRCLE_M, CIRCLE_AHEAD = (6.5, 9.5), (1.6, 2.0)
"""Radius of a turning circle, and the distance of its centre from the end of the road, in radii."""
POINT_SPACING_M = 0.5
CORNER_M = 2.0
"""Radius of the kerbs between two arms of an intersection."""
CONTROL_SHARES: dict[StopKind | None, float] = {
    StopKind.TRAFFIC_LIGHT: 0.4,
    StopKind.STOP_SIGN: 0.2,
    StopKind.YIELD: 0.1,
    None: 0.3,
}

Line = Float[np.ndarray, "n 3"]


def generate_town(number: int) -> RoadMap:
    """The town of a number; a pure function of the number and PROCEDURAL_VERSION."""
    rng = np.random.default_rng((PROCEDURAL_VERSION, number))
    name = f"{PREFIX}{number}"
    roads, junctions = _layout(rng)
    lanes = [arm.into for arms in junctions.values() for arm in arms]
    source = RawMap(lanes=lanes, markings=[(road.line, MarkingType.DASHED_WHITE) for road in roads])
    for node, arms in junctions.items():
        if len(arms) == 1:
            lanes.append(_turning_circle(rng, node, arms[0]))
            continue
        links = _links(node, arms)
        lanes += links
        source.surfaces.append(_surface(links))
        chosen = rng.choice(len(CONTROL_SHARES), p=list(CONTROL_SHARES.values()))
        kind = list(CONTROL_SHARES)[chosen]
        if kind is not None and len(arms) > 2:
            source.signals += [Signal(kind, [link.name]) for link in links]
    provenance = Provenance(name, name, procedural_sha256(name), f"made town {PROCEDURAL_VERSION}", "made")
    return build_log_map(source, provenance, np.zeros(3), LIMIT_KMH[0] / 3.6, 1, Repairs())[0]


@dataclass(frozen=True)
class Road:
    """A two-way road. `line` [n, 3] m is its centreline, from its first intersection to its second."""

    name: str
    line: Line
    width_m: float
    limit_mps: float

    def lanes(self) -> list[RawLane]:
        """The lane in the direction of the line and the one in the opposite direction."""
        right, left = (
            offset_line(self.line, np.full(len(self.line), side * self.width_m)) for side in (-1.0, 1.0)
        )
        return [
            _lane(f"{self.name}+", self.line, right, self.limit_mps),
            _lane(f"{self.name}-", self.line[::-1], left[::-1], self.limit_mps),
        ]


@dataclass(frozen=True)
class CrossingArm:
    """The end of a road at an intersection: its lanes into and out of the intersection."""

    road: Road
    into: RawLane
    out: RawLane
    end: np.ndarray  # [2, 2] m: the last two points of the road's centreline, towards the intersection


def _lane(name: str, left: Line, right: Line, limit_mps: float, junction: object = None) -> RawLane:
    return RawLane(
        name, (left + right) / 2, left, right, successors=[], predecessors=[], neighbours_known=True,
        speed_limit_mps=limit_mps, junction=junction, junction_known=True,
    )  # fmt: skip


def _layout(rng: np.random.Generator) -> tuple[list[Road], dict[int, list[CrossingArm]]]:
    """All roads, and the arms of every intersection by its number."""
    cells = np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1).reshape(-1, 2)
    centres = SPACING_M * cells + rng.uniform(-DISPLACEMENT_M, DISPLACEMENT_M, (GRID * GRID, 2))
    reach = rng.uniform(*ARM_M, GRID * GRID)
    roads: list[Road] = []
    junctions: dict[int, list[CrossingArm]] = {node: [] for node in range(GRID * GRID)}
    for first, second in _road_pairs(rng, cells):
        road = Road(
            name=f"{first}-{second}",
            line=_winding_line(rng, (centres[first], centres[second]), (reach[first], reach[second])),
            width_m=float(rng.uniform(*WIDTH_M)),
            limit_mps=float(rng.uniform(*LIMIT_KMH)) / 3.6,
        )
        along, against = road.lanes()
        junctions[first].append(CrossingArm(road, against, along, road.line[1::-1, :2]))
        junctions[second].append(CrossingArm(road, along, against, road.line[-2:, :2]))
        roads.append(road)
    return roads, junctions


def _road_pairs(rng: np.random.Generator, cells: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of neighbouring intersections with a road between them; all intersections are connected."""
    apart = np.abs(cells[:, None] - cells[None]).sum(-1)
    pairs = [(int(a), int(b)) for a, b in np.argwhere(apart == 1) if a < b]
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    group = list(range(len(cells)))
    chosen = []
    for a, b in order:
        if group[a] != group[b]:
            group = [group[a] if one == group[b] else one for one in group]
            chosen.append((a, b))
        elif rng.random() < EXTRA_ROADS:
            chosen.append((a, b))
    return sorted(chosen)


def _winding_line(
    rng: np.random.Generator, centres: tuple[np.ndarray, np.ndarray], reach: tuple[float, float]
) -> Line:
    """The centreline of a road between two intersections, with smaller offsets where a bend would be too tight."""
    first, second = centres
    ahead = np.arctan2(*(second - first)[::-1])
    turns, shifts = rng.uniform(-ARM_TURN_RAD, ARM_TURN_RAD, 2), rng.uniform(-ARM_SHIFT_M, ARM_SHIFT_M, 2)
    angles = (ahead + turns[0], ahead + np.pi + turns[1])
    ends = [
        middle + far * _unit(angle) + shift * _unit(angle + np.pi / 2)
        for middle, far, angle, shift in zip(centres, reach, angles, shifts, strict=True)
    ]
    inner = rng.integers(1, 4)
    shares = np.arange(1, inner + 1)[:, None] / (inner + 1)
    offsets = rng.uniform(-WINDING_M, WINDING_M, (inner, 1))
    for straighter in (1.0, 0.7, 0.5, 0.3, 0.0):
        between = (1 - shares) * ends[0] + shares * ends[1] + straighter * offsets * _unit(ahead + np.pi / 2)
        line = _spline(np.vstack([ends[0], between, ends[1]]), _unit(angles[0]), -_unit(angles[1]))
        if _least_radius_m(line) >= LEAST_RADIUS_M:
            break
    return line


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _spline(points: np.ndarray, first: np.ndarray, last: np.ndarray) -> Line:
    """A cubic spline through points [n, 2] m with these unit tangents at its ends, at height 0."""
    arc = arc_length(points)
    curve = CubicSpline(arc, points, bc_type=((1, first), (1, last)))
    xy = curve(np.linspace(0, arc[-1], max(8, int(arc[-1] / POINT_SPACING_M))))
    return np.column_stack([xy, np.zeros(len(xy))])


def _least_radius_m(line: Line) -> float:
    """The smallest radius of curvature, m."""
    step = np.diff(line[:, :2], axis=0)
    turn = np.abs(np.diff(np.unwrap(np.arctan2(step[:, 1], step[:, 0]))))
    length = np.linalg.norm(step, axis=1)
    return float(np.min((length[1:] + length[:-1]) / 2 / np.maximum(turn, 1e-9)))


def _links(node: int, arms: Sequence[CrossingArm]) -> list[RawLane]:
    """Lanes through an intersection, from every arm to every other unless the turn is too tight for a car."""
    links = []
    for one, other in itertools.permutations(arms, 2):
        start, end = one.into.centre[-2:, :2], other.out.centre[:2, :2]
        chord = np.linalg.norm(end[0] - start[1])
        handles = 0.39 * chord * np.array([_heading(start), -_heading(end)])
        control = np.array([start[1], start[1] + handles[0], end[0] + handles[1], end[0]])
        line = _bezier(control)
        if _least_radius_m(line) < LEAST_TURN_RADIUS_M and len(arms) > 2:
            continue
        half = np.linspace(one.road.width_m, other.road.width_m, len(line)) / 2
        name = f"{node}: {one.road.name} to {other.road.name}"
        link = _lane(
            name, offset_line(line, half), offset_line(line, -half), one.road.limit_mps, junction=node
        )
        links.append(_join(one.into, link, other.out))
    return links


def _heading(pair: np.ndarray) -> np.ndarray:
    return (pair[1] - pair[0]) / np.linalg.norm(pair[1] - pair[0])


def _bezier(control: np.ndarray) -> Line:
    """A cubic Bezier curve with control points [4, 2] m, at height 0."""
    share = np.linspace(0, 1, max(8, int(np.linalg.norm(control[3] - control[0]) / POINT_SPACING_M)))[:, None]
    basis = [(1 - share) ** 3, 3 * share * (1 - share) ** 2, 3 * share**2 * (1 - share), share**3]
    xy = np.sum([weight * point for weight, point in zip(basis, control, strict=True)], axis=0)
    return np.column_stack([xy, np.zeros(len(xy))])


def _surface(links: Sequence[RawLane]) -> shapely.Geometry:
    """The drivable area of an intersection: its lanes, with rounded corners between them."""
    strips = []
    for lane in links:
        assert lane.left is not None
        assert lane.right is not None
        strips.append(shapely.Polygon(np.vstack([lane.left, lane.right[::-1]])[:, :2]).buffer(0))
    return shapely.union_all(strips).buffer(CORNER_M).buffer(-CORNER_M)


def _turning_circle(rng: np.random.Generator, node: int, arm: CrossingArm) -> RawLane:
    """The one-way loop at a dead end, counter-clockwise from the incoming to the outgoing lane of the arm."""
    ahead = _heading(arm.end)
    frame = np.array([ahead, [-ahead[1], ahead[0]]])
    radius = rng.uniform(*CIRCLE_M)
    middle = np.array([radius * rng.uniform(*CIRCLE_AHEAD), 0.0])
    around = np.deg2rad([-110, -70, -35, 0, 35, 70, 110])
    loop = middle + radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    half = arm.road.width_m / 2
    points = np.vstack([[0.0, -half], loop, [0.0, half]])
    line = _spline(arm.end[1] + points @ frame, ahead, -ahead)
    left, right = (offset_line(line, np.full(len(line), side)) for side in (half, -half))
    return _join(arm.into, _lane(f"{node}: circle", left, right, arm.road.limit_mps), arm.out)


def _join(before: RawLane, link: RawLane, after: RawLane) -> RawLane:
    """`link`, entered as successor and predecessor of the lanes that it joins."""
    before.successors = [*(before.successors or []), link.name]
    after.predecessors = [*(after.predecessors or []), link.name]
    link.predecessors, link.successors = [before.name], [after.name]
    return link
