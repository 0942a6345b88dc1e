"""Which lane follows which: from the links of lanes and roads, the connections of junctions, and the places of ends.

A link says that two lane ends touch. It may be written on one side only, on both, or in the junction only; traffic
passes from the lane that leaves there to the lane that enters there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.conventions import LANE_JOINT_GAP_M
from simulator.roads.opendrive.document import Connection, Document, Junction, Road, RoadLink
from simulator.roads.opendrive.lane_strips import LaneStrip

LARGEST_GAP_M = 1.0
"""Ends of different roads farther apart do not join (ours)."""
NOTED_GAP_M = 0.05
"""Gaps larger than this are reported."""
UNLINKED_REACH_M = 0.5
"""Lane ends of linked roads that carry no links themselves join within this distance."""
LARGEST_SIDESTEP_M = 4.0
"""A lane merges into, or opens from, one beside it at most this far: about the width of a lane (ours)."""

End = tuple[int, bool]
"""Index of a lane strip, and whether its end at s1 is meant."""


@dataclass
class LaneGraph:
    """Indices of the lanes that follow and precede each lane, in increasing order."""

    successors: list[list[int]]
    predecessors: list[list[int]]


@dataclass
class _Roads:
    """The strips of every road by place."""

    document: Document
    strips: Sequence[LaneStrip]
    by_end: dict[tuple[str, bool], list[int]] = field(default_factory=dict)  # road, whether at its end
    by_place: dict[tuple[str, int, int, int], int] = field(default_factory=dict)  # road, section, part, lane

    def __post_init__(self) -> None:
        for index, strip in enumerate(self.strips):
            self.by_place[*strip.group, strip.lane.number] = index
            if strip.s0 <= 0.0:
                self.by_end.setdefault((strip.road.name, False), []).append(index)
            if strip.s1 >= strip.road.length:
                self.by_end.setdefault((strip.road.name, True), []).append(index)

    def at_end(self, road: str, at_end: bool, lane: int) -> int | None:
        """The strip of a lane at one end of a road."""
        found = [
            index for index in self.by_end.get((road, at_end), []) if self.strips[index].lane.number == lane
        ]
        return found[0] if found else None

    def contact(self, link: RoadLink, lane: int, leaving: bool) -> End | None:
        """The lane end that a road link means for lane number `lane`. On the main road of a virtual junction two
        strips meet at `link.s`: the one is meant whose traffic leaves there (or enters)."""
        if link.s is None:
            index = self.at_end(link.target, link.contact != "start", lane)
            return None if index is None else (index, link.contact != "start")
        for index, strip in enumerate(self.strips):
            if strip.road.name != link.target or strip.lane.number != lane:
                continue
            for at_s1, s in ((True, strip.s1), (False, strip.s0)):
                if abs(s - link.s) < 0.01 and (strip.forward == at_s1) == leaving:
                    return index, at_s1
        return None


def lane_graph(document: Document, strips: Sequence[LaneStrip], driven: Sequence[bool]) -> LaneGraph:
    """Successors and predecessors of every strip that is driven on. What cannot be joined is reported.

    A lane that ends beside one that goes on continues into that one's successors (a merge), and one that opens beside
    another is entered from that one's predecessors (our choice: routes may then use both).
    """
    roads = _Roads(document, strips)
    contacts = [*_within_roads(roads), *_between_roads(roads), *_in_junctions(roads)]
    links: set[tuple[int, int]] = set()
    touched: set[End] = set()
    for first, second in contacts:
        if not driven[first[0]] or not driven[second[0]]:
            continue
        link = _traffic(roads, first, second)
        if link is not None:
            links.add(link)
            touched |= {first, second}
    for first, second in _unlinked(roads, driven, touched):
        link = _traffic(roads, first, second)
        if link is not None:
            links.add(link)
    graph = _graph(len(strips), links)
    _merge_and_open(graph, roads, driven)
    return graph


def _graph(count: int, links: Iterable[tuple[int, int]]) -> LaneGraph:
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for first, second in sorted(links):
        after[first].append(second)
        before[second].append(first)
    return LaneGraph(after, before)


def _traffic(roads: _Roads, first: End, second: End) -> tuple[int, int] | None:
    """(from, to) for two lane ends that touch; None for ends that do not join, which is reported."""
    report = roads.document.report
    one, other = roads.strips[first[0]], roads.strips[second[0]]
    if first[0] == second[0]:
        return None
    leaves, enters = one.forward == first[1], other.forward != second[1]
    if leaves != enters:
        report.leave_out("links of lanes that drive towards each other", f"{one.name} and {other.name}")
        return None
    joint = f"{one.name} and {other.name}"
    if one.road is not other.road:
        gap = one.end(first[1]) - other.end(second[1])
        apart = float(np.hypot(gap[0], gap[1]))
        if apart > LARGEST_GAP_M or abs(gap[2]) > LANE_JOINT_GAP_M:
            report.leave_out("links of lanes that do not meet", f"{joint}: {np.linalg.norm(gap):.2f} m apart")
            return None
        if apart > NOTED_GAP_M:
            report.warn("joints with a gap", f"{joint}: {apart:.2f} m")
    return (first[0], second[0]) if leaves else (second[0], first[0])


def _within_roads(roads: _Roads) -> Iterator[tuple[End, End]]:
    """Contacts of consecutive strips of one road."""
    by_side: dict[tuple[str, int], dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, strip in enumerate(roads.strips):
        by_side[strip.road.name, strip.sign][strip.s0].append(index)
    for groups in by_side.values():
        ordered = [groups[s] for s in sorted(groups)]
        for before, after in itertools.pairwise(ordered):
            yield from _between_groups(roads, before, after)


def _between_groups(roads: _Roads, before: list[int], after: list[int]) -> Iterator[tuple[End, End]]:
    """Contacts of the lanes of one side before and after a cut."""
    first, second = roads.strips[before[0]], roads.strips[after[0]]
    numbers = {roads.strips[index].lane.number: index for index in after}
    back = {roads.strips[index].lane.number: index for index in before}
    if first.section is second.section or not any(
        [
            *(roads.strips[i].lane.successors for i in before),
            *(roads.strips[i].lane.predecessors for i in after),
        ]
    ):
        # A cut within a section; or a file without any lane links here, where equal numbers continue.
        yield from (((back[number], True), (numbers[number], False)) for number in back if number in numbers)
        return
    for index in before:
        for number in roads.strips[index].lane.successors:
            if number in numbers:
                yield (index, True), (numbers[number], False)
    for index in after:
        for number in roads.strips[index].lane.predecessors:
            if number in back:
                yield (back[number], True), (index, False)


def _between_roads(roads: _Roads) -> Iterator[tuple[End, End]]:
    """Contacts that lanes at the ends of linked roads name."""
    document = roads.document
    for road in document.roads.values():
        for at_end in (False, True):
            link = road.link(at_end)
            if link is None or link.junction:
                continue
            if link.target not in document.roads:
                document.report.leave_out(
                    "links to roads that the file does not hold", f"road {road.name} to road {link.target}"
                )
                continue
            for index in roads.by_end.get((road.name, at_end), []):
                strip = roads.strips[index]
                named = strip.lane.successors if at_end else strip.lane.predecessors
                for number in named:
                    other = roads.contact(link, number, leaving=strip.forward != at_end)
                    if other is not None:
                        yield (index, at_end), other


def _in_junctions(roads: _Roads) -> Iterator[tuple[End, End]]:
    """Contacts that the connections of junctions name."""
    document = roads.document
    for junction in document.junctions.values():
        for connection in junction.connections:
            missing = [
                name for name in (connection.incoming, connection.connecting) if name not in document.roads
            ]
            if missing:
                document.report.leave_out(
                    "junction connections to roads that the file does not hold",
                    f"junction {junction.name}, road {missing[0]}",
                )
                continue
            for incoming_lane, connecting_lane in connection.links:
                contact = _connection_contact(roads, junction, connection, incoming_lane, connecting_lane)
                if contact is not None:
                    yield contact


def _connection_contact(
    roads: _Roads, junction: Junction, connection: Connection, incoming_lane: int, connecting_lane: int
) -> tuple[End, End] | None:
    at_end = connection.contact == "end"
    index = roads.at_end(connection.connecting, at_end, connecting_lane)
    if index is None:
        return None
    own = roads.document.roads[connection.connecting].link(at_end)
    if own is not None and not own.junction and own.target == connection.incoming:
        other = roads.contact(own, incoming_lane, leaving=roads.strips[index].forward != at_end)
    else:
        place = roads.strips[index].end(at_end)
        other = _nearest_end(roads, connection.incoming, junction.name, incoming_lane, place)
    return None if other is None else (other, (index, at_end))


def _nearest_end(roads: _Roads, road: str, junction: str, lane: int, place: np.ndarray) -> End | None:
    """The end of an incoming road's lane at a junction: where both ends lead into it, the nearer one."""
    ends = [False, True]
    linked = [at_end for at_end in ends if _leads_into(roads.document.roads[road], at_end, junction)]
    found = [
        (index, at_end)
        for at_end in linked or ends
        if (index := roads.at_end(road, at_end, lane)) is not None
    ]
    return min(
        found, key=lambda end: float(np.linalg.norm(roads.strips[end[0]].end(end[1]) - place)), default=None
    )


def _leads_into(road: Road, at_end: bool, junction: str) -> bool:
    link = road.link(at_end)
    return link is not None and link.junction and link.target == junction


def _unlinked(roads: _Roads, driven: Sequence[bool], touched: set[End]) -> Iterator[tuple[End, End]]:
    """Contacts of lane ends without any link, on roads that are linked: what the file says of the roads, and where
    the lanes lie."""
    places: dict[End, np.ndarray] = {}

    def open_ends(road: str, at_end: bool) -> list[End]:
        ends = [(index, at_end) for index in roads.by_end.get((road, at_end), []) if driven[index]]
        for end in ends:
            places.setdefault(end, roads.strips[end[0]].end(end[1]))
        return [end for end in ends if end not in touched]

    for (road, at_end), (other, other_at_end) in sorted(_linked_road_ends(roads.document)):
        for end in open_ends(road, at_end):
            for candidate in open_ends(other, other_at_end):
                one, two = roads.strips[end[0]], roads.strips[candidate[0]]
                meets = (one.forward == at_end) == (two.forward != other_at_end)
                if meets and np.linalg.norm(places[end] - places[candidate]) < UNLINKED_REACH_M:
                    yield end, candidate


def _linked_road_ends(document: Document) -> set[tuple[tuple[str, bool], tuple[str, bool]]]:
    """Pairs of road ends that road links or junction connections without lane links name."""
    result = set()
    for road in document.roads.values():
        for at_end in (False, True):
            link = road.link(at_end)
            if link is not None and not link.junction and link.s is None and link.target in document.roads:
                result.add(((road.name, at_end), (link.target, link.contact != "start")))
    for junction in document.junctions.values():
        for connection in junction.connections:
            if connection.links or not {connection.incoming, connection.connecting} <= set(document.roads):
                continue
            incoming = document.roads[connection.incoming]
            for at_end in (False, True):
                if _leads_into(incoming, at_end, junction.name):
                    result.add(
                        ((incoming.name, at_end), (connection.connecting, connection.contact == "end"))
                    )
    return result


def _merge_and_open(graph: LaneGraph, roads: _Roads, driven: Sequence[bool]) -> None:
    """Give lanes that end beside others their successors, and lanes that open beside others their predecessors."""
    strips = roads.strips
    merges: set[tuple[int, int]] = set()
    for index, strip in enumerate(strips):
        if not driven[index]:
            continue
        beside = [
            other
            for number in (strip.lane.number - 1, strip.lane.number + 1)
            if (other := roads.by_place.get((*strip.group, number))) is not None
            and driven[other]
            and strips[other].forward == strip.forward
        ]
        if not graph.successors[index]:
            merges |= {(index, after) for other in beside for after in graph.successors[other]}
        if not graph.predecessors[index]:
            merges |= {(before, index) for other in beside for before in graph.predecessors[other]}
    for first, second in merges:
        sideways = strips[first].end(strips[first].forward) - strips[second].end(not strips[second].forward)
        if np.linalg.norm(sideways) > LARGEST_SIDESTEP_M:
            continue
        graph.successors[first] = sorted({*graph.successors[first], second})
        graph.predecessors[second] = sorted({*graph.predecessors[second], first})
