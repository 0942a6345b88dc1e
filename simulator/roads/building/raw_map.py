"""A map as its source describes it (`RawMap`), before it becomes a `RoadMap`.

Sources differ in what they leave out: Waymo gives centrelines, markings and kerbs but no lane boundaries; nuScenes
gives lane polygons but no heights; Argoverse gives both boundaries of a lane but no kerbs. What is missing is None
here and is derived in `simulator.roads.building.build_map`.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import shapely

from simulator.roads.road_map import MarkingType, StopKind


class SurfaceRule(enum.Enum):
    """What the drivable area consists of."""

    LANES = "the source's surfaces and its lanes"
    KERBS = "surfaces, lanes, and the asphalt between them up to the kerbs"


@dataclass
class RawLane:
    """One lane. Lines are [n, 3] float64, m, in the source's frame, in the direction of travel."""

    name: str  # unique in its map
    centre: np.ndarray
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    width_m: float | None = None  # mean, where the source gives a surface but no sides
    successors: list[str] | None = None  # None: not in the source
    predecessors: list[str] | None = None
    left_neighbour: str | None = None
    right_neighbour: str | None = None
    neighbours_known: bool = False
    speed_limit_mps: float | None = None
    junction: Hashable | None = None
    junction_known: bool = False


@dataclass
class Signal:
    """A light, a stop sign or a yield sign, and the lanes that it controls."""

    kind: StopKind
    lanes: list[str] = field(default_factory=list)  # empty: the source gives only the position of the sign
    point: np.ndarray | None = None  # [3] m: stop position, or position of the sign
    states: np.ndarray | None = None  # [steps] int, OFF, GREEN, YELLOW or RED of `simulator.conventions`


@dataclass
class RawMap:
    """The map of one scene. Lines and rings are float64, m, in the frame of the source."""

    lanes: list[RawLane] = field(default_factory=list)
    edges: list[np.ndarray] = field(default_factory=list)  # kerbs, [n, 3]
    markings: list[tuple[np.ndarray, MarkingType | None]] = field(
        default_factory=list
    )  # None: type not in the source
    crosswalks: list[np.ndarray] = field(default_factory=list)  # rings [n, 3]
    walkways: list[np.ndarray] = field(default_factory=list)  # rings [n, 3]
    surfaces: list[shapely.Geometry] = field(default_factory=list)  # drivable, polygons in the plane, m
    surface_rule: SurfaceRule = SurfaceRule.LANES
    signals: list[Signal] = field(default_factory=list)


@dataclass(frozen=True)
class Provenance:
    """Name and source of a scene, for metadata and error messages."""

    name: str
    file: str
    sha256: str
    importer: str
    source: str  # "womd", "nuscenes", "av2" or "py123d:<dataset>"
