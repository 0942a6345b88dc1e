"""Lights, stop signs and yield signs, and the lanes that each controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from simulator.roads.opendrive.document import Document, Road, RoadLink, Signal
from simulator.roads.opendrive.lane_links import LaneGraph
from simulator.roads.opendrive.lane_strips import SHORTEST_STRIP_M, LaneStrip
from simulator.roads.opendrive.xml_elements import shown
from simulator.roads.road_map import StopKind

LIGHT_TYPES = frozenset(
    {"1000001", "1000007", "1000008", "1000009", "1000010", "1000011", "1000012", "1000014"}
)
"""Lights for vehicles in the standard's signal catalogue: with three, two or one colour, and with arrows."""
OTHER_LIGHT_TYPES = frozenset({"1000002", "1000003", "1000004", "1000005", "1000006", "1000013"})
"""Lights for pedestrians, cyclists, trams and lane control."""
STOP_TYPES = frozenset({"206", "r1-1", "b2a", "stop"})
"""Stop signs: Germany (also OpenDRIVE's own), United States, Vienna Convention."""
YIELD_TYPES = frozenset({"205", "r1-2", "b1", "yield", "giveway"})
"""Yield signs, likewise."""


@dataclass(frozen=True)
class StopZone:
    """Lanes whose traffic a signal stops, before them where they lie in a junction, else at their end."""

    kind: StopKind
    lanes: tuple[int, ...]


def signal_kind(signal: Signal) -> StopKind | None:
    """The kind of stop zone that a signal makes; None for all others."""
    kind = signal.kind.lower()
    if kind in LIGHT_TYPES or (signal.dynamic and kind in ("trafficlight", "traffic_light", "signal")):
        return StopKind.TRAFFIC_LIGHT
    if kind in STOP_TYPES:
        return StopKind.STOP_SIGN
    return StopKind.YIELD if kind in YIELD_TYPES else None


def mid_block_cuts(document: Document, road: Road) -> set[float]:
    """Where along a road a signal stops traffic that enters no junction at the road's end: lanes are cut there."""
    if road.junction is not None:
        return set()
    cuts = set()
    for signal in (*road.signals, *road.references):
        if signal_kind(_definition(document, signal)) is None:
            continue
        for lane in (lane for section in road.sections for lane in (*section.left, *section.right)):
            forward = road.forward(lane)
            link = road.link(at_end=forward)
            if _is_for(signal, lane.number, forward) and not _enters_junction(document, link):
                cuts.add(signal.s)
    return cuts


def stop_zones(
    document: Document, strips: Sequence[LaneStrip], driven: Sequence[bool], graph: LaneGraph
) -> list[StopZone]:
    """The zone of every signal: of its own place and of all its references. Signals that stop no lane are counted."""
    by_road: dict[str, list[int]] = {}
    for index, strip in enumerate(strips):
        if driven[index]:
            by_road.setdefault(strip.road.name, []).append(index)
    stopped: dict[str, set[int]] = {}
    kinds: dict[str, StopKind] = {}
    for road in document.roads.values():
        for signal in (*road.signals, *road.references):
            kind = _stop_kind(document, signal)
            if kind is not None:
                kinds[signal.name] = kind
                here = by_road.get(road.name, [])
                stopped.setdefault(signal.name, set()).update(_stopped_lanes(signal, here, strips, graph))
    zones = []
    for name, lanes in stopped.items():
        lanes = lanes or _lanes_of_controlled_junction(document, name, strips, by_road, graph)
        if lanes:
            zones.append(StopZone(kinds[name], tuple(sorted(lanes))))
        else:
            document.report.leave_out("signals that stop no lane", f"signal {name}")
    return zones


def _definition(document: Document, signal: Signal) -> Signal:
    """The <signal> that a reference means."""
    return document.definitions.get(signal.name, signal)


def _stop_kind(document: Document, signal: Signal) -> StopKind | None:
    """The kind of a light, a stop sign or a yield sign; other signals that change, and lights for others, are
    counted."""
    definition = _definition(document, signal)
    if signal.name not in document.definitions:
        document.report.leave_out(
            "references to signals that the file does not hold", f"signal {signal.name}"
        )
        return None
    kind = signal_kind(definition)
    if kind is not None:
        return kind
    if signal is definition and definition.kind in OTHER_LIGHT_TYPES:
        document.report.leave_out("lights that are not for vehicles", f"signal {signal.name}")
    elif signal is definition and definition.dynamic:
        document.report.leave_out(
            f"dynamic signals of type {shown(definition.kind)}", f"signal {signal.name}"
        )
    return None


def _enters_junction(document: Document, link: RoadLink | None) -> bool:
    if link is None:
        return False
    return link.junction or (
        link.target in document.roads and document.roads[link.target].junction is not None
    )


def _is_for(signal: Signal, number: int, forward: bool) -> bool:
    """Whether a signal is for a lane, by its number (validity) and direction (orientation).

    Where the validity names lanes of one side only the orientation is not asked: exporters contradict themselves there.
    """
    oriented = signal.orientation not in ("+", "-") or (signal.orientation == "+") == forward
    if signal.lanes is None:
        return oriented
    pairs = [pair for pair in signal.lanes if min(pair) <= number <= max(pair)]
    return any(pair[0] * pair[1] > 0 or oriented for pair in pairs)


def _stopped_lanes(
    signal: Signal, road: Sequence[int], strips: Sequence[LaneStrip], graph: LaneGraph
) -> Iterator[int]:
    """The lanes that a signal stops: of a junction if it stands in one or before one, else those that end at it."""
    for index in road:
        strip = strips[index]
        if not _is_for(signal, strip.lane.number, strip.forward):
            continue
        last = strip.s1 >= strip.road.length and signal.s >= strip.s1
        if not (strip.s0 <= signal.s < strip.s1 or last or (strip.s0 <= 0.0 and signal.s < 0.0)):
            continue
        if strip.road.junction is not None:
            yield index
            continue
        inside = _entered_lanes(index, strips, graph)
        if inside:
            yield from inside
            continue
        ends_here = [
            other
            for other in road
            if strips[other].lane.number == strip.lane.number
            and abs((strips[other].s1 if strip.forward else strips[other].s0) - signal.s) < SHORTEST_STRIP_M
        ]
        yield from ends_here or [index]


def _entered_lanes(index: int, strips: Sequence[LaneStrip], graph: LaneGraph) -> set[int]:
    """The lanes of junctions that traffic enters next from a lane, without a turn into another road before."""
    road, seen, queue, result = strips[index].road, {index}, [index], set()
    while queue:
        for after in graph.successors[queue.pop()]:
            if strips[after].road.junction is not None:
                result.add(after)
            elif strips[after].road is road and after not in seen:
                seen.add(after)
                queue.append(after)
    return result


def _lanes_of_controlled_junction(
    document: Document,
    name: str,
    strips: Sequence[LaneStrip],
    by_road: Mapping[str, list[int]],
    graph: LaneGraph,
) -> set[int]:
    """For a signal without a validity that a junction's controller switches: the lanes of its road that enter the
    junction."""
    definition = document.definitions[name]
    if definition.lanes is not None:
        return set()
    roads = [road.name for road in document.roads.values() if definition in road.signals]
    result = set()
    for junction in document.junctions.values():
        if any(name in document.controllers.get(controller, ()) for controller in junction.controllers):
            for index in by_road.get(roads[0], []):
                entered = _entered_lanes(index, strips, graph)
                result |= {lane for lane in entered if strips[lane].road.junction == junction.name}
    return result
