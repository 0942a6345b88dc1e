"""An OpenDRIVE description as records: roads with their lane sections, junctions, signals and objects.

Everything that the standard calls optional may be absent. Identifiers are text. Distances are metres, angles radians,
speeds m/s; s and t are the file's own coordinates along and across the reference line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from simulator.roads.opendrive.cubics import Cubics
from simulator.roads.opendrive.import_report import ImportReport
from simulator.roads.opendrive.plan_view import LONGEST_ROAD_M, PlanView, read_plan_view
from simulator.roads.opendrive.xml_elements import Element, read_xml, shown

SPEED_UNITS_MPS = {"m/s": 1.0, "mps": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704}
NO_LIMIT_MPS = 36.1
"""Where a road has no speed limit: 130 km/h, the speed that German authorities recommend there."""
LENGTH_TOLERANCE_M = 0.5
"""Largest difference between a road's length and the end of its plan view that counts as rounding (ours)."""
_NO_JUNCTION = ("-1", "")


@dataclass(frozen=True)
class RoadMark:
    """The mark on the outer border of a lane from s_offset (m from the start of its section) on."""

    s_offset: float
    kind: str  # "solid", "broken", "solid broken", "none", "curb", ...
    color: str
    lines: tuple[tuple[float, float, float], ...] = ()  # (length, gap, t offset) of each line, where given
    strokes: tuple[tuple[float, float, float], ...] = ()  # <explicit>: (s offset, length, t offset) of each


@dataclass(frozen=True)
class Lane:
    """One lane of one section."""

    number: int  # positive on the left of the reference line, never 0
    kind: str
    level: bool
    direction: str  # "standard", "reversed" or "both"
    widths: Cubics  # from the start of the section
    borders: Cubics  # instead of widths: t of the outer border
    heights: tuple[tuple[float, float, float], ...]  # (s offset, at the inner border, at the outer border)
    marks: tuple[RoadMark, ...]
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]
    speeds: tuple[tuple[float, float | None], ...]  # (s offset, m/s)


@dataclass(frozen=True)
class LaneSection:
    """The lanes of a road from `s` on."""

    s: float
    left: tuple[Lane, ...]  # from the inside to the outside, numbers 1, 2, ...
    right: tuple[Lane, ...]  # numbers -1, -2, ...
    centre_marks: tuple[RoadMark, ...]
    single_side: bool

    def side(self, sign: int) -> tuple[Lane, ...]:
        """The lanes on the left (+1) or on the right (-1), from the inside to the outside."""
        return self.left if sign > 0 else self.right


@dataclass(frozen=True)
class RoadLink:
    """What follows on one end of a road."""

    junction: bool  # a junction rather than a road
    target: str
    contact: str  # "start", "end", or "" where a junction follows or `s` says where
    s: float | None = None  # on the main road of a virtual junction


@dataclass(frozen=True)
class Signal:
    """A <signal>, or a reference to one. `lanes` are None where every lane of the orientation is meant."""

    name: str
    s: float
    orientation: str  # "+", "-" or "none"
    lanes: tuple[tuple[int, int], ...] | None
    kind: str = ""
    dynamic: bool = False


@dataclass(frozen=True)
class Road:
    """One road."""

    name: str
    length: float
    junction: str | None
    left_hand: bool  # traffic keeps to the left
    predecessor: RoadLink | None
    successor: RoadLink | None
    speeds: tuple[tuple[float, float | None], ...]  # (s, m/s); None: not given there
    plan: PlanView
    elevation: Cubics
    superelevation: Cubics
    crossfall_left: Cubics
    crossfall_right: Cubics
    shapes: tuple[tuple[float, Cubics], ...]  # (s, height over t)
    lane_offset: Cubics
    sections: tuple[LaneSection, ...]
    signals: tuple[Signal, ...]
    references: tuple[Signal, ...]
    objects: tuple[Element, ...]

    def forward(self, lane: Lane) -> bool:
        """Whether traffic on a lane follows s: on the right where traffic keeps right, on the left where it keeps
        left."""
        follows = (lane.number < 0) != self.left_hand
        return follows != (lane.direction == "reversed")

    def link(self, at_end: bool) -> RoadLink | None:
        """What follows on the end, or on the start."""
        return self.successor if at_end else self.predecessor


@dataclass(frozen=True)
class Connection:
    """A way from one road into another within a junction."""

    incoming: str
    connecting: str
    contact: str  # which end of the connecting road
    links: tuple[tuple[int, int], ...]  # (lane of the incoming road, lane of the connecting road)


@dataclass(frozen=True)
class Junction:
    """One junction. `kind` is "default", "direct" (motorway exits), "virtual" (driveways) or "crossing"."""

    name: str
    kind: str
    connections: tuple[Connection, ...]
    controllers: tuple[str, ...]


@dataclass
class Document:
    """One file."""

    path: Path
    roads: dict[str, Road] = field(default_factory=dict)
    junctions: dict[str, Junction] = field(default_factory=dict)
    controllers: dict[str, tuple[str, ...]] = field(default_factory=dict)  # signals of each
    definitions: dict[str, Signal] = field(default_factory=dict)  # every <signal>, by id
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of the header, m
    report: ImportReport = field(default_factory=ImportReport)


def read_document(path: Path) -> Document:
    """The description in a .xodr or .xodr.gz file.

    Raises ValueError with file, element, attribute and value for what cannot be understood.
    """
    root = read_xml(path)
    document = Document(path)
    header = root.child("header")
    offset = header.child("offset") if header else None
    if offset is not None:
        document.offset = offset.numbers("x", "y", "z")  # type: ignore[assignment]
        if offset.number("hdg", 0.0) != 0.0:
            document.report.leave_out("rotations of the whole map (header, offset, hdg)", offset.place)
    for element in root.children("road"):
        road = _read_road(element, document.report)
        if road is None:
            continue
        if road.name in document.roads:
            raise ValueError(f"{path}: road {road.name} is there twice; expected every id once")
        document.roads[road.name] = road
        document.definitions.update({signal.name: signal for signal in road.signals})
    for element in root.children("junction"):
        junction = _read_junction(element)
        if junction.name in document.junctions:
            raise ValueError(f"{path}: junction {junction.name} is there twice; expected every id once")
        document.junctions[junction.name] = junction
    for element in root.children("controller"):
        controls = tuple(control.text("signalId") for control in element.children("control"))
        document.controllers[element.text("id")] = controls
    for element in root.children("station"):
        document.report.leave_out("railway stations", element.place)
    return document


def _read_road(element: Element, report: ImportReport) -> Road | None:
    """None for a road without lanes, which is counted."""
    name = element.text("id")
    length = element.number("length")
    if not 0 <= length <= LONGEST_ROAD_M:
        raise ValueError(f"{element.place}: length is {length:g}; expected 0 to {LONGEST_ROAD_M:g} m")
    sections = _read_sections(element, length)
    if not sections:
        report.leave_out("roads without lanes", f"road {name}")
        return None
    plan = read_plan_view(element, length)
    length = _length(element, length, plan, report)
    if length < 1e-3:
        report.leave_out("roads without a length", f"road {name}")
        return None
    junction = element.text("junction", "-1")
    rule = element.text("rule", "RHT").upper()
    if rule not in ("RHT", "LHT"):
        raise ValueError(f"{element.place}: rule is {shown(rule)}; expected RHT or LHT")
    if element.child("railroad") is not None and any(element.children("railroad", "switch")):
        report.leave_out("railway switches", f"road {name}")
    return Road(
        name=name, length=length, junction=None if junction in _NO_JUNCTION else junction,
        left_hand=rule == "LHT", predecessor=_read_link(element, "predecessor"),
        successor=_read_link(element, "successor"), speeds=_road_speeds(element), plan=plan,
        elevation=_cubics(element.children("elevationProfile", "elevation"), "s"),
        superelevation=_cubics(element.children("lateralProfile", "superelevation"), "s"),
        crossfall_left=_crossfall(element, "left"), crossfall_right=_crossfall(element, "right"),
        shapes=_shapes(element), lane_offset=_cubics(element.children("lanes", "laneOffset"), "s"),
        sections=sections, signals=tuple(_read_signals(element, "signal")),
        references=tuple(_read_signals(element, "signalReference")),
        objects=tuple(element.children("objects", "object")),
    )  # fmt: skip


def _length(element: Element, length: float, plan: PlanView, report: ImportReport) -> float:
    """The length that both the road and its plan view have; small differences are rounding."""
    excess = length - plan.end
    if abs(excess) > max(LENGTH_TOLERANCE_M, 0.01 * length):
        raise ValueError(
            f"{element.place}: length is {length:g} but planView ends at s={plan.end:g}; "
            f"expected a difference of at most {LENGTH_TOLERANCE_M:g} m"
        )
    if excess > 0.001:
        report.warn(
            "roads longer than their plan view",
            f"road {element.text('id')}: {length:g} m against {plan.end:g} m",
        )
    return min(length, plan.end)


def _cubics(records: Iterable[Element], start: str) -> Cubics:
    """From elements with a to d, each from its attribute `start` on."""
    return Cubics.of([(record.number(start, 0.0), record.numbers("a", "b", "c", "d")) for record in records])


def _crossfall(element: Element, side: str) -> Cubics:
    """The crossfall (rad) of one side, positive where the road falls from the reference line to the outside."""
    records = element.children("lateralProfile", "crossfall")
    return _cubics((record for record in records if record.text("side", "both") in (side, "both")), "s")


def _shapes(element: Element) -> tuple[tuple[float, Cubics], ...]:
    by_s: dict[float, list[Element]] = {}
    for record in element.children("lateralProfile", "shape"):
        by_s.setdefault(record.number("s", 0.0), []).append(record)
    return tuple((s, _cubics(records, "t")) for s, records in sorted(by_s.items()))


def _read_link(element: Element, which: str) -> RoadLink | None:
    link = element.child("link")
    found = link.child(which) if link else None
    if found is None or found.node.get("elementId") is None:
        return None
    kind = found.text("elementType", "road")
    if kind not in ("road", "junction"):
        raise ValueError(f"{found.place}: elementType is {shown(kind)}; expected road or junction")
    contact = found.text("contactPoint", "")
    if kind == "road" and contact not in ("start", "end", ""):
        raise ValueError(f"{found.place}: contactPoint is {shown(contact)}; expected start or end")
    s = found.number("elementS") if found.node.get("elementS") is not None else None
    return RoadLink(kind == "junction", found.text("elementId"), contact, s)


def _road_speeds(element: Element) -> tuple[tuple[float, float | None], ...]:
    records = []
    for record in element.children("type"):
        speed = record.child("speed")
        records.append((record.number("s", 0.0), None if speed is None else _speed(speed)))
    return tuple(sorted(records, key=lambda one: one[0]))


def _speed(element: Element) -> float | None:
    """The limit in m/s; None for "undefined". Without a unit it is m/s (section 8.3 of the standard)."""
    found = element.text("max", "undefined")
    if found.lower() in ("no limit", "no_limit", "nolimit"):
        return NO_LIMIT_MPS
    if found.lower() in ("undefined", ""):
        return None
    unit = element.text("unit", "m/s") or "m/s"
    if unit not in SPEED_UNITS_MPS:
        raise ValueError(f"{element.place}: unit is {shown(unit)}; expected m/s, km/h or mph")
    speed = element.number("max") * SPEED_UNITS_MPS[unit]
    if speed < 0 or speed > 150:
        raise ValueError(f"{element.place}: max is {shown(found)} {shown(unit)}; expected 0 to 150 m/s")
    return speed or None  # 0 is what exporters write where they know of no limit


def _read_sections(road: Element, length: float) -> tuple[LaneSection, ...]:
    sections = [_read_section(element) for element in road.children("lanes", "laneSection")]
    sections = sorted(sections, key=lambda section: section.s)
    return tuple(section for section in sections if section.s < length or section.s == 0.0)


def _read_section(element: Element) -> LaneSection:
    by_number: dict[int, Lane] = {}
    for side, sign in (("left", 1), ("right", -1)):
        for lane_element in element.children(side, "lane"):
            lane = _read_lane(lane_element)
            if lane.number * sign <= 0:
                expected = "positive" if sign > 0 else "negative"
                raise ValueError(
                    f"{lane_element.place}: id is {lane.number} on the {side}; expected a {expected} one"
                )
            if lane.number in by_number:
                raise ValueError(
                    f"{lane_element.place}: lane {lane.number} is there twice; expected every id once"
                )
            by_number[lane.number] = lane
    centre = next(element.children("center", "lane"), None)
    numbers = sorted(by_number, key=abs)
    return LaneSection(
        s=max(element.number("s", 0.0), 0.0),
        left=tuple(by_number[number] for number in numbers if number > 0),
        right=tuple(by_number[number] for number in numbers if number < 0),
        centre_marks=() if centre is None else _read_marks(centre),
        single_side=element.text("singleSide", "false") in ("true", "1"),
    )


def _read_lane(element: Element) -> Lane:
    link = element.child("link")
    return Lane(
        number=element.whole("id"), kind=element.text("type", "none"),
        level=element.text("level", "false") in ("true", "1"), direction=element.text("direction", "standard"),
        widths=_cubics(element.children("width"), "sOffset"), borders=_cubics(element.children("border"), "sOffset"),
        heights=tuple(sorted(record.numbers("sOffset", "inner", "outer") for record in element.children("height"))),  # type: ignore[arg-type]
        marks=_read_marks(element),
        predecessors=tuple(one.whole("id") for one in link.children("predecessor")) if link else (),
        successors=tuple(one.whole("id") for one in link.children("successor")) if link else (),
        speeds=tuple(sorted((one.number("sOffset", 0.0), _speed(one)) for one in element.children("speed"))),
    )  # fmt: skip


def _read_marks(element: Element) -> tuple[RoadMark, ...]:
    marks = []
    for record in element.children("roadMark"):
        lines = tuple(
            (line.number("length", 0.0), line.number("space", 0.0), line.number("tOffset", 0.0))
            for line in record.children("type", "line")
        )
        strokes = tuple(
            (line.number("sOffset", 0.0), line.number("length", 0.0), line.number("tOffset", 0.0))
            for line in record.children("explicit", "line")
        )
        kind, color = record.text("type", "none").lower(), record.text("color", "standard").lower()
        marks.append(RoadMark(record.number("sOffset", 0.0), kind, color, lines, strokes))
    return tuple(sorted(marks, key=lambda mark: mark.s_offset))


def _read_signals(road: Element, name: str) -> Iterator[Signal]:
    for element in road.children("signals", name):
        validity = [(one.whole("fromLane"), one.whole("toLane")) for one in element.children("validity")]
        yield Signal(
            name=element.text("id"), s=element.number("s", 0.0),
            orientation=element.text("orientation", "none"), lanes=tuple(validity) if validity else None,
            kind=element.text("type", ""), dynamic=element.text("dynamic", "no").lower() in ("yes", "true", "1"),
        )  # fmt: skip


def _read_junction(element: Element) -> Junction:
    kind = element.text("type", "default")
    connections = []
    for one in element.children("connection"):
        road = one.node.get("linkedRoad") if kind == "direct" else one.node.get("connectingRoad")
        if one.node.get("incomingRoad") is None or road is None:
            continue  # virtual connections of traffic without a road of its own
        contact = one.text("contactPoint", "start")
        if contact not in ("start", "end"):
            raise ValueError(f"{one.place}: contactPoint is {shown(contact)}; expected start or end")
        links = tuple((link.whole("from"), link.whole("to")) for link in one.children("laneLink"))
        connections.append(Connection(one.text("incomingRoad"), road.strip(), contact, links))
    controllers = tuple(one.text("id") for one in element.children("controller"))
    return Junction(element.text("id"), kind, tuple(connections), controllers)
