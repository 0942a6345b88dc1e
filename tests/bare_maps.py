"""Road maps without lights, signs, paint, crosswalks, walkways, road edges and junctions, whose roads lead nowhere."""

from __future__ import annotations

import dataclasses
import functools

from simulator.roads.building.raw_map import RawLane, RawMap
from simulator.roads.road_map import RoadMap
from tests.recorded import road_map_of, straight_line, straight_road

ROAD_M = 120.0
BARE_MAPS = ("one lane", "two ways", "two roads", "a short lane between", "a lane that ends beside another")


def bare_map(name: str) -> RoadMap:
    """The map of this name in `BARE_MAPS`. All lanes are straight, 3.5 m wide and flat."""
    return without_edges(road_map_of(_source(name), name=name)[0])


def without_edges(road_map: RoadMap) -> RoadMap:
    """The map without road edges, which `road_map_of` derives from the drivable area."""
    none = {part: getattr(road_map, f"edge_{part}")[:0] for part in ("points", "start", "count")}
    return dataclasses.replace(road_map, **{f"edge_{part}": value for part, value in none.items()})


def _source(name: str) -> RawMap:
    lane = functools.partial(RawLane, successors=[], predecessors=[], junction_known=True)
    along = functools.partial(straight_line, points=121)
    if name == "one lane":
        return straight_road(ROAD_M, 121)
    if name == "two ways":
        return RawMap([lane("east", along(0.0, ROAD_M)), lane("west", along(ROAD_M, 0.0, y=3.5))])
    if name == "two roads":
        return RawMap([lane("near", along(0.0, ROAD_M)), lane("far", along(500.0, 500.0 + ROAD_M, y=90.0))])
    if name == "a short lane between":
        short = straight_line(50.0, 52.0, 3)
        return RawMap(
            [
                lane("before", along(0.0, 50.0), successors=["short"]),
                lane("short", short, successors=["after"]),
                lane("after", along(52.0, ROAD_M)),
            ]
        )
    assert name == "a lane that ends beside another"
    beside = {"left_neighbour": "through", "neighbours_known": True}
    return RawMap([lane("through", along(0.0, ROAD_M)), lane("ends", along(0.0, 60.0, y=-3.5), **beside)])
