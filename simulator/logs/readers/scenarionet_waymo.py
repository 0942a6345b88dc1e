"""Maps of Waymo scenes in ScenarioNet's format, which have lane links, limits, stop signs and lights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.conventions import OFF
from simulator.logs.readers.nuscenes import checked_feature, finite_line
from simulator.logs.readers.waymo_map import (
    LONGEST_KIND,
    MARKING_NAMES,
    MPH,
    MapElement,
    light_number,
    waymo_map,
)
from simulator.roads.building.raw_map import RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import FASTEST_MPS, StopKind

_LANE_NUMBERS = {"FREEWAY": 1, "SURFACE_STREET": 2, "BIKE_LANE": 3}
_LINE_KINDS = ("LANE_", "ROAD_LINE_", "ROAD_EDGE_")
_OTHER_KINDS = {
    "STOP_SIGN": "stop_sign",
    "CROSSWALK": "crosswalk",
    "DRIVEWAY": "driveway",
    "SPEED_BUMP": "speed_bump",
}


def waymo_scene_map(path: Path, contents: dict[str, Any], steps: int, repairs: Repairs) -> RawMap:
    """The map of a Waymo scene with lane links, limits, stop signs and lights."""
    elements = []
    for name, feature in contents["map_features"].items():
        element = _waymo_element(path, str(name), checked_feature(path, name, feature), repairs)
        if element is not None:
            elements.append(element)
    lights = contents.get("dynamic_map_states") or {}
    if not isinstance(lights, dict):
        raise ValueError(
            f"{path}: dynamic_map_states is a {type(lights).__name__}; expected a dictionary of lights"
        )
    signals = [_signal(path, name, light, steps) for name, light in lights.items()]
    return waymo_map(elements, signals, repairs)


def _signal(path: Path, name: object, light: Any, steps: int) -> Signal:
    where = f"{path}: dynamic_map_states[{str(name)!r}]"
    state = light.get("state") if isinstance(light, dict) else None
    shown = state.get("object_state") if isinstance(state, dict) else None
    if not isinstance(shown, list | tuple | np.ndarray):
        raise ValueError(f"{where} has no state.object_state; expected a light with one state per step")
    states = np.full(steps, OFF, np.int32)
    states[: len(shown)] = [light_number(one) for one in list(shown)[:steps]]
    point = light.get("stop_point")
    place = None if point is None else _place(point, f"{where}.stop_point")
    return Signal(StopKind.TRAFFIC_LIGHT, [str(light.get("lane"))], place, states)


def _place(point: object, where: str) -> np.ndarray:
    """Three numbers [3] m, finite or not. Raises ValueError for anything else."""
    try:
        place = np.asarray(point, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} is a {type(point).__name__}; expected x, y and z") from error
    if len(place) != 3:
        raise ValueError(f"{where} has {len(place)} numbers; expected x, y and z")
    return place


def _listed(feature: dict[str, Any], field: str, where: str) -> list[Any]:
    """The entries of a field, none where it is absent. Raises ValueError for what is no list."""
    value = feature.get(field)
    if value is None:
        return []
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        raise ValueError(f"{where}.{field} is a {type(value).__name__}; expected a list")
    return list(value)


def _waymo_element(path: Path, name: str, feature: dict[str, Any], repairs: Repairs) -> MapElement | None:
    """One map element, None for other kinds and without a single finite point."""
    kind, where = str(feature.get("type")), f"{path}: map_features[{name!r}]"
    if not kind.startswith(_LINE_KINDS) and kind not in _OTHER_KINDS:
        repairs.remark(f"map features of kind {kind[:LONGEST_KIND]!a} left out")
        return None
    points = feature.get("polygon") if kind in _OTHER_KINDS else feature.get("polyline")
    if kind == "STOP_SIGN":
        points = [feature.get("position")]
    line = finite_line(path, name, points, 3, repairs)
    if line is None:
        return None
    if kind.startswith("LANE_"):
        neighbours = [
            _longest(_listed(feature, f"{side}_neighbor", where), f"{where}.{side}_neighbor")
            for side in ("left", "right")
        ]
        limit = 0.0 if feature.get("speed_limit_mph") is None else feature["speed_limit_mph"]
        if not isinstance(limit, int | float | np.number) or not 0 <= limit * MPH <= FASTEST_MPS:
            raise ValueError(
                f"{where}.speed_limit_mph is {repr(limit)[:40]}; expected at most {FASTEST_MPS / MPH:.0f}"
            )
        return MapElement(
            name, "lane", line,
            _LANE_NUMBERS.get(kind.removeprefix("LANE_")),
            successors=[str(lane) for lane in _listed(feature, "exit_lanes", where)],
            predecessors=[str(lane) for lane in _listed(feature, "entry_lanes", where)],
            neighbours=(neighbours[0], neighbours[1]), limit_mps=float(limit) * MPH or None,
        )  # fmt: skip
    if kind.startswith("ROAD_LINE_"):
        return MapElement(name, "road_line", line, MARKING_NAMES.get(kind.removeprefix("ROAD_LINE_")))
    if kind.startswith("ROAD_EDGE_"):
        return MapElement(name, "road_edge", line)
    if kind == "STOP_SIGN":
        return MapElement(
            name, "stop_sign", line, controls=[str(lane) for lane in _listed(feature, "lane", where)]
        )
    return MapElement(name, _OTHER_KINDS[kind], line)


def _longest(neighbours: list[Any], where: str) -> str | None:
    """The identifier of the neighbour that runs beside the lane for longest, None without neighbours. Raises ValueError
    for one without its points."""
    if not neighbours:
        return None
    try:
        best = max(neighbours, key=lambda one: int(one["self_end_index"]) - int(one["self_start_index"]))
        return str(best["feature_id"])
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{where} holds no self_start_index, self_end_index and feature_id of each; expected numbers of points"
        ) from error
